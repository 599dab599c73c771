"""Full disks: Postgres on a small tmpfs that is filled.

Without space for tables, Postgres rejects writes; without space for its write-ahead log, it stops.
In both cases, once there is space, the server must recover by itself and all acknowledged writes
must be stored.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from support import factories
from support.live_server import LiveServer, run_live_server

from stress.clock import Clock
from stress.cluster import Cluster, wait_until
from stress.integrity import find_violated_invariants
from stress.report import Report
from stress.server import PREFIX, create_client, is_retry_later
from stress.small_disks import MountNotAllowed, fill_disk, mount_small_disk

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
        self, live: LiveServer, http: httpx.AsyncClient, disk: Path, report: Report
    ) -> None:
        self.live, self.http, self.disk, self.report = live, http, disk, report
        self.document = factories.document()
        self.acknowledged: dict[str, str] = {}

    async def send(self, name: str, method: str, path: str, body: Any = None) -> int:
        """Send a request and return the status of the response; ``name`` labels it in the report.

        It is a violation if the response takes more than 3 seconds, or is neither a success nor 503
        with Retry-After.
        """
        started = time.monotonic()
        response = await self.http.request(method, PREFIX + path, json=body)
        seconds = time.monotonic() - started
        self.report.seconds["response"].append(seconds)
        self.report.counts[f"{name} {method} {response.status_code}"] += 1
        is_allowed = response.status_code < 300 or is_retry_later(response)
        if not is_allowed or seconds > RESPONSE_TIMEOUT_SECONDS:
            problem = f"{response.status_code} after {seconds:.1f} s: {response.text[:150]}"
            self.report.fail(f"{name}: {method} {path}: {problem}")
        return response.status_code

    async def write(self, name: str) -> int:
        """Put a new item; if the server acknowledges it, remember it to read it back later."""
        identifier, notes = factories.new_id(), factories.new_id() + NOTES
        body = factories.item(self.document["identifier"], identifier, notes=notes)
        status = await self.send(name, "PUT", f"/CFItems/{identifier}", body)
        if status == 201:
            self.acknowledged[identifier] = notes
        return status

    async def fill(self, name: str, free_bytes: int, *, reads: bool) -> None:
        """Fill the disk, let clients write until they get 503, then free the space again.

        ``free_bytes`` of the disk stay free for these writes. With ``reads``, reads must succeed
        while the disk is full. Afterwards, all acknowledged items are read back. ``name`` labels
        the counts.
        """
        self.report.counts[FULL] += 1
        with fill_disk(self.disk, free_bytes=free_bytes):
            await asyncio.gather(*(self._write_until_refused(name) for _ in range(WRITERS)))
            requests = [self.send(name, "GET", "/CFDocuments") for _ in range(20)]
            responses = set(await asyncio.gather(*requests))
            if reads and responses != {200}:
                self.report.fail(f"{name}: reads returned {responses}")
            if (alive := await self.http.get("/health")).status_code != 200:
                self.report.fail(f"{name}: /health: {alive.status_code}")
        seconds = await wait_until(
            self._has_recovered, RECOVERY_TIMEOUT_SECONDS, "requests succeed"
        )
        self.report.seconds["recovery"].append(seconds)
        await self._read_back(name)

    async def _write_until_refused(self, name: str, refusals: int = 20) -> None:
        for _ in range(2000):
            refusals -= await self.write(name) == 503
            if not refusals:
                return
        self.report.fail(f"{name}: the disk never became full")

    async def _has_recovered(self) -> bool:
        ready = (await self.http.get("/ready")).status_code == 200
        return ready and await self.write("afterwards") == 201

    async def _read_back(self, name: str) -> None:
        for identifier, notes in self.acknowledged.items():
            response = await self.http.get(f"{PREFIX}/CFItems/{identifier}")
            if response.status_code != 200 or response.json()["notes"] != notes:
                self.report.fail(f"{name}: {identifier} is lost: {response.status_code}")
            self.report.counts[READ_BACK] += 1
        data = self.disk / "data"
        password = (data / "postgres.password").read_text()
        port = (data / "postgres.port").read_text()
        url = f"postgresql://case_server:{password}@127.0.0.1:{port}/case_server"
        async with Cluster(data, url).connect_as_admin() as sql:
            self.report.violations += await find_violated_invariants(sql)


async def run(clock: Clock | None = None) -> Report:
    """Check that a server survives a full disk: for its tables, then for its write-ahead log.

    Without the permission to mount a disk, the report contains a remark instead.
    """
    report, clock = Report(), clock or Clock()
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        try:
            settings = {"CASE_SERVER_ACCESS_LOG": "false"}
            with (
                mount_small_disk(Path(name) / "disk", MEGABYTES) as disk,
                run_live_server(disk / "data", settings=settings) as live,
            ):
                async with create_client(live) as http:
                    await _run_both(FullDiskScenario(live, http, disk, report), clock)
        except MountNotAllowed as error:
            report.remarks[NOT_RUN] = f"{error}; run it as root"
    return report


async def _run_both(scenario: FullDiskScenario, clock: Clock) -> None:
    path = f"/CFDocuments/{scenario.document['identifier']}"
    assert await scenario.send("before", "PUT", path, scenario.document) == 201
    for name, free_bytes, reads in (
        ("no space", 0, True),
        ("no space for the log", LOG_SEGMENT, False),
    ):
        if not clock.is_expired:
            await scenario.fill(name, free_bytes, reads=reads)
            clock.report_progress(f"{scenario.report.counts[FULL]} full disks")
