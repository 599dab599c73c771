"""Failover: eight clients write while servers of a Postgres cluster are killed and cut off.

Prints for each event how long no write was acknowledged, and what clients saw. An asynchronous
failover may lose acknowledged writes; responses that contradict each other are always violations.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from support import factories

from case_server.db.postgres import alembic_runner
from stress.patroni import NODES, PatroniCluster, run_patroni_cluster
from stress.report import ScenarioReport
from stress.server import PREFIX, create_client, run_server
from stress.timer import ScenarioTimer

EVENTS = "events"
CLIENTS = 8
CUT_OFF_SECONDS = 8.0
SLOW_SECONDS = 5.0
RECOVERY_TIMEOUT_SECONDS = 40
PROGRAMS = ("patroni", "etcd")

HEADINGS = ("event", "outage s", "acked", "lost", "wrong", "5xx not 503", "over 5 s")


@dataclass
class EventResult:
    """What clients observed during one failover event, such as killing the primary."""

    name: str
    may_lose: bool = False
    """True if replication allows the event to lose acknowledged writes."""
    acknowledged: int = 0
    lost_writes: int = 0
    contradictions: int = 0
    """Responses that contradict an acknowledged write, or another response."""
    errors: int = 0
    """Responses with a status of 500 or more, other than 503."""
    slow_responses: int = 0
    """Responses that took longer than 5 seconds."""
    last_write_at: float = field(default_factory=time.monotonic)
    outage: float = 0.0
    """The longest time in seconds in which no client's write was acknowledged."""

    def record_acknowledged_write(self) -> None:
        """Count an acknowledged write, and update the longest time between such writes."""
        now = time.monotonic()
        self.acknowledged += 1
        self.outage, self.last_write_at = max(self.outage, now - self.last_write_at), now

    def format_row(self) -> tuple[str, ...]:
        """Return the event's row of the printed table, in the order of ``HEADINGS``."""
        numbers = (
            self.acknowledged,
            self.lost_writes,
            self.contradictions,
            self.errors,
            self.slow_responses,
        )
        return self.name, f"{self.outage:.1f}", *map(str, numbers)


