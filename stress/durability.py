"""Durability: kill the server or Postgres under sixteen writers, then read everything back.

Each writer records which writes were acknowledged, and which ones got no response and may be stored
or not. This does not cover the loss of a disk's write cache at a power failure, against which fsync
protects; fsync is always on here.
"""

import asyncio
import random
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from support import factories
from support.live_server import LiveServer

from stress.accounted_writers import (
    AssociationWriter,
    EntityWriter,
    ItemWriter,
    PackageWriter,
    WriteRecord,
)
from stress.cluster import Cluster, kill_process, run_private_cluster, wait_until
from stress.integrity import find_violated_invariants
from stress.report import ScenarioReport
from stress.server import PREFIX, create_client, run_server
from stress.timer import ScenarioTimer

SERVER_KILLS, POSTGRES_KILLS = "kills of the server", "kills of Postgres"
READ_BACK = "writes read back"


@dataclass
class KillScenario:
    """Kills a server or its Postgres while clients write; no acknowledged write may be lost."""

    cluster: Cluster
    folder: Path
    report: ScenarioReport
    rng: random.Random
    writers: list[EntityWriter] = field(default_factory=list)

    async def run_kills(self, kills: int, timer: ScenarioTimer) -> None:
        """Let clients write, kill a process, and read everything back; repeat this ``kills`` times.

        Stops early if the time limit of ``timer`` is reached.
        """
        stack = AsyncExitStack()
        server = self._serve(stack)
        try:
            await self._prepare(server)
            for number in range(kills):
                timer.report_progress(
                    f"{number} of {kills} kills, {self.report.counts[READ_BACK]:,} read back"
                )
                if timer.is_expired:
                    break
                postgres = bool(number % 2)
                await self._write_and_kill(server, postgres=postgres)
                if not postgres:
                    await stack.aclose()
                    server = self._serve(stack)
                await self._read_back(server)
        finally:
            await stack.aclose()

    def _serve(self, stack: AsyncExitStack) -> LiveServer:
        return stack.enter_context(run_server(self.folder, self.cluster.url))

    async def _prepare(self, server: LiveServer) -> None:
        shared = factories.document()
        async with create_client(server) as client:
            response = await client.put(f"{PREFIX}/CFDocuments/{shared['identifier']}", json=shared)
            assert response.status_code == 201, response.text
        kinds: list[Callable[..., EntityWriter]] = [ItemWriter] * 7 + [AssociationWriter] * 5
        self.writers += [kind(self.report, self.rng, shared) for kind in kinds]
        documents = ({"identifier": factories.new_id()} for _ in range(4))
        self.writers += [PackageWriter(self.report, self.rng, document) for document in documents]

    async def _write_and_kill(self, server: LiveServer, *, postgres: bool) -> None:
        async with create_client(server) as client:
            tasks = [
                asyncio.create_task(_write_until_disconnected(writer, client))
                for writer in self.writers
            ]
            await self._wait_for_writes()
            await asyncio.sleep(self.rng.uniform(0, 0.5))
            if postgres:
                await asyncio.to_thread(self.cluster.stop)
                self.report.counts[POSTGRES_KILLS] += 1
            else:
                kill_process(server.process.pid)
                server.process.wait()
                self.report.counts[SERVER_KILLS] += 1
            for task in tasks:
                if postgres:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error
        if postgres:
            await asyncio.to_thread(self.cluster.start)

    async def _wait_for_writes(self) -> None:
        """Wait until the server has acknowledged a write of each kind since the last kill.

        This ensures that each kill happens while all kinds of writes are in progress.
        """
        counts_before, counts = self.report.counts.copy(), self.report.counts
        names = {f"acknowledged {writer.kind}" for writer in self.writers}

        async def written() -> bool:
            return all(counts[name] > counts_before[name] for name in names)

        await wait_until(written, 20, "a write of each kind is acknowledged")

    async def _read_back(self, server: LiveServer) -> None:
        async with create_client(server) as client:

            async def ready() -> bool:
                return (await client.get("/ready")).status_code == 200

            await wait_until(ready, 10, "the server is ready")
            entities = [
                (writer, record) for writer in self.writers for record in writer.records.values()
            ]
            limit = asyncio.Semaphore(16)

            async def compare(writer: EntityWriter, record: WriteRecord) -> None:
                async with limit:
                    response = await client.get(PREFIX + record.path)
                version = None if response.status_code == 404 else writer.parse_version(response)
                if not record.is_allowed(version):
                    expected = f"{record.acknowledged} or one of {record.possible}"
                    self.report.record_violation(
                        f"{record.path}: found {version}, expected {expected}"
                    )
                record.record_version(version)
                self.report.counts[READ_BACK] += 1

            await asyncio.gather(*(compare(*pair) for pair in entities))
        async with self.cluster.connect_as_admin() as sql:
            self.report.violations += await find_violated_invariants(sql)


async def _write_until_disconnected(writer: EntityWriter, client: httpx.AsyncClient) -> None:
    try:
        while True:
            await writer.write(client)
    except httpx.HTTPError:
        return


async def run_durability(
    kill_count: int, seed: int, timer: ScenarioTimer | None = None
) -> ScenarioReport:
    """Kill the server and Postgres in turn, and check that no acknowledged write is lost.

    ``kill_count`` is the total number of kills; there are fewer if the time limit is reached first.
    """
    report = ScenarioReport()
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with run_private_cluster(folder / "postgres") as cluster:
            scenario = KillScenario(cluster, folder, report, random.Random(seed))
            await scenario.run_kills(kill_count, timer or ScenarioTimer())
    return report
