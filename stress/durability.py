"""Acknowledged is durable: kill the server, or stop Postgres at once, under sixteen writers.

Each writer remembers what it was told is stored, and what it sent without hearing back, which may
be there or not. After each kill, everything is read back. What this cannot show is what a power
cut does to the disk's own memory: that is fsync's promise, which is never turned off here.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from support import factories
from support.live_server import Live, serving

from stress.accounted_writers import (
    PREFIX,
    AssociationWriter,
    ItemWriter,
    Known,
    PackageWriter,
    Tally,
    Writer,
)
from stress.clock import Clock
from stress.cluster import Cluster, kill, private_cluster, until
from stress.integrity import broken_rules


@dataclass
class Trial:
    """One run: a cluster, a server that is replaced when it was killed, and the writers."""

    cluster: Cluster
    folder: Path
    tally: Tally
    rng: random.Random
    writers: list[Writer] = field(default_factory=list)

    async def run(self, kills: int, clock: Clock) -> None:
        """Write and kill, and read everything back, ``kills`` times, or until the clock is up."""
        stack = AsyncExitStack()
        server = self._serve(stack)
        try:
            await self._prepare(server)
            for number in range(kills):
                clock.tell(f"{number} of {kills} kills, {self.tally.read_back:,} read back")
                if clock.is_up:
                    break
                postgres = bool(number % 2)
                await self._round(server, postgres=postgres)
                if not postgres:
                    await stack.aclose()
                    server = self._serve(stack)
                await self._read_back(server)
        finally:
            await stack.aclose()

    def _serve(self, stack: AsyncExitStack) -> Live:
        settings = {"CASE_SERVER_DATABASE_URL": self.cluster.url, "CASE_SERVER_ACCESS_LOG": "false"}
        return stack.enter_context(serving(self.folder / "server", settings=settings))

    async def _prepare(self, server: Live) -> None:
        shared = factories.document()
        async with _client(server) as client:
            answer = await client.put(f"{PREFIX}/CFDocuments/{shared['identifier']}", json=shared)
            assert answer.status_code == 201, answer.text
        kinds: list[Callable[..., Writer]] = [ItemWriter] * 7 + [AssociationWriter] * 5
        self.writers += [kind(self.tally, self.rng, shared) for kind in kinds]
        own = ({"identifier": factories.new_id()} for _ in range(4))
        self.writers += [PackageWriter(self.tally, self.rng, document) for document in own]

    async def _round(self, server: Live, *, postgres: bool) -> None:
        """Write for a while, and pull the ground away."""
        async with _client(server) as client:
            tasks = [asyncio.create_task(_write_on(writer, client)) for writer in self.writers]
            await self._all_at_work()
            await asyncio.sleep(self.rng.uniform(0, 0.5))
            if postgres:
                await asyncio.to_thread(self.cluster.stop)
                self.tally.kills["Postgres"] += 1
            else:
                kill(server.process.pid)
                server.process.wait()
                self.tally.kills["the server"] += 1
            for task in tasks:
                if postgres:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error
        if postgres:
            await asyncio.to_thread(self.cluster.start)

    async def _all_at_work(self) -> None:
        """Wait until something of each kind was acknowledged since the last kill."""
        before = self.tally.acknowledged.copy()
        kinds = {writer.kind for writer in self.writers}

        async def written() -> bool:
            return all(self.tally.acknowledged[kind] > before[kind] for kind in kinds)

        await until(written, 20, "something of each kind written")

    async def _read_back(self, server: Live) -> None:
        async with _client(server) as client:

            async def ready() -> bool:
                return (await client.get("/ready")).status_code == 200

            await until(ready, 10, "the server ready again")
            everything = [(one, known) for one in self.writers for known in one.known.values()]
            limit = asyncio.Semaphore(16)

            async def look(writer: Writer, known: Known) -> None:
                async with limit:
                    answer = await client.get(PREFIX + known.path)
                found = None if answer.status_code == 404 else await writer.state(answer)
                if not known.allows(found):
                    said = f"{known.acknowledged} or one of {known.perhaps}"
                    self.tally.wrong.append(f"{known.path}: found {found}, not {said}")
                known.settle(found)
                self.tally.read_back += 1

            await asyncio.gather(*(look(*pair) for pair in everything))
        async with self.cluster.sql() as sql:
            self.tally.wrong += await broken_rules(sql)


def _client(server: Live) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {server.token()}"}
    limits = httpx.Limits(max_connections=64)
    return httpx.AsyncClient(base_url=server.base_url, headers=headers, timeout=30, limits=limits)


async def _write_on(writer: Writer, client: httpx.AsyncClient) -> None:
    try:
        while True:
            await writer.write(client)
    except httpx.HTTPError:
        return


async def run(kills: int, seed: int, clock: Clock | None = None) -> Tally:
    """Kill the server and Postgres in turn, ``kills`` times in all, as far as the clock allows."""
    tally = Tally(seed)
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with private_cluster(folder / "postgres") as cluster:
            trial = Trial(cluster, folder, tally, random.Random(seed))
            await trial.run(kills, clock or Clock())
    return tally
