"""Clients that disconnect early: the server frees their resources."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

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


class Leaving:
    """A server with a small pool, a framework, and the resources in use before clients leave."""

    def __init__(self, live: LiveServer, http: AsyncClient, url: str) -> None:
        self.live, self.http, self.url = live, http, url
        self.process = psutil.Process(live.process.pid)

    async def store(self, items: int) -> None:
        """Upload a framework and read it."""
        body = load.build_large_package(items)
        self.raw = json.dumps(body).encode()
        self.path = f"{PREFIX}/CFPackages/{body['CFDocument']['identifier']}"
        response = await self.http.post(f"{PREFIX}/CFPackages", content=self.raw)
        assert response.status_code == 201, response.text
        self.before = (await self.http.get(self.path)).content
        self.files = self.process.num_fds()
        self.memory = self.process.memory_info().rss

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """Return the request line and header section of a request as bytes."""
        token = self.http.headers["Authorization"]
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {token}"]
        return "\r\n".join([*lines, *headers, "", ""]).encode()

    async def count_busy_connections(self) -> int:
        """Return the number of the server's Postgres connections that are not idle."""
        sql = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'case-server' "
            "AND datname = current_database() AND state <> 'idle'"
        )
        async with open_connection(self.url) as connection:
            return int(await connection.fetchval(sql))

    async def assert_responsive(self) -> None:
        """Assert that more requests than pool connections succeed, and that all is freed soon."""
        started = time.monotonic()
        responses = await asyncio.gather(
            *(self.http.get(self.path) for _ in range(3 * POOL)),
            *(self.http.get(f"{PREFIX}/CFItems?limit=5") for _ in range(3 * POOL)),
            self.http.put(self.path, content=self.raw),
            self.http.get("/ready"),
        )
        assert {response.status_code for response in responses} == {200}
        assert time.monotonic() - started < 20

        async def is_freed() -> bool:
            files = self.process.num_fds()
            return files <= self.files + POOL and not await self.count_busy_connections()

        await wait_until(is_freed, 15, "all resources are freed")
        grown = (self.process.memory_info().rss - self.memory) / MEGABYTE
        assert grown < 120, f"{grown:.0f} MB more"


@pytest.fixture
async def leaving(database_url: str, tmp_path: Path, clean: None) -> AsyncIterator[Leaving]:
    # Leaked connections exhaust a small pool soon.
    with run_server(tmp_path, database_url, pool_size=POOL, cache_mb=0) as live:
        async with create_client(live) as http:
            yield Leaving(live, http, database_url)


@pytest.mark.parametrize("encoding", mark_slow_except(["gzip"], ["identity", "gzip"]))
async def test_disconnect_while_reading_package_frees_resources(
    leaving: Leaving, encoding: str
) -> None:
    await leaving.store(2000)
    head = leaving.head("GET", leaving.path, f"Accept-Encoding: {encoding}")
    for number in range(ROUNDS):
        with open_socket(leaving.live, head, receive_buffer=4096) as raw_socket:
            # Disconnect after the first bytes, before any, or with a TCP reset.
            if number % 3:
                assert raw_socket.recv(1000).startswith(b"HTTP/1.1 200")
            if number % 2:
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if number % 10 == 0:
            # Invalidate the cache, so that the next client leaves while its response is rendered.
            item = factories.item(leaving.path.rpartition("/")[2])
            put = await leaving.http.put(f"{PREFIX}/CFItems/{item['identifier']}", json=item)
            assert put.status_code == 201
    await leaving.assert_responsive()


async def test_incomplete_upload_frees_resources(leaving: Leaving) -> None:
    await leaving.store(500)
    path, raw = leaving.path, leaving.raw
    head = leaving.head("PUT", path, f"Content-Length: {len(raw)}")
    chunked = leaving.head("PUT", path, "Transfer-Encoding: chunked")
    for number in range(ROUNDS):
        sent = head + raw[: len(raw) * (number % 10) // 10]
        if number % 4 == 0:
            sent = chunked + b"1000\r\n" + raw[:4096]
        open_socket(leaving.live, sent).close()
    assert (await leaving.http.get(path)).content == leaving.before
    await leaving.assert_responsive()


async def test_disconnect_after_upload_frees_resources(leaving: Leaving) -> None:
    await leaving.store(200)
    head = leaving.head("PUT", leaving.path, f"Content-Length: {len(leaving.raw)}")
    for _ in range(ROUNDS // 4):
        open_socket(leaving.live, head + leaving.raw).close()
    await leaving.assert_responsive()
    assert len((await leaving.http.get(leaving.path)).json()["CFItems"]) == 200


async def test_disconnect_while_waiting_for_postgres_frees_resources(leaving: Leaving) -> None:
    await leaving.store(50)
    async with lock_table(leaving.url, "items"):
        for _ in range(ROUNDS):
            for target in (f"{leaving.path}/groups", f"{PREFIX}/CFItems?limit=5"):
                open_socket(leaving.live, leaving.head("GET", target)).close()
    await leaving.assert_responsive()
