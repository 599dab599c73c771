"""Responses with very many associations, read by stalled clients."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import factories
from support.databases import MigratedDatabase, open_connection
from support.live_server import LiveServer, run_live_server

from stress.server import open_connection as open_socket

ASSOCIATIONS = 50_000
READERS = 12
MEGABYTE = 1_000_000
PROFILES = ("/case/1.1", "/ims/case/v1p1", "/1edtech/ims/case/v1p1")

INSERT = """
    INSERT INTO associations (document_identifier, last_change_date_time, body)
    SELECT $1::text, now(), ('{"identifier":"' || gen_random_uuid() || '","uri":"urn:x:' || number
        || '","lastChangeDateTime":"2026-01-15T09:30:00.000Z","associationType":"isRelatedTo",'
        || '"originNodeURI":' || $2::text || ',"destinationNodeURI":{"title":"'
        || repeat('another node ', 20) || '","identifier":"node-' || number
        || '","uri":"urn:node:' || number || '"}}')::json
    FROM generate_series(1, $3::int) AS number"""


@pytest.fixture(scope="module")
def live(
    migrated_database: MigratedDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveServer, str]]:
    """Start a server with two connections; yield it and its item with many associations."""
    url = migrated_database("stalled")
    settings = {"CASE_SERVER_DATABASE_URL": url, "CASE_SERVER_POOL_SIZE": "2"}
    folder = tmp_path_factory.mktemp("stalled") / "data"
    with (
        run_live_server(folder, "--no-access-log", settings=settings) as server,
        server.client() as client,
    ):
        document = factories.document()
        item = factories.item(document["identifier"])
        for path, body in (("CFDocuments", document), ("CFItems", item)):
            response = client.put(f"/case/1.1/{path}/{body['identifier']}", json=body)
            assert response.status_code == 201, response.text
        _insert(url, document["identifier"], item["identifier"])
        yield server, item["identifier"]


def _insert(url: str, document: str, item: str) -> None:
    async def insert() -> None:
        origin = json.dumps(factories.link(item), separators=(",", ":"))
        async with open_connection(url) as connection:
            await connection.execute(INSERT, document, origin, ASSOCIATIONS)
            await connection.execute("ANALYZE associations")

    asyncio.run(insert())


def memory(process: int) -> int:
    """Return the bytes of memory that a process shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def stalled(server: LiveServer, path: str, token: str) -> socket.socket:
    """Ask for a path, and read no more than the beginning of the answer."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    connection = open_socket(server, head.encode(), receive_buffer=4096)
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


@pytest.mark.parametrize("prefix", PROFILES)
def test_item_associations_are_complete(live: tuple[LiveServer, str], prefix: str) -> None:
    server, item = live
    with server.client() as client:
        response = client.get(f"{prefix}/CFItemAssociations/{item}")
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["CFItem"]["identifier"] == item
    identifiers = [association["identifier"] for association in body["CFAssociations"]]
    assert len(identifiers) == len(set(identifiers)) == ASSOCIATIONS
    ends = [
        association["destinationNodeURI"]["identifier"] for association in body["CFAssociations"]
    ]
    assert ends == [f"node-{number}" for number in range(1, ASSOCIATIONS + 1)]
    assert ("sourcedId" in body["CFAssociations"][0]) is (prefix != PROFILES[2])


def test_stalled_readers_hold_little_memory_and_no_connection(live: tuple[LiveServer, str]) -> None:
    server, item = live
    path, token = f"/case/1.1/CFItemAssociations/{item}", server.token()
    with server.client() as client:
        client.get(path)  # what the first reader costs once
        before = memory(server.process.pid)
        with ExitStack() as stack:
            for _ in range(READERS):
                stack.enter_context(stalled(server, path, token))
            peak = 0
            for _ in range(20):
                peak = max(peak, memory(server.process.pid))
                response = client.get(f"/case/1.1/CFItems/{item}")
                assert response.status_code == 200, response.text
                time.sleep(0.1)
    assert peak - before < 50 * MEGABYTE, f"{(peak - before) / MEGABYTE:.1f} MB"
