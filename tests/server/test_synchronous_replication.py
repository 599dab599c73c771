"""Commits wait for standbys, so that every server shows what any of them has acknowledged."""

import asyncio
import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from httpx import AsyncClient
from support import factories
from support.databases import open_connection
from support.haproxy import run_haproxy
from support.pgbouncer import run_pgbouncer
from support.replication import ReplicatedServer, run_replicated_postgres, serve
from support.selection import mark_slow_except

PREFIX = "/case/1.1"
CLIENTS = 6
ITEMS = 5
"""Number of items that each client writes."""
WAITING = {"synchronous_commit": "remote_apply"}


@pytest.mark.parametrize("mode", mark_slow_except(["direct"], ["direct", "pooled"]))
async def test_commit_without_its_standby_gets_503_in_time(tmp_path: Path, mode: str) -> None:
    async with run_replicated_postgres(tmp_path) as postgres:
        with ExitStack() as stack:
            server = postgres.primary
            if mode == "pooled":
                folder = tmp_path / "pgbouncer"
                folder.mkdir()
                port = stack.enter_context(run_pgbouncer(server.url, folder, "transaction"))
                url = server.url.replace(server.address, f"127.0.0.1:{port}")
                server = ReplicatedServer(server.cluster, url)
            live = serve(stack, tmp_path / "server", server, **WAITING)
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
            assert http.post(f"{PREFIX}/CFPackages", json=package).status_code == 409
            await postgres.primary.set("synchronous_standby_names", "")
            assert http.put(path, json=document).status_code == 201


@pytest.mark.parametrize("operations", mark_slow_except([300], [300, 10_000]))
async def test_no_client_misses_an_acknowledged_write(tmp_path: Path, operations: int) -> None:
    """Clients write and read in random order, each also what others wrote, while replay lags."""
    async with run_replicated_postgres(tmp_path, standbys=2) as postgres:
        await postgres.primary.set("synchronous_standby_names", "FIRST 2 (*)")
        with ExitStack() as stack:
            nodes = [postgres.primary, *postgres.standbys]
            servers = [
                serve(stack, tmp_path / f"server-{number}", node, **WAITING)
                for number, node in enumerate(nodes)
            ]
            base_url = stack.enter_context(run_haproxy([server.base_url for server in servers]))
            document = factories.document()
            tokens = [servers[0].token() for _ in range(CLIENTS)]
            async with AsyncClient(base_url=base_url, timeout=30) as http:
                headers = {"Authorization": f"Bearer {tokens[0]}"}
                path = f"{PREFIX}/CFDocuments/{document['identifier']}"
                assert (await http.put(path, json=document, headers=headers)).status_code == 201
                history = History(document["identifier"], operations)
                lags = [asyncio.create_task(delay_replay(node)) for node in postgres.standbys]
                await asyncio.gather(*(history.use(http, token) for token in tokens))
                for lag in lags:
                    lag.cancel()
                await asyncio.wait(lags)
            assert history.reads > operations // 3
            primary, *standbys = (
                (tmp_path / f"server-{number}.log").read_text() for number in range(3)
            )
            read = f"GET {PREFIX}/CFItems/"
            assert read in "".join(standbys)
            assert read not in primary


async def delay_replay(standby: ReplicatedServer) -> None:
    """Pause a standby's replay of WAL for random times of up to 50 ms, until cancelled."""
    async with open_connection(standby.url) as connection:
        while True:
            await connection.execute("SELECT pg_wal_replay_pause()")
            await asyncio.sleep(random.uniform(0, 0.05))
            await connection.execute("SELECT pg_wal_replay_resume()")
            await asyncio.sleep(random.uniform(0, 0.2))


class History:
    """Writes of numbered versions of items, and reads that must show each acknowledged version."""

    def __init__(self, document: str, operations: int) -> None:
        self.document, self.reads = document, 0
        self._remaining = operations
        self._acknowledged: dict[str, int] = {}

    async def use(self, http: AsyncClient, token: str) -> None:
        """Write a client's own items, and read any, until all operations are done."""
        headers = {"Authorization": f"Bearer {token}"}
        # Own items only: of two writers of one item, either may be the last.
        items = [factories.item(self.document) for _ in range(ITEMS)]
        while self._remaining:
            self._remaining -= 1
            choice = random.choice(("write", "item", "package"))
            expected = dict(self._acknowledged)
            if choice == "write":
                item = random.choice(items)
                identifier = item["identifier"]
                version = expected.get(identifier, 0) + 1
                body = {**item, "fullStatement": str(version)}
                path = f"{PREFIX}/CFItems/{identifier}"
                response = await http.put(path, json=body, headers=headers)
                assert response.status_code == 201, response.text
                self._acknowledged[identifier] = version
                continue
            if choice == "item" and expected:
                identifier = random.choice([*expected])
                path, expected = (
                    f"{PREFIX}/CFItems/{identifier}",
                    {identifier: expected[identifier]},
                )
            else:
                path = f"{PREFIX}/CFPackages/{self.document}"
            response = await http.get(path, headers=headers)
            assert response.status_code == 200, response.text
            body = response.json()
            versions = {
                item["identifier"]: int(item["fullStatement"])
                for item in body.get("CFItems", [body])
                if "fullStatement" in item
            }
            missed = {key for key, version in expected.items() if versions.get(key, 0) < version}
            assert not missed, path
            self.reads += 1
