"""Clients that disconnect early: the server frees their resources."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from httpx import AsyncClient
from support import factories
from support.databases import lock_table, open_connection
from support.live_server import LiveServer
from support.selection import mark_slow_except

from stress import load
from stress.cluster import wait_until
from stress.server import MEGABYTE, PREFIX, create_client, run_server
from stress.server import open_connection as open_socket

POOL = 4
ROUNDS = 60


@pytest.fixture
def live(database_url: str, tmp_path: Path, clean: None) -> Iterator[LiveServer]:
    """A server with a small pool, so that leaked connections exhaust it soon."""
    with run_server(tmp_path, database_url, pool_size=POOL, cache_mb=0) as running:
        yield running


@pytest.fixture
async def http(live: LiveServer) -> AsyncIterator[AsyncClient]:
    async with create_client(live) as result:
        yield result


def request_head(http: AsyncClient, method: str, path: str, *headers: str) -> bytes:
    """Return the request line and header section of a request as bytes."""
    token = http.headers["Authorization"]
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


class Resources:
    """The file descriptors, memory and Postgres connections of the server process."""

    def __init__(self, live: LiveServer, database_url: str) -> None:
        self.process = psutil.Process(live.process.pid)
        self.url = database_url
        self.files = self.process.num_fds()
        self.memory = self.process.memory_info().rss

    async def count_busy_connections(self) -> int:
        """Return the number of its Postgres connections that are not idle."""
        sql = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'case-server' "
            "AND datname = current_database() AND state <> 'idle'"
        )
        async with open_connection(self.url) as connection:
            return int(await connection.fetchval(sql))

    async def assert_freed(self) -> None:
        """Fail unless all resources except idle pool connections are freed within 15 s."""

        async def is_freed() -> bool:
            return (
                self.process.num_fds() <= self.files + POOL
                and not await self.count_busy_connections()
            )

        await wait_until(is_freed, 15, "all resources are freed")
        grown = (self.process.memory_info().rss - self.memory) / MEGABYTE
        assert grown < 120, f"{grown:.0f} MB more"


async def stored(http: AsyncClient, items: int) -> tuple[str, bytes]:
    """Upload a framework; return its path and body."""
    body = load.build_large_package(items)
    raw = json.dumps(body).encode()
    response = await http.post(f"{PREFIX}/CFPackages", content=raw)
    assert response.status_code == 201, response.text
    return f"{PREFIX}/CFPackages/{body['CFDocument']['identifier']}", raw


async def assert_responsive(http: AsyncClient, path: str, raw: bytes, resources: Resources) -> None:
    """Assert that more concurrent requests than pool connections succeed."""
    started = time.monotonic()
    responses = await asyncio.gather(
        *(http.get(path) for _ in range(3 * POOL)),
        *(http.get(f"{PREFIX}/CFItems?limit=5") for _ in range(3 * POOL)),
        http.put(path, content=raw),
        http.get("/ready"),
    )
    assert {response.status_code for response in responses} == {200}
    assert time.monotonic() - started < 20
    await resources.assert_freed()


@pytest.mark.parametrize("encoding", mark_slow_except(["gzip"], ["identity", "gzip"]))
async def test_disconnect_while_reading_package_frees_resources(
    live: LiveServer, http: AsyncClient, database_url: str, encoding: str
) -> None:
    path, raw = await stored(http, 2000)
    await http.get(path)
    resources = Resources(live, database_url)
    head = request_head(http, "GET", path, f"Accept-Encoding: {encoding}")
    for number in range(ROUNDS):
        with open_socket(live, head, receive_buffer=4096) as raw_socket:
            # Disconnect after the first bytes, before any, or with a TCP reset.
            if number % 3:
                assert raw_socket.recv(1000).startswith(b"HTTP/1.1 200")
            if number % 2:
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if number % 10 == 0:
            # Invalidate the cache, so that the next client leaves while its response is rendered.
            item = factories.item(path.rpartition("/")[2])
            put = await http.put(f"{PREFIX}/CFItems/{item['identifier']}", json=item)
            assert put.status_code == 201
    await assert_responsive(http, path, raw, resources)


async def test_incomplete_upload_frees_resources(
    live: LiveServer, http: AsyncClient, database_url: str
) -> None:
    path, raw = await stored(http, 500)
    resources = Resources(live, database_url)
    head = request_head(http, "PUT", path, f"Content-Length: {len(raw)}")
    chunked = request_head(http, "PUT", path, "Transfer-Encoding: chunked")
    before = (await http.get(path)).content
    for number in range(ROUNDS):
        sent = head + raw[: len(raw) * (number % 10) // 10]
        if number % 4 == 0:
            sent = chunked + b"1000\r\n" + raw[:4096]
        open_socket(live, sent).close()
    assert (await http.get(path)).content == before
    await assert_responsive(http, path, raw, resources)


async def test_disconnect_after_upload_frees_resources(
    live: LiveServer, http: AsyncClient, database_url: str
) -> None:
    path, raw = await stored(http, 200)
    resources = Resources(live, database_url)
    head = request_head(http, "PUT", path, f"Content-Length: {len(raw)}")
    for _ in range(ROUNDS // 4):
        open_socket(live, head + raw).close()
    await assert_responsive(http, path, raw, resources)
    body: dict[str, Any] = (await http.get(path)).json()
    assert len(body["CFItems"]) == 200


async def test_disconnect_while_waiting_for_postgres_frees_resources(
    live: LiveServer, http: AsyncClient, database_url: str
) -> None:
    path, raw = await stored(http, 50)
    resources = Resources(live, database_url)
    async with lock_table(database_url, "items"):
        for _ in range(ROUNDS):
            for target in (f"{path}/groups", f"{PREFIX}/CFItems?limit=5"):
                open_socket(live, request_head(http, "GET", target)).close()
    await assert_responsive(http, path, raw, resources)
