"""A disk that is full, for real: small ones in memory, mounted for this, where that is allowed.

A disk without room for tables refuses writes, one without room for Postgres' log takes Postgres
down. Either way what was acknowledged is there when there is room again, and nobody has to start
anything.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from support import factories
from support.live_server import Live, serving

from stress.clock import Clock
from stress.cluster import Cluster, until
from stress.integrity import broken_rules
from stress.server import PREFIX, client
from stress.small_disks import NotAllowed, filled, small_disk

FULL = "full disks"
MEGABYTES = 200
"""What holds a new Postgres four times."""

LOG_SEGMENT = 16_000_000
WRITERS = 4
SECONDS_TO_RECOVER = 40
SECONDS_TO_ANSWER = 3.0
NOTES = "n" * 20_000
"""So that few writes fill what is left."""


@dataclass
class Tally:
    """What was written to full disks, and what was there afterwards."""

    full: int = 0
    answers: dict[str, Counter[str]] = field(default_factory=dict)
    slowest: float = 0.0
    recovered: dict[str, float] = field(default_factory=dict)
    read_back: int = 0
    note: str = ""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = "; ".join(f"{name}: {dict(sorted(c.items()))}" for name, c in self.answers.items())
        back = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.recovered.items())
        return self.note or (
            f"{self.full} full disks: {told}; slowest answer {self.slowest:.2f} s; well again "
            f"after there was room: {back}; {self.read_back:,} acknowledged writes read back; "
            f"{len(self.wrong)} wrong"
        )


class Trial:
    """A server with a Postgres of its own on a small disk."""

    def __init__(self, live: Live, http: httpx.AsyncClient, disk: Path, tally: Tally) -> None:
        self.live, self.http, self.disk, self.tally = live, http, disk, tally
        self.document = factories.document()
        self.acknowledged: dict[str, str] = {}

    async def send(self, name: str, method: str, path: str, body: Any = None) -> int:
        """One request; it is answered soon, and with nothing worse than 503 and when to return."""
        begun = time.monotonic()
        answer = await self.http.request(method, PREFIX + path, json=body)
        took = time.monotonic() - begun
        self.tally.slowest = max(self.tally.slowest, took)
        answers = self.tally.answers.setdefault(name, Counter())
        answers[f"{method} {answer.status_code}"] += 1
        fine = answer.status_code < 300 or (
            answer.status_code == 503 and "Retry-After" in answer.headers
        )
        if not fine or took > SECONDS_TO_ANSWER:
            told = f"{answer.status_code} after {took:.1f} s: {answer.text[:150]}"
            self.tally.wrong.append(f"{name}: {method} {path}: {told}")
        return answer.status_code

    async def write(self, name: str) -> int:
        """Put an item, and remember it when that was acknowledged."""
        identifier, notes = factories.new_id(), factories.new_id() + NOTES
        body = factories.item(self.document["identifier"], identifier, notes=notes)
        status = await self.send(name, "PUT", f"/CFItems/{identifier}", body)
        if status == 201:
            self.acknowledged[identifier] = notes
        return status

    async def meet(self, name: str, room: int, *, reads: bool) -> None:
        """Fill the disk but for some room, and write on until, and after, there is none."""
        self.tally.full += 1
        with filled(self.disk, but=room):
            await asyncio.gather(*(self._write_until_refused(name) for _ in range(WRITERS)))
            asked = [self.send(name, "GET", "/CFDocuments") for _ in range(20)]
            answers = set(await asyncio.gather(*asked))
            if reads and answers != {200}:
                self.tally.wrong.append(f"{name}: reads were answered {answers}")
            if (alive := await self.http.get("/health")).status_code != 200:
                self.tally.wrong.append(f"{name}: /health: {alive.status_code}")
        self.tally.recovered[name] = await until(self._well, SECONDS_TO_RECOVER, "all well")
        await self._read_back(name)

    async def _write_until_refused(self, name: str, refusals: int = 20) -> None:
        for _ in range(2000):
            refusals -= await self.write(name) == 503
            if not refusals:
                return
        self.tally.wrong.append(f"{name}: the disk never became full")

    async def _well(self) -> bool:
        ready = (await self.http.get("/ready")).status_code == 200
        return ready and await self.write("afterwards") == 201

    async def _read_back(self, name: str) -> None:
        for identifier, notes in self.acknowledged.items():
            answer = await self.http.get(f"{PREFIX}/CFItems/{identifier}")
            if answer.status_code != 200 or answer.json()["notes"] != notes:
                self.tally.wrong.append(f"{name}: {identifier} is lost: {answer.status_code}")
            self.tally.read_back += 1
        data = self.disk / "data"
        password = (data / "postgres.password").read_text()
        port = (data / "postgres.port").read_text()
        url = f"postgresql://case_server:{password}@127.0.0.1:{port}/case_server"
        async with Cluster(data, url).sql() as sql:
            self.tally.wrong += await broken_rules(sql)


async def run(clock: Clock | None = None) -> Tally:
    """A disk full of tables, then one full of Postgres' log; told plainly where none may be had."""
    tally, clock = Tally(), clock or Clock()
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        try:
            settings = {"CASE_SERVER_ACCESS_LOG": "false"}
            with (
                small_disk(Path(name) / "disk", MEGABYTES) as disk,
                serving(disk / "data", settings=settings) as live,
            ):
                async with client(live) as http:
                    await _both(Trial(live, http, disk, tally), clock)
        except NotAllowed as error:
            tally.note = f"not tried: {error}; run it as root to have it tried"
    return tally


async def _both(trial: Trial, clock: Clock) -> None:
    path = f"/CFDocuments/{trial.document['identifier']}"
    assert await trial.send("before", "PUT", path, trial.document) == 201
    for name, room, reads in (("no room", 0, True), ("no room for the log", LOG_SEGMENT, False)):
        if not clock.is_up:
            await trial.meet(name, room, reads=reads)
            clock.tell(f"{trial.tally.full} full disks")
