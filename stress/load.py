"""Load: readers and writers of a large framework, then slow and incomplete requests.

Thirty-two clients read a package of 11,000 items in all encodings, sixteen write, and one reads
single items, whose latency is measured. Afterwards, clients read one byte per second, disconnect
during an upload, or never complete a request.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from httpx import AsyncClient
from support import factories
from support.live_server import LiveServer

from stress.report import ScenarioReport
from stress.server import PREFIX, monitor_memory, open_connection, run_private_server
from stress.timer import ScenarioTimer

ENCODINGS = ("identity", "gzip", "zstd")
READERS, WRITERS = 32, 16
PACKAGES_READ, SMALL_READS = "package 200", "small read"


def build_large_package(item_count: int) -> factories.Body:
    """Build a package whose items form a tree and have statements of realistic length."""
    items = [
        factories.packed_item(
            fullStatement=f"statement {number} " * 12, humanCodingScheme=f"{number}"
        )
        for number in range(item_count)
    ]
    links = [
        factories.association(child["identifier"], items[number // 5]["identifier"])
        for number, child in enumerate(items)
        if number
    ]
    return factories.package(CFItems=items, CFAssociations=links)


class LoadScenario:
    """Heavy and slow clients of a large framework, to test whether they delay small requests."""

    def __init__(self, server: LiveServer, http: AsyncClient, item_count: int, seed: int) -> None:
        self.server, self.http = server, http
        self.report, self.rng = ScenarioReport(), random.Random(seed)
        self.body = build_large_package(item_count)
        self.document = self.body["CFDocument"]["identifier"]
        self.package = f"{PREFIX}/CFPackages/{self.document}"
        self.raw = json.dumps(self.body).encode()

    async def upload_framework(self) -> None:
        """Upload the large framework that the clients will read and write."""
        response = await self.http.post(f"{PREFIX}/CFPackages", content=self.raw)
        assert response.status_code == 201, response.text

    async def run_heavy_clients(self, seconds: float) -> None:
        """Send requests from 32 package readers, 16 writers and one reader of single items.

        They run for ``seconds``. The latency of single items is recorded.
        """
        async with monitor_memory(self.server) as self.report.memory["load"]:
            until = time.monotonic() + seconds
            tasks: list[Callable[[int], Awaitable[None]]] = [
                *[self._read] * READERS,
                *[self._write] * (WRITERS - 2),
                *[self._replace] * 2,
                self._read_item,
            ]
            await asyncio.gather(
                *(_repeat(task, number, until) for number, task in enumerate(tasks))
            )

    async def _read(self, number: int) -> None:
        headers = {"Accept-Encoding": ENCODINGS[number % 3]}
        async with self.http.stream("GET", self.package, headers=headers) as response:
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
        self.report.counts[f"package {response.status_code}"] += 1
        if response.status_code != 200 or not size:
            self.report.record_violation(f"package: {response.status_code}")

    async def _write(self, _: int) -> None:
        item = factories.item(self.document)
        path = f"{PREFIX}/CFItems/{item['identifier']}"
        self.report.record_response("item put", await self.http.put(path, json=item), {201})
        await asyncio.sleep(0.05)

    async def _replace(self, _: int) -> None:
        self.report.record_response(
            "package put", await self.http.put(self.package, content=self.raw), {200}
        )
        await asyncio.sleep(0.5)

    async def _read_item(self, _: int) -> None:
        path = f"{PREFIX}/CFItems/{self.rng.choice(self.body['CFItems'])['identifier']}"
        started = time.monotonic()
        self.report.record_response(SMALL_READS, await self.http.get(path), {200})
        self.report.seconds[SMALL_READS].append(time.monotonic() - started)
        await asyncio.sleep(0.01)

    async def run_slow_clients(self, count: int, seconds: float) -> None:
        """Open ``count`` connections of each kind of slow client; check that others are served.

        For ``seconds``, the slow clients read or send one byte per second, or never complete a
        request.
        """
        async with monitor_memory(self.server) as memory:
            self.report.memory["slow clients"] = memory
            connections = [raw for _ in range(count) for raw in self._open_slow_connections()]
            until = time.monotonic() + seconds
            try:
                await asyncio.gather(
                    _repeat(self._read_item, 0, until),
                    *(_repeat(self._write, number, until) for number in range(4)),
                    _trickle(connections, until),
                )
                await self._check_responsive()
            finally:
                for connection in connections:
                    connection.close()

    async def _check_responsive(self) -> None:
        self.report.record_response("package", await self.http.get(self.package), {200})
        self.report.record_response(
            "package put", await self.http.put(self.package, content=self.raw), {200}
        )
        self.report.record_response("ready", await self.http.get("/ready"), {200})

    def _open_slow_connections(self) -> list[socket.socket]:
        token = self.http.headers["Authorization"]

        def start(method: str, path: str, *headers: str) -> bytes:
            lines = (f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {token}")
            return "\r\n".join([*lines, *headers, "", ""]).encode()

        lists = f"/ims/case/v1p1/CFItems?limit=3000&offset={self.rng.randrange(100)}"
        upload = start("PUT", self.package, f"Content-Length: {len(self.raw)}")
        open_connection(self.server, upload + self.raw[: len(self.raw) // 2]).close()
        unread_requests = (
            start("GET", self.package),
            start("GET", self.package, "Accept-Encoding: gzip"),
            start("GET", lists),
        )
        incomplete = (
            b"",
            b"GET /case/1.1/CFIt",
            upload + b"{",
            start("POST", "/oauth2/token", "Content-Length: 999") + b"g",
        )
        return [
            *(
                open_connection(self.server, request, receive_buffer=2048)
                for request in unread_requests
            ),
            *(open_connection(self.server, request) for request in incomplete),
        ]


async def _repeat(work: Callable[[int], Awaitable[None]], number: int, until: float) -> None:
    while time.monotonic() < until:
        await work(number)


async def _trickle(connections: list[socket.socket], until: float) -> None:
    """Send and receive one byte per second on each connection, as very slow clients do.

    Runs until the monotonic time ``until``.
    """
    while time.monotonic() < until:
        await asyncio.sleep(1)
        for connection in connections:
            connection.setblocking(False)
            with suppress(OSError):
                connection.send(b" ")
            with suppress(OSError):
                connection.recv(1)


async def run_load(
    item_count: int, seconds: float, slow_count: int, seed: int, timer: ScenarioTimer | None = None
) -> ScenarioReport:
    """Run heavy clients for ``seconds``, then slow clients for ``seconds``; return a report.

    ``item_count`` is the size of the framework, and ``slow_count`` the number of connections of
    each kind of slow client.
    """
    timer = timer or ScenarioTimer()
    async with run_private_server(connections=200) as (_, server, http):
        scenario = LoadScenario(server, http, item_count, seed)
        await scenario.upload_framework()
        timer.report_progress(f"{item_count:,} items stored")
        await scenario.run_heavy_clients(seconds)
        timer.report_progress(f"{scenario.report.counts[PACKAGES_READ]:,} were read")
        await scenario.run_slow_clients(slow_count, seconds)
    return scenario.report
