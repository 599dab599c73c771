"""Full disks: Postgres on a small tmpfs that is filled.

Without space for tables, Postgres rejects writes; without space for its write-ahead log, it stops.
In both cases, once there is space, the server must recover by itself and all acknowledged writes
must be stored.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from httpx import AsyncClient
from support import factories
from support.live_server import LiveServer, run_live_server

from stress.cluster import Cluster, wait_until
from stress.integrity import find_violated_invariants
from stress.report import ScenarioReport
from stress.server import PREFIX, asks_to_retry, create_client
from stress.small_disks import MountNotAllowed, fill_disk, mount_small_disk
from stress.timer import ScenarioTimer

FULL, READ_BACK, NOT_RUN = "full disks", "read back", "not run"
MEGABYTES = 200
"""Size of the disk: four times that of a new Postgres cluster."""

LOG_SEGMENT = 16_000_000
WRITERS = 4
RECOVERY_TIMEOUT_SECONDS = 40
RESPONSE_TIMEOUT_SECONDS = 3.0
NOTES = "n" * 20_000
"""Content of an item, large so that few writes fill the disk."""


class FullDiskScenario:
    """A server whose embedded Postgres stores its data on a small disk that tests can fill."""

    def __init__(
        self, server: LiveServer, http: AsyncClient, disk: Path, report: ScenarioReport
    ) -> None:
        self.server, self.http, self.disk, self.report = server, http, disk, report
        self.document = factories.document()
        self.acknowledged: dict[str, str] = {}

    async def send(self, name: str, method: str, path: str, body: Any = None) -> int:
        """Send a request and return the status of the response; ``name`` labels it in the report.

        Records a violation if the response takes more than 3 seconds, or is neither a success nor
        503 with Retry-After.
        """
        started = time.monotonic()
        response = await self.http.request(method, PREFIX + path, json=body)
        seconds = time.monotonic() - started
        self.report.seconds["response"].append(seconds)
        self.report.counts[f"{name} {method} {response.status_code}"] += 1
        is_allowed = response.status_code < 300 or asks_to_retry(response)
        if not is_allowed or seconds > RESPONSE_TIMEOUT_SECONDS:
            problem = f"{response.status_code} after {seconds:.1f} s: {response.text[:150]}"
            self.report.record_violation(f"{name}: {method} {path}: {problem}")
        return response.status_code

    async def write_item(self, name: str) -> int:
        """PUT a new item and return the status; an acknowledged item is read back later."""
        identifier, notes = factories.new_id(), factories.new_id() + NOTES
        body = factories.item(self.document["identifier"], identifier, notes=notes)
        status = await self.send(name, "PUT", f"/CFItems/{identifier}", body)
        if status == 201:
            self.acknowledged[identifier] = notes
        return status

    async def fill_and_free_disk(self, name: str, free_bytes: int, *, must_read: bool) -> None:
        """Fill the disk, let clients write until they get 503, then free the space again.

        ``free_bytes`` of the disk stay free for these writes. If ``must_read`` is true, reads must
        succeed while the disk is full. Finally, all acknowledged items must still be stored.
        ``name`` labels the counts in the report.
        """
        self.report.counts[FULL] += 1
        with fill_disk(self.disk, free_bytes=free_bytes):
            await asyncio.gather(*(self._write_until_refused(name) for _ in range(WRITERS)))
            requests = [self.send(name, "GET", "/CFDocuments") for _ in range(20)]
            responses = set(await asyncio.gather(*requests))
            if must_read and responses != {200}:
                self.report.record_violation(f"{name}: reads returned {responses}")
            if (alive := await self.http.get("/health")).status_code != 200:
                self.report.record_violation(f"{name}: /health: {alive.status_code}")
        seconds = await wait_until(
            self._has_recovered, RECOVERY_TIMEOUT_SECONDS, "requests succeed"
        )
        self.report.seconds["recovery"].append(seconds)
        await self._read_back(name)

    async def _write_until_refused(self, name: str, refusals: int = 20) -> None:
        for _ in range(2000):
            refusals -= await self.write_item(name) == 503
            if not refusals:
                return
        self.report.record_violation(f"{name}: the disk never became full")

    async def _has_recovered(self) -> bool:
        ready = (await self.http.get("/ready")).status_code == 200
        return ready and await self.write_item("afterwards") == 201

    async def _read_back(self, name: str) -> None:
        for identifier, notes in self.acknowledged.items():
            response = await self.http.get(f"{PREFIX}/CFItems/{identifier}")
            if response.status_code != 200 or response.json()["notes"] != notes:
                self.report.record_violation(
                    f"{name}: {identifier} is lost: {response.status_code}"
                )
            self.report.counts[READ_BACK] += 1
        data = self.disk / "data"
        password = (data / "postgres.password").read_text()
        port = (data / "postgres.port").read_text()
        url = f"postgresql://case_server:{password}@127.0.0.1:{port}/case_server"
        async with Cluster(data, url).connect_as_admin() as sql:
            self.report.violations += await find_violated_invariants(sql)


async def run_full_disks(timer: ScenarioTimer | None = None) -> ScenarioReport:
    """Check that a server survives a full disk: for its tables, then for its write-ahead log.

    If this process may not mount a disk, the report only notes this.
    """
    report, timer = ScenarioReport(), timer or ScenarioTimer()
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        try:
            settings = {"CASE_SERVER_ACCESS_LOG": "false"}
            with (
                mount_small_disk(Path(name) / "disk", MEGABYTES) as disk,
                run_live_server(disk / "data", settings=settings) as server,
            ):
                async with create_client(server) as http:
                    await _run_both(FullDiskScenario(server, http, disk, report), timer)
        except MountNotAllowed as error:
            report.remarks[NOT_RUN] = f"{error}; run it as root"
    return report


async def _run_both(scenario: FullDiskScenario, timer: ScenarioTimer) -> None:
    path = f"/CFDocuments/{scenario.document['identifier']}"
    assert await scenario.send("before", "PUT", path, scenario.document) == 201
    for name, free_bytes, must_read in (
        ("no space", 0, True),
        ("no space for the log", LOG_SEGMENT, False),
    ):
        if not timer.is_expired:
            await scenario.fill_and_free_disk(name, free_bytes, must_read=must_read)
            timer.report_progress(f"{scenario.report.counts[FULL]} full disks")
