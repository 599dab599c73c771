"""Commits wait for standbys, so that every server shows what any of them has acknowledged."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from support import factories
from support.haproxy import run_haproxy
from support.live_server import LiveServer, run_live_server
from support.pgbouncer import run_pgbouncer
from support.replication import ReplicatedServer, run_replicated_postgres

PREFIX = "/case/1.1"
CLIENTS = 6
SECONDS = 5


def serve(stack: ExitStack, folder: Path, server: ReplicatedServer) -> LiveServer:
    """Run a server that has another public URL than its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    settings = {
        "CASE_SERVER_DATABASE_URL": server.url,
        "CASE_SERVER_SYNCHRONOUS_COMMIT": "remote_apply",
        "CASE_SERVER_PUBLIC_URL": "http://case.test",
    }
    live = stack.enter_context(run_live_server(folder, "--port", port, settings=settings))
    return replace(live, base_url=f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("mode", ["direct", "pooled"])
async def test_commit_without_its_standby_gets_503_within_a_bound(
    tmp_path: Path, mode: str
) -> None:
    async with run_replicated_postgres(tmp_path) as postgres:
        with ExitStack() as stack:
            server = postgres.primary
            if mode == "pooled":
                folder = tmp_path / "pgbouncer"
                folder.mkdir()
                port = stack.enter_context(run_pgbouncer(server.url, folder, "transaction"))
                url = server.url.replace(server.address, f"127.0.0.1:{port}")
                server = ReplicatedServer(server.cluster, url)
            live = serve(stack, tmp_path / "server", server)
            http = stack.enter_context(live.client())
            document = factories.document()
            path = f"{PREFIX}/CFDocuments/{document['identifier']}"
            await postgres.primary.set("synchronous_standby_names", "*")
            response = await asyncio.to_thread(http.put, path, json=document)
            assert response.status_code == 201
            await postgres.cut_off()
            package = factories.package()
            for method, target, body in (
                ("PUT", path, {**document, "title": "changed"}),
                ("POST", f"{PREFIX}/CFPackages", package),
            ):
                started = time.monotonic()
                response = await asyncio.to_thread(http.request, method, target, json=body)
                assert response.status_code == 503, response.text
                assert "stored on this node, but not confirmed" in response.text
                assert response.headers["Retry-After"]
                assert time.monotonic() - started < 8
            async with asyncio.timeout(5):
                while http.get(path).json()["title"] != "changed":  # noqa: ASYNC110  no event
                    await asyncio.sleep(0.1)
            await postgres.primary.set("synchronous_standby_names", "")
            assert http.put(path, json=document).status_code == 201


async def test_no_client_misses_an_acknowledged_write(tmp_path: Path) -> None:
    """Clients write and read in random order, each also what others wrote."""
    async with run_replicated_postgres(tmp_path, standbys=2) as postgres:
        await postgres.primary.set("synchronous_standby_names", "FIRST 2 (*)")
        with ExitStack() as stack:
            nodes = [postgres.primary, *postgres.standbys]
            servers = [
                serve(stack, tmp_path / f"server-{number}", node)
                for number, node in enumerate(nodes)
            ]
            base_url = stack.enter_context(run_haproxy([server.base_url for server in servers]))
            acknowledged: dict[str, str] = {}
            document = factories.document()
            tokens = [servers[0].token() for _ in range(CLIENTS)]
            async with httpx.AsyncClient(base_url=base_url, timeout=30) as http:
                headers = {"Authorization": f"Bearer {tokens[0]}"}
                path = f"{PREFIX}/CFDocuments/{document['identifier']}"
                assert (await http.put(path, json=document, headers=headers)).status_code == 201
                until = time.monotonic() + SECONDS
                reads = await asyncio.gather(
                    *(
                        use(http, token, document["identifier"], acknowledged, until)
                        for token in tokens
                    )
                )
            assert sum(reads) > CLIENTS
            assert len(acknowledged) > CLIENTS


async def use(
    http: httpx.AsyncClient, token: str, document: str, acknowledged: dict[str, str], until: float
) -> int:
    """Write items, and read items and packages, until a time; return the number of reads."""
    headers = {"Authorization": f"Bearer {token}"}
    package = f"{PREFIX}/CFPackages/{document}"
    reads = 0
    while time.monotonic() < until:
        choice = random.choice(("write", "item", "package"))
        if choice == "write":
            # Own items only: of two writers of one item, either may be the last.
            item = factories.item(document, fullStatement=factories.new_id())
            path = f"{PREFIX}/CFItems/{item['identifier']}"
            response = await http.put(path, json=item, headers=headers)
            assert response.status_code == 201, response.text
            acknowledged[item["identifier"]] = item["fullStatement"]
        elif choice == "item" and acknowledged:
            identifier, statement = random.choice([*acknowledged.items()])
            response = await http.get(f"{PREFIX}/CFItems/{identifier}", headers=headers)
            assert response.status_code == 200, response.text
            assert response.json()["fullStatement"] == statement
            reads += 1
        elif choice == "package":
            expected = dict(acknowledged)
            response = await http.get(package, headers=headers)
            items = {each["identifier"] for each in response.json()["CFItems"]}
            assert expected.keys() <= items
            reads += 1
    return reads