class VersionedItemWriters:
    """Eight clients that each replace one item repeatedly and read it after each write.

    The version number in the item grows with each write, so that a read shows whether a write was
    lost.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http, self.event = http, EventResult("before")
        self.document = factories.document()
        self.items = [factories.item(self.document["identifier"]) for _ in range(CLIENTS)]
        self.acknowledged = dict.fromkeys((item["identifier"] for item in self.items), 0)
        self._is_stopped = False

    async def request(self, method: str, path: str, body: object = None) -> httpx.Response | None:
        """Send a request and return the response, or None if the connection broke.

        Errors, and responses that take more than 5 seconds, are counted in ``self.event``.
        """
        started, event = time.monotonic(), self.event
        try:
            response = await self.http.request(method, PREFIX + path, json=body)
        except httpx.TransportError:
            event.errors += 1
            return None
        event.slow_responses += time.monotonic() - started > SLOW_SECONDS
        event.errors += response.status_code >= 500 and response.status_code != 503
        return response

    async def run_until_stopped(self) -> None:
        """Create a document and let all clients write its items until ``stop`` is called."""
        path = f"/CFDocuments/{self.document['identifier']}"
        response = await self.request("PUT", path, self.document)
        assert response is not None
        assert response.status_code == 201, response.text
        await asyncio.gather(*(self._write(item) for item in self.items))

    def stop(self) -> None:
        """Tell the clients to stop after their current request."""
        self._is_stopped = True

    async def _write(self, item: dict[str, object]) -> None:
        identifier, version = str(item["identifier"]), 0
        while not self._is_stopped:
            version += 1
            body = {**item, "fullStatement": str(version)}
            event = self.event
            response = await self.request("PUT", f"/CFItems/{identifier}", body)
            if response is None or response.status_code != 201:
                await asyncio.sleep(0.05)
                continue
            self.acknowledged[identifier] = version
            self.event.record_acknowledged_write()
            read_response = await self.request("GET", f"/CFItems/{identifier}")
            if read_response and read_response.status_code == 200 and not self.event.may_lose:
                event.contradictions += read_response.json()["fullStatement"] != str(version)

    async def count_inconsistencies(self) -> None:
        """Count acknowledged writes that were lost, and reads that contradict each other.

        Compares items, package and change feed. Call this after the clients have stopped.
        """
        package = await self._read(f"/CFPackages/{self.document['identifier']}")
        in_package = {item["identifier"]: int(item["fullStatement"]) for item in package["CFItems"]}
        for identifier, version in self.acknowledged.items():
            item = await self._read(f"/CFItems/{identifier}")
            stored = int(item["fullStatement"])
            self.event.contradictions += in_package.get(identifier) != stored
            self.event.lost_writes += max(0, version - stored)
        feed = await self._read("/changes?limit=5000")
        changed_identifiers = {change["identifier"] for change in feed["changes"]}
        self.event.contradictions += (
            not feed["more"] and not in_package.keys() <= changed_identifiers
        )

    async def _read(self, path: str) -> Any:
        async with asyncio.timeout(RECOVERY_TIMEOUT_SECONDS):
            while True:
                response = await self.request("GET", path)
                if response is not None and response.status_code == 200:
                    return response.json()
                await asyncio.sleep(0.2)


async def run_failovers(timer: ScenarioTimer) -> ScenarioReport:
    """Trigger each failover event, such as killing the primary, once on a new Patroni cluster.

    The report has a table of what clients observed. If patroni or etcd is not installed, the report
    only notes this.
    """
    report = ScenarioReport()
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        report.remarks["skipped"] = f"install {' and '.join(missing)}"
        report.counts[EVENTS] = len(ACTIONS)
        return report
    rows: list[tuple[str, ...]] = [HEADINGS]
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        with run_patroni_cluster(folder) as cluster:
            await cluster.wait_until_all_nodes_run()
            await asyncio.to_thread(alembic_runner.migrate, cluster.url)
            settings = {"workers": 2, "synchronous_commit": "remote_apply"}
            with run_server(folder, cluster.url, **settings) as server:
                async with create_client(server) as http:
                    for title, (action, may_lose) in ACTIONS.items():
                        if timer.is_expired:
                            break
                        timer.report_progress(title)
                        event = await _run_failover_event(
                            EventResult(title, may_lose), action, cluster, http
                        )
                        rows.append(event.format_row())
                        report.counts[EVENTS] += 1
                        if (
                            event.contradictions
                            or event.errors
                            or (event.lost_writes and not may_lose)
                        ):
                            report.record_violation(f"{title}: {event}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    report.remarks["table"] = "\n  " + "\n  ".join(lines) + "\n"
    return report


async def _run_failover_event(
    event: EventResult,
    action: Callable[[PatroniCluster], Awaitable[None]],
    cluster: PatroniCluster,
    http: httpx.AsyncClient,
) -> EventResult:
    """Run ``action`` on the cluster while clients write; return ``event`` with its counts.

    The action is, for example, to kill the primary. Returns after eight more writes were
    acknowledged and all nodes run again.
    """
    writers = VersionedItemWriters(http)
    writer_task = asyncio.create_task(writers.run_until_stopped())
    await asyncio.sleep(2)
    event.contradictions, event.last_write_at = writers.event.contradictions, time.monotonic()
    writers.event = event
    await action(cluster)
    count_before = event.acknowledged
    async with asyncio.timeout(RECOVERY_TIMEOUT_SECONDS):
        while event.acknowledged < count_before + CLIENTS:  # noqa: ASYNC110  no event to wait for
            await asyncio.sleep(0.1)
    writers.stop()
    await writer_task
    await writers.count_inconsistencies()
    await cluster.wait_until_all_nodes_run()
    return event


async def _kill_primary(cluster: PatroniCluster) -> None:
    killed = await cluster.wait_for_primary()
    await asyncio.to_thread(cluster.kill, killed)
    await asyncio.sleep(1)
    await cluster.wait_for_primary()
    await asyncio.to_thread(cluster.start, killed)


async def _kill_synchronous_primary(cluster: PatroniCluster) -> None:
    async with _replicate_synchronously(cluster, synchronous_mode_strict=False):
        await _kill_primary(cluster)
        await cluster.wait_until_all_nodes_run()


async def _switch_over(cluster: PatroniCluster) -> None:
    await cluster.switch_over()


async def _cut_off(cluster: PatroniCluster) -> None:
    primary = await cluster.wait_for_primary()
    standby = next(name for name in NODES if name != primary)
    with cluster.freeze(standby):
        await asyncio.sleep(CUT_OFF_SECONDS)


async def _stop_required_standbys(cluster: PatroniCluster) -> None:
    """Stop all standbys of a synchronous primary, which must not commit without a standby."""
    async with _replicate_synchronously(cluster, synchronous_mode_strict=True):
        primary = await cluster.wait_for_primary()
        standbys = [name for name in NODES if name != primary]
        for name in standbys:
            await asyncio.to_thread(cluster.kill, name)
        await asyncio.sleep(CUT_OFF_SECONDS)
        for name in standbys:
            await asyncio.to_thread(cluster.start, name)
        await cluster.wait_until_all_nodes_run()


@asynccontextmanager
async def _replicate_synchronously(
    cluster: PatroniCluster, *, synchronous_mode_strict: bool
) -> AsyncIterator[None]:
    """Make commits wait for a standby; if strict, they also wait while there is none."""
    await cluster.change_settings(
        synchronous_mode=True, synchronous_mode_strict=synchronous_mode_strict
    )
    await asyncio.sleep(6)  # two rounds of Patroni's loop
    try:
        yield
    finally:
        await cluster.change_settings(synchronous_mode=False, synchronous_mode_strict=False)


ACTIONS: dict[str, tuple[Callable[[PatroniCluster], Awaitable[None]], bool]] = {
    "primary killed": (_kill_primary, True),
    "primary killed, synchronous": (_kill_synchronous_primary, False),
    "switchover": (_switch_over, False),
    "standby cut off": (_cut_off, False),
    "all standbys stopped, strict": (_stop_required_standbys, False),
}
"""The events, and whether replication allows each to lose acknowledged writes."""
