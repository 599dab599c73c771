"""Postgres away in every way it can be: requests are told to come again, and then it is back.

Each fault is made for real, on a Postgres of our own: ``faults`` has them.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from support import factories

from stress.clock import Clock
from stress.cluster import Cluster, private_cluster, until
from stress.faults import FAULTS, READ, SORT, WRITE, elsewhere, locked
from stress.server import PREFIX, client, server

SECONDS = 2.0
MARGIN = 1.0
"""The processes of this test share their processor with everything they test."""


ERROR = re.compile(r"\((\w*(?:Error|Timeout)\w*)\)")


@dataclass
class Tally:
    """How requests were answered, fault by fault."""

    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    errors: dict[str, set[str]] = field(default_factory=dict)
    """What the server says that Postgres said, fault by fault."""
    slowest: dict[str, float] = field(default_factory=dict)
    recovered: float = 0.0
    connections: tuple[int, int] = (0, 0)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        slow = ", ".join(f"{fault} {seconds:.2f} s" for fault, seconds in self.slowest.items())
        said = "; ".join(f"{fault} {', '.join(sorted(e))}" for fault, e in self.errors.items())
        return (
            f"{self.faults.total():,} faulty requests ({dict(self.faults)}), answers "
            f"{dict(sorted(self.answers.items()))}; told of: {said}; slowest: "
            f"{slow}; recovery at most {self.recovered:.2f} s; "
            f"connections before and after {self.connections}; {len(self.wrong)} wrong"
        )


class Trial:
    """One server over one cluster, and the requests that meet the faults."""

    def __init__(self, cluster: Cluster, http: httpx.AsyncClient, tally: Tally) -> None:
        self.cluster, self.http, self.tally = cluster, http, tally
        self.document = factories.document()
        self.items: list[str] = []

    async def prepare(self, items: int) -> None:
        """Something to read: enough of it that sorting it needs more than a little memory."""
        packed = [factories.packed_item(notes="n" * 500) for _ in range(items)]
        self.items = [item["identifier"] for item in packed]
        body = factories.package(self.document["identifier"], CFItems=packed, CFAssociations=[])
        answer = await self.http.post(f"{PREFIX}/CFPackages", json=body)
        assert answer.status_code == 201, answer.text

    def requests(self, kinds: set[str], count: int) -> list[tuple[str, str, Any]]:
        """So many requests that need what is away."""
        identifier = self.document["identifier"]
        made: list[tuple[str, str, Any]] = []
        for number in range(count):
            if SORT in kinds:
                made.append(("GET", f"/CFItems?sort=notes&limit=100&offset={number}", None))
            elif (number % 2 and WRITE in kinds) or READ not in kinds:
                item = factories.item(identifier)
                made.append(("PUT", f"/CFItems/{item['identifier']}", item))
            elif number % 4:
                made.append(("GET", f"/CFItems/{number}", None))
            else:
                made.append(("GET", f"/CFPackages/{identifier}", None))
        return made

    async def meet(self, name: str, count: int, clock: Clock) -> None:
        """Make a fault, send requests into it, and see them answered; then see all well again."""
        fault, kinds, red = FAULTS[name]
        async with fault(self.cluster):
            # So many at once that the pool is full, too.
            for start in range(0, count, 40):
                clock.tell(f"{name}: {start} of {count} requests")
                if clock.is_up:
                    break
                asked = self.requests(kinds, min(40, count - start))
                await asyncio.gather(*(self._refused(name, *one) for one in asked))
            await self._health(name, red=red)
        await self.recovers(name, kinds)

    async def _refused(self, name: str, method: str, path: str, body: Any) -> None:
        begun = time.monotonic()
        answer = await self.http.request(method, PREFIX + path, json=body)
        took = time.monotonic() - begun
        self.tally.faults[name] += 1
        self.tally.answers[answer.status_code] += 1
        self.tally.errors.setdefault(name, set()).update(ERROR.findall(answer.text))
        self.tally.slowest[name] = max(took, self.tally.slowest.get(name, 0))
        if answer.status_code != 503 or "Retry-After" not in answer.headers:
            self.tally.wrong.append(
                f"{name}: {method} {path}: {answer.status_code} {answer.text[:150]}"
            )
        elif took > SECONDS + MARGIN:
            self.tally.wrong.append(f"{name}: {method} {path}: answered after {took:.1f} s")

    async def _health(self, name: str, *, red: bool) -> None:
        for path, expected in (("/health", 200), ("/ready", 503 if red else 200)):
            begun = time.monotonic()
            answer = await self.http.get(path)
            took = time.monotonic() - begun
            if answer.status_code != expected or took > SECONDS + MARGIN:
                self.tally.wrong.append(f"{name}: {path}: {answer.status_code} after {took:.1f} s")

    async def recovers(self, name: str, kinds: set[str]) -> None:
        """Everything that was refused is answered again, without anybody doing anything."""

        async def well() -> bool:
            answers = [
                await self.http.request(method, PREFIX + path, json=body)
                for method, path, body in self.requests(kinds, 4)
            ]
            return all(answer.status_code < 500 for answer in answers)

        took = await until(well, 10, f"all well after {name}")
        self.tally.recovered = max(took, self.tally.recovered)

    async def full(self, pool_size: int) -> None:
        """Fill the pool with requests that wait for a lock: others do not wait with them."""
        name = "pool full"
        async with locked(self.cluster) as unlock:
            # Single items, because lists use at most half of the pool.
            paths = [f"{PREFIX}/CFItems/{identifier}" for identifier in self.items[:pool_size]]
            waiting = [asyncio.create_task(self.http.get(path)) for path in paths]
            await asyncio.sleep(0.5)
            asked = self.requests({READ, WRITE}, 20)
            await asyncio.gather(*(self._refused(name, *one) for one in asked))
            await self._health(name, red=True)
            await unlock()
            answers = Counter(answer.status_code for answer in await asyncio.gather(*waiting))
        if answers != {200: pool_size}:
            self.tally.wrong.append(f"{name}: who waited for the lock was answered {answers}")
        await self.recovers(name, {READ, WRITE})

    async def connections(self) -> int:
        """How many connections the server has."""
        async with elsewhere(self.cluster) as sql:
            count = await sql.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'case-server'"
            )
        return int(count)


async def run(each: int, pool_size: int = 8, clock: Clock | None = None) -> Tally:
    """``each`` requests into every fault, as far as the clock allows."""
    clock = clock or Clock()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with private_cluster(folder / "postgres") as cluster:
            with server(folder, cluster.url, pool_size=pool_size) as live:
                async with client(live) as http:
                    trial = Trial(cluster, http, tally)
                    await trial.prepare(400)
                    before = await trial.connections()
                    for fault in FAULTS:
                        await trial.meet(fault, each, clock)
                    await trial.full(pool_size)
                    after = await trial.connections()
                    tally.connections = (before, after)
                    if after > pool_size:
                        tally.wrong.append(f"{after} connections of a pool of {pool_size}")
    return tally
