"""Load: many read a large framework while others write, and some of them behave badly.

Thirty-two clients read a package of eleven thousand items in every encoding, sixteen write, and
one asks for single items all the time, which is what the tail latency is about. Then come those
who read a byte a second, hang up in the middle of an upload, or never finish what they say.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from support import factories
from support.live_server import Live

from stress.clock import Clock
from stress.cluster import private_cluster
from stress.server import PREFIX, Memory, client, connect, server, watched

ENCODINGS = ("identity", "gzip", "zstd")
READERS, WRITERS = 32, 16


@dataclass
class Tally:
    """What was asked, how it was answered, and what that cost."""

    items: int
    answers: Counter[str] = field(default_factory=Counter)
    small: list[float] = field(default_factory=list)
    memory: dict[str, Memory] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{what} {count:,}" for what, count in sorted(self.answers.items()))
        memory = "; ".join(f"{what}: {cost}" for what, cost in self.memory.items())
        return (
            f"{self.items:,} items; {counts}; small reads: median "
            f"{1000 * self.quantile(0.5):.0f} ms, p99 {1000 * self.quantile(0.99):.0f} ms; "
            f"{memory}; {len(self.wrong)} wrong"
        )

    def quantile(self, share: float) -> float:
        """So many of the small reads were faster, in seconds."""
        ordered = sorted(self.small)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def count(self, what: str, answer: httpx.Response, *allowed: int) -> None:
        """Note an answer; all but the allowed ones are wrong."""
        self.answers[f"{what} {answer.status_code}"] += 1
        if answer.status_code not in allowed:
            self.wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")


def framework(items: int) -> factories.Body:
    """A framework as large as real ones: texts of ordinary length, each item below another."""
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


class Trial:
    """One server with one large framework in it."""

    def __init__(
        self, live: Live, http: httpx.AsyncClient, tally: Tally, rng: random.Random
    ) -> None:
        self.live, self.http, self.tally, self.rng = live, http, tally, rng
        self.body = framework(tally.items)
        self.document = self.body["CFDocument"]["identifier"]
        self.package = f"{PREFIX}/CFPackages/{self.document}"
        self.raw = json.dumps(self.body).encode()

    async def prepare(self) -> None:
        """Upload it."""
        answer = await self.http.post(f"{PREFIX}/CFPackages", content=self.raw)
        assert answer.status_code == 201, answer.text

    async def crowd(self, seconds: float) -> None:
        """Readers, writers and one who wants little, for so long."""
        async with watched(self.live) as self.tally.memory["crowd"]:
            until = time.monotonic() + seconds
            work: list[Callable[[int], Awaitable[None]]] = [
                *[self._read] * READERS,
                *[self._write] * (WRITERS - 2),
                *[self._replace] * 2,
                self._small,
            ]
            await asyncio.gather(*(_on(one, number, until) for number, one in enumerate(work)))

    async def _read(self, number: int) -> None:
        headers = {"Accept-Encoding": ENCODINGS[number % 3]}
        async with self.http.stream("GET", self.package, headers=headers) as answer:
            size = 0
            async for piece in answer.aiter_raw():
                size += len(piece)
        self.tally.answers[f"package {answer.status_code}"] += 1
        if answer.status_code != 200 or not size:
            self.tally.wrong.append(f"package: {answer.status_code}")

    async def _write(self, _: int) -> None:
        item = factories.item(self.document)
        path = f"{PREFIX}/CFItems/{item['identifier']}"
        self.tally.count("item put", await self.http.put(path, json=item), 201)
        await asyncio.sleep(0.05)

    async def _replace(self, _: int) -> None:
        self.tally.count("package put", await self.http.put(self.package, content=self.raw), 200)
        await asyncio.sleep(0.5)

    async def _small(self, _: int) -> None:
        path = f"{PREFIX}/CFItems/{self.rng.choice(self.body['CFItems'])['identifier']}"
        begun = time.monotonic()
        self.tally.count("small read", await self.http.get(path), 200)
        self.tally.small.append(time.monotonic() - begun)
        await asyncio.sleep(0.01)

    async def bad_company(self, count: int, seconds: float) -> None:
        """Everybody who does harm by being slow, at once, and an ordinary client among them."""
        async with watched(self.live) as memory:
            self.tally.memory["bad company"] = memory
            raw = [make() for _ in range(count) for make in self._troublemakers()]
            until = time.monotonic() + seconds
            try:
                await asyncio.gather(
                    _on(self._small, 0, until),
                    *(_on(self._write, number, until) for number in range(4)),
                    _trickle(raw, until),
                )
                await self._held_up()
            finally:
                for one in raw:
                    one.close()

    async def _held_up(self) -> None:
        """A large read and an upload are answered in spite of them."""
        self.tally.count("package", await self.http.get(self.package), 200)
        self.tally.count("package put", await self.http.put(self.package, content=self.raw), 200)
        self.tally.count("ready", await self.http.get("/ready"), 200)

    def _troublemakers(self) -> list[Callable[[], socket.socket]]:
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
            lambda: _hung_up(connect(self.live, upload + self.raw[: len(self.raw) // 2])),
        ]


def _hung_up(raw: socket.socket) -> socket.socket:
    raw.close()
    return raw


async def _on(work: Callable[[int], Awaitable[None]], number: int, until: float) -> None:
    while time.monotonic() < until:
        await work(number)


async def _trickle(raw: list[socket.socket], until: float) -> None:
    """A byte a second in both directions."""
    while time.monotonic() < until:
        await asyncio.sleep(1)
        for one in raw:
            if one.fileno() == -1:
                continue
            one.setblocking(False)
            with suppress(OSError):
                one.send(b" ")
            with suppress(OSError):
                one.recv(1)


async def run(
    items: int, seconds: float, slow: int, seed: int, clock: Clock | None = None
) -> Tally:
    """``seconds`` of load on a framework of so many items, then ``slow`` of each troublemaker."""
    clock = clock or Clock()
    tally = Tally(items)
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with private_cluster(folder / "postgres") as cluster:
            with server(folder, cluster.url) as live:
                async with client(live, connections=200) as http:
                    trial = Trial(live, http, tally, random.Random(seed))
                    await trial.prepare()
                    clock.tell(f"{items:,} items stored")
                    await trial.crowd(seconds)
                    clock.tell(f"{tally.answers['package 200']:,} packages read")
                    await trial.bad_company(slow, seconds)
    return tally
