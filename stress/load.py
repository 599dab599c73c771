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
from stress.cluster import private_cluster
from stress.report import Report
from stress.server import PREFIX, client, connect, monitor_memory, server

ENCODINGS = ("identity", "gzip", "zstd")
READERS, WRITERS = 32, 16
PACKAGES_READ, SMALL_READS = "package 200", "small read"


def framework(items: int) -> factories.Body:
    """Return a package whose statements and tree are of realistic size."""
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


class Scenario:
    """A server with one large framework."""

    def __init__(self, live: LiveServer, http: httpx.AsyncClient, items: int, seed: int) -> None:
        self.live, self.http, self.report, self.rng = live, http, Report(), random.Random(seed)
        self.body = framework(items)
        self.document = self.body["CFDocument"]["identifier"]
        self.package = f"{PREFIX}/CFPackages/{self.document}"
        self.raw = json.dumps(self.body).encode()

    async def prepare(self) -> None:
        """Upload the framework."""
        response = await self.http.post(f"{PREFIX}/CFPackages", content=self.raw)
        assert response.status_code == 201, response.text

    async def run_load(self, seconds: float) -> None:
        """Run readers, writers and a client of small reads for some seconds."""
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
        """Run all kinds of slow clients and ordinary ones concurrently."""
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
        """Check that a large read and an upload succeed meanwhile."""
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
            lambda: connect(self.live, start("GET", self.package), **slow),
            lambda: connect(self.live, start("GET", self.package, "Accept-Encoding: gzip"), **slow),
            lambda: connect(self.live, start("GET", lists), **slow),
            lambda: connect(self.live, b""),
            lambda: connect(self.live, b"GET /case/1.1/CFIt"),
            lambda: connect(self.live, upload + b"{"),
            lambda: connect(
                self.live, start("POST", "/oauth2/token", "Content-Length: 999") + b"g"
            ),
            lambda: _closed(connect(self.live, upload + self.raw[: len(self.raw) // 2])),
        ]


def _closed(raw: socket.socket) -> socket.socket:
    raw.close()
    return raw


async def _repeat(work: Callable[[int], Awaitable[None]], number: int, until: float) -> None:
    while time.monotonic() < until:
        await work(number)


async def _trickle(raw: list[socket.socket], until: float) -> None:
    """Send and receive one byte per second on each connection."""
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
    """Run ``seconds`` of load, then as long with ``slow`` clients of each slow kind."""
    clock = clock or Clock()
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with private_cluster(folder / "postgres") as cluster:
            with server(folder, cluster.url) as live:
                async with client(live, connections=200) as http:
                    scenario = Scenario(live, http, items, seed)
                    await scenario.prepare()
                    clock.report_progress(f"{items:,} items stored")
                    await scenario.run_load(seconds)
                    clock.report_progress(f"{scenario.report.counts[PACKAGES_READ]:,} were read")
                    await scenario.run_slow_clients(slow, seconds)
    return scenario.report
