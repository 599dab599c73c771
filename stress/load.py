"""Load: readers and writers of a large framework, then slow and incomplete requests.

Thirty-two clients read a package of 11,000 items in all encodings, sixteen write, and one reads
single items, whose latency is measured. Afterwards, clients read one byte per second, disconnect
during an upload, or never complete a request.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx
from support import factories
from support.live_server import LiveServer

from stress.clock import Clock
from stress.cluster import run_private_cluster
from stress.report import Report
from stress.server import PREFIX, create_client, monitor_memory, open_connection, run_server

ENCODINGS = ("identity", "gzip", "zstd")
READERS, WRITERS = 32, 16
PACKAGES_READ, SMALL_READS = "package 200", "small read"


def build_large_package(items: int) -> factories.Body:
    """Build a package of ``items`` items, with a tree and texts as large as real ones."""
    packed = [
        factories.packed_item(
            fullStatement=f"statement {number} " * 12, humanCodingScheme=f"{number}"
        )
        for number in range(items)
    ]
    links = [
        factories.association(child["identifier"], packed[number // 5]["identifier"])
        for number, child in enumerate(packed)
        if number
    ]
    return factories.package(CFItems=packed, CFAssociations=links)


class LoadScenario:
    """A server that stores one large framework, and the clients that read and write it.

    It shows whether heavy and slow clients delay small requests.
    """

    def __init__(self, live: LiveServer, http: httpx.AsyncClient, items: int, seed: int) -> None:
        self.live, self.http, self.report, self.rng = live, http, Report(), random.Random(seed)
        self.body = build_large_package(items)
        self.document = self.body["CFDocument"]["identifier"]
        self.package = f"{PREFIX}/CFPackages/{self.document}"
        self.raw = json.dumps(self.body).encode()

    async def prepare(self) -> None:
        """Upload the large framework that the clients will read and write."""
        response = await self.http.post(f"{PREFIX}/CFPackages", content=self.raw)
        assert response.status_code == 201, response.text

    async def run_load(self, seconds: float) -> None:
        """Let 32 clients read the package, 16 write and one read single items, for ``seconds``.

        The latency of the single items is recorded.
        """
        async with monitor_memory(self.live) as self.report.memory["load"]:
            until = time.monotonic() + seconds
            work: list[Callable[[int], Awaitable[None]]] = [
                *[self._read] * READERS,
                *[self._write] * (WRITERS - 2),
                *[self._replace] * 2,
                self._read_item,
            ]
            await asyncio.gather(*(_repeat(one, number, until) for number, one in enumerate(work)))

    async def _read(self, number: int) -> None:
        headers = {"Accept-Encoding": ENCODINGS[number % 3]}
        async with self.http.stream("GET", self.package, headers=headers) as response:
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
        self.report.counts[f"package {response.status_code}"] += 1
        if response.status_code != 200 or not size:
            self.report.fail(f"package: {response.status_code}")

    async def _write(self, _: int) -> None:
        item = factories.item(self.document)
        path = f"{PREFIX}/CFItems/{item['identifier']}"
        self.report.record("item put", await self.http.put(path, json=item), {201})
        await asyncio.sleep(0.05)

    async def _replace(self, _: int) -> None:
        self.report.record(
            "package put", await self.http.put(self.package, content=self.raw), {200}
        )
        await asyncio.sleep(0.5)

    async def _read_item(self, _: int) -> None:
        path = f"{PREFIX}/CFItems/{self.rng.choice(self.body['CFItems'])['identifier']}"
        started = time.monotonic()
        self.report.record(SMALL_READS, await self.http.get(path), {200})
        self.report.seconds[SMALL_READS].append(time.monotonic() - started)
        await asyncio.sleep(0.01)

    async def run_slow_clients(self, count: int, seconds: float) -> None:
        """Open ``count`` connections for each kind of slow client; normal requests must succeed.

        For ``seconds``, these clients read or send one byte per second, or never complete a
        request.
        """
        async with monitor_memory(self.live) as memory:
            self.report.memory["slow clients"] = memory
            raw = [make() for _ in range(count) for make in self._slow_clients()]
            until = time.monotonic() + seconds
            try:
                await asyncio.gather(
                    _repeat(self._read_item, 0, until),
                    *(_repeat(self._write, number, until) for number in range(4)),
                    _trickle(raw, until),
                )
                await self._check_responsive()
            finally:
                for connection in raw:
                    connection.close()

    async def _check_responsive(self) -> None:
        self.report.record("package", await self.http.get(self.package), {200})
        self.report.record(
            "package put", await self.http.put(self.package, content=self.raw), {200}
        )
        self.report.record("ready", await self.http.get("/ready"), {200})

    def _slow_clients(self) -> list[Callable[[], socket.socket]]:
        token = self.http.headers["Authorization"]

        def start(method: str, path: str, *headers: str) -> bytes:
            own = (f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {token}")
            return "\r\n".join([*own, *headers, "", ""]).encode()

        lists = f"/ims/case/v1p1/CFItems?limit=3000&offset={self.rng.randrange(100)}"
        upload = start("PUT", self.package, f"Content-Length: {len(self.raw)}")
        slow = {"receive_buffer": 2048}
        return [
            lambda: open_connection(self.live, start("GET", self.package), **slow),
            lambda: open_connection(
                self.live, start("GET", self.package, "Accept-Encoding: gzip"), **slow
            ),
            lambda: open_connection(self.live, start("GET", lists), **slow),
            lambda: open_connection(self.live, b""),
            lambda: open_connection(self.live, b"GET /case/1.1/CFIt"),
            lambda: open_connection(self.live, upload + b"{"),
            lambda: open_connection(
                self.live, start("POST", "/oauth2/token", "Content-Length: 999") + b"g"
            ),
            lambda: _close_early(
                open_connection(self.live, upload + self.raw[: len(self.raw) // 2])
            ),
        ]


def _close_early(raw: socket.socket) -> socket.socket:
    raw.close()
    return raw


async def _repeat(work: Callable[[int], Awaitable[None]], number: int, until: float) -> None:
    while time.monotonic() < until:
        await work(number)


async def _trickle(raw: list[socket.socket], until: float) -> None:
    """Send and receive one byte per second on each connection, as very slow clients do.

    Ends at the monotonic time ``until``.
    """
    while time.monotonic() < until:
        await asyncio.sleep(1)
        for connection in raw:
            if connection.fileno() == -1:
                continue
            connection.setblocking(False)
            with suppress(OSError):
                connection.send(b" ")
            with suppress(OSError):
                connection.recv(1)


async def run(
    items: int, seconds: float, slow: int, seed: int, clock: Clock | None = None
) -> Report:
    """Run the load for ``seconds``, then slow clients for as long, against a large framework.

    ``items`` is the size of the framework, ``slow`` the number of connections of each slow kind.
    """
    clock = clock or Clock()
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with run_private_cluster(folder / "postgres") as cluster:
            with run_server(folder, cluster.url) as live:
                async with create_client(live, connections=200) as http:
                    scenario = LoadScenario(live, http, items, seed)
                    await scenario.prepare()
                    clock.report_progress(f"{items:,} items stored")
                    await scenario.run_load(seconds)
                    clock.report_progress(f"{scenario.report.counts[PACKAGES_READ]:,} were read")
                    await scenario.run_slow_clients(slow, seconds)
    return scenario.report
