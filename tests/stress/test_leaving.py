"""Clients that go in the middle, over and over: nothing of what they had is kept from others."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from support import factories
from support.live_server import Live

from case_server.db.pool import dsn
from stress import load
from stress.cluster import until
from stress.server import MEGABYTE, PREFIX, client, connect, server

POOL = 4
ROUNDS = 60


@pytest.fixture
def live(database_url: str, tmp_path: Path, clean: None) -> Iterator[Live]:
    """A server with a small pool, so that what is not given back is missed soon."""
    with server(tmp_path, database_url, pool_size=POOL, cache_mb=0) as found:
        yield found


@pytest.fixture
async def http(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    async with client(live) as found:
        yield found


def said(http: httpx.AsyncClient, method: str, path: str, *headers: str) -> bytes:
    """The head of a request as it goes over the wire."""
    token = http.headers["Authorization"]
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


class Held:
    """What the server process holds: files, memory, connections to Postgres."""

    def __init__(self, live: Live, database_url: str) -> None:
        self.process = psutil.Process(live.process.pid)
        self.url = dsn(database_url)
        self.files = self.process.num_fds()
        self.memory = self.process.memory_info().rss

    async def busy(self) -> int:
        """How many of its connections to Postgres are in a transaction or run something."""
        connection = await asyncpg.connect(self.url)
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'case-server' "
                    "AND datname = current_database() AND state <> 'idle'"
                )
            )
        finally:
            await connection.close()

    async def nothing_is_left(self) -> None:
        """Fail unless all of it is soon what it was, but for the pool's idle connections."""

        async def given_back() -> bool:
            return self.process.num_fds() <= self.files + POOL and not await self.busy()

        await until(given_back, 15, "everything given back")
        grown = (self.process.memory_info().rss - self.memory) / MEGABYTE
        assert grown < 120, f"{grown:.0f} MB more"


async def stored(http: httpx.AsyncClient, items: int) -> tuple[str, bytes]:
    """A framework, uploaded: its path, and its body."""
    body = load.framework(items)
    raw = json.dumps(body).encode()
    answer = await http.post(f"{PREFIX}/CFPackages", content=raw)
    assert answer.status_code == 201, answer.text
    return f"{PREFIX}/CFPackages/{body['CFDocument']['identifier']}", raw


async def all_is_well(http: httpx.AsyncClient, path: str, raw: bytes, held: Held) -> None:
    """Reads and uploads are answered at once, more at a time than the pool has connections."""
    begun = time.monotonic()
    answers = await asyncio.gather(
        *(http.get(path) for _ in range(3 * POOL)),
        *(http.get(f"{PREFIX}/CFItems?limit=5") for _ in range(3 * POOL)),
        http.put(path, content=raw),
        http.get("/ready"),
    )
    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - begun < 20
    await held.nothing_is_left()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_readers_that_leave_in_the_middle_of_a_package(
    live: Live, http: httpx.AsyncClient, database_url: str, encoding: str
) -> None:
    path, raw = await stored(http, 2000)
    await http.get(path)
    held = Held(live, database_url)
    head = said(http, "GET", path, f"Accept-Encoding: {encoding}")
    for number in range(ROUNDS):
        with connect(live, head, receive_buffer=4096) as raw_socket:
            # Some leave after the first bytes, some before there are any, some by a reset.
            if number % 3:
                assert raw_socket.recv(1000).startswith(b"HTTP/1.1 200")
            if number % 2:
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if number % 10 == 0:
            # Something new, so that the next one's answer is being written when he leaves.
            item = factories.item(path.rpartition("/")[2])
            put = await http.put(f"{PREFIX}/CFItems/{item['identifier']}", json=item)
            assert put.status_code == 201
    await all_is_well(http, path, raw, held)


async def test_uploads_that_end_in_the_middle(
    live: Live, http: httpx.AsyncClient, database_url: str
) -> None:
    path, raw = await stored(http, 500)
    held = Held(live, database_url)
    head = said(http, "PUT", path, f"Content-Length: {len(raw)}")
    chunked = said(http, "PUT", path, "Transfer-Encoding: chunked")
    before = (await http.get(path)).content
    for number in range(ROUNDS):
        sent = head + raw[: len(raw) * (number % 10) // 10]
        if number % 4 == 0:
            sent = chunked + b"1000\r\n" + raw[:4096]
        connect(live, sent).close()
    assert (await http.get(path)).content == before
    await all_is_well(http, path, raw, held)


async def test_uploads_whose_sender_does_not_wait_for_the_answer(
    live: Live, http: httpx.AsyncClient, database_url: str
) -> None:
    path, raw = await stored(http, 200)
    held = Held(live, database_url)
    head = said(http, "PUT", path, f"Content-Length: {len(raw)}")
    for _ in range(ROUNDS // 4):
        connect(live, head + raw).close()
    await all_is_well(http, path, raw, held)
    body: dict[str, Any] = (await http.get(path)).json()
    assert len(body["CFItems"]) == 200


async def test_readers_that_leave_while_their_answer_waits_for_postgres(
    live: Live, http: httpx.AsyncClient, database_url: str
) -> None:
    path, raw = await stored(http, 50)
    held = Held(live, database_url)
    connection = await asyncpg.connect(dsn(database_url))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
            for _ in range(ROUNDS):
                connect(live, said(http, "GET", f"{path}/groups")).close()
                connect(live, said(http, "GET", f"{PREFIX}/CFItems?limit=5")).close()
    finally:
        await connection.close()
    await all_is_well(http, path, raw, held)
