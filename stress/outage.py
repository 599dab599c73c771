"""Postgres outages: requests must get 503 with Retry-After, and the server must recover.

The outages of ``faults`` are caused in a private Postgres cluster.
"""

import asyncio
import re
import time
from collections import Counter
from typing import Any

from httpx import AsyncClient
from support import factories

from stress.cluster import Cluster, wait_until
from stress.faults import FAULTS, READ, SORT, WRITE, lock_tables, open_admin_connection
from stress.report import ScenarioReport
from stress.server import PREFIX, asks_to_retry, run_private_server
from stress.timer import ScenarioTimer

REQUESTS = "requests during outages"
RESPONSE_TIMEOUT_SECONDS = 3.0
MARGIN_SECONDS = 1.0
"""Delay that is tolerated because the stress test uses the same processor as the server."""


ERROR = re.compile(r"\((\w*(?:Error|Timeout)\w*)\)")


class OutageScenario:
    """A server with its own Postgres, to which faults are injected while requests are sent."""

    def __init__(self, cluster: Cluster, http: AsyncClient, report: ScenarioReport) -> None:
        self.cluster, self.http, self.report = cluster, http, report
        self.document = factories.document()
        self.items: list[str] = []

    async def upload_package(self, item_count: int) -> None:
        """Upload a package with so many items that Postgres needs a temporary file to sort them."""
        items = [factories.packed_item(notes="n" * 500) for _ in range(item_count)]
        self.items = [item["identifier"] for item in items]
        body = factories.package(self.document["identifier"], CFItems=items, CFAssociations=[])
        response = await self.http.post(f"{PREFIX}/CFPackages", json=body)
        assert response.status_code == 201, response.text

    def build_requests(self, kinds: set[str], count: int) -> list[tuple[str, str, Any]]:
        """Build ``count`` requests, as (method, path, body), to send during a fault.

        ``kinds`` contains ``read``, ``write``, both, or ``sort``.
        """
        identifier = self.document["identifier"]
        requests: list[tuple[str, str, Any]] = []
        for number in range(count):
            if SORT in kinds:
                requests.append(("GET", f"/CFItems?sort=notes&limit=100&offset={number}", None))
            elif (number % 2 and WRITE in kinds) or READ not in kinds:
                item = factories.item(identifier)
                requests.append(("PUT", f"/CFItems/{item['identifier']}", item))
            elif number % 4:
                requests.append(("GET", f"/CFItems/{number}", None))
            else:
                requests.append(("GET", f"/CFPackages/{identifier}", None))
        return requests

    async def run_outage(self, name: str, count: int, timer: ScenarioTimer) -> None:
        """Inject a fault, send ``count`` requests, then check that the server recovers.

        ``name`` is a key of ``FAULTS``. Each response during the fault must be 503 with
        Retry-After, and arrive within 3 seconds. Stops early at the time limit of ``timer``.
        """
        fault, kinds, is_unready = FAULTS[name]
        async with fault(self.cluster):
            # In batches that also fill the pool.
            for start in range(0, count, 40):
                timer.report_progress(f"{name}: {start} of {count} requests")
                if timer.is_expired:
                    break
                requests = self.build_requests(kinds, min(40, count - start))
                await asyncio.gather(*(self._expect_503(name, *request) for request in requests))
            await self._check_health(name, is_unready=is_unready)
        await self.wait_for_recovery(name, kinds)

    async def _expect_503(self, name: str, method: str, path: str, body: Any) -> None:
        started = time.monotonic()
        response = await self.http.request(method, PREFIX + path, json=body)
        seconds = time.monotonic() - started
        self.report.counts[REQUESTS] += 1
        self.report.seconds[name].append(seconds)
        self.report.remarks.setdefault(f"{name}: errors", set()).update(
            ERROR.findall(response.text)
        )
        self.report.record_response(
            name, response, {503} if asks_to_retry(response) else (), f"{name}: {method} {path}"
        )
        if seconds > RESPONSE_TIMEOUT_SECONDS + MARGIN_SECONDS:
            self.report.record_violation(f"{name}: {method} {path}: answered after {seconds:.1f} s")

    async def _check_health(self, name: str, *, is_unready: bool) -> None:
        for path, expected in (("/health", 200), ("/ready", 503 if is_unready else 200)):
            started = time.monotonic()
            response = await self.http.get(path)
            seconds = time.monotonic() - started
            is_late = seconds > RESPONSE_TIMEOUT_SECONDS + MARGIN_SECONDS
            if response.status_code != expected or is_late:
                problem = f"{response.status_code} after {seconds:.1f} s"
                self.report.record_violation(f"{name}: {path}: {problem}")

    async def wait_for_recovery(self, name: str, kinds: set[str]) -> None:
        """Wait until the server handles requests again, and record how long that took.

        ``name`` is the fault that ended, and ``kinds`` are those of ``build_requests``.
        """

        async def has_recovered() -> bool:
            responses = [
                await self.http.request(method, PREFIX + path, json=body)
                for method, path, body in self.build_requests(kinds, 4)
            ]
            return all(response.status_code < 500 for response in responses)

        seconds = await wait_until(has_recovered, 10, f"requests succeed after {name}")
        self.report.seconds["recovery"].append(seconds)

    async def block_pool(self, pool_size: int) -> None:
        """Occupy all database connections of the server with requests that wait for a lock.

        Other requests must then get 503 within 3 seconds, and the waiting requests must succeed
        after the lock is released.
        """
        name = "pool full"
        async with lock_tables(self.cluster) as unlock:
            # Single items, because lists use at most half of the pool.
            paths = [f"{PREFIX}/CFItems/{identifier}" for identifier in self.items[:pool_size]]
            tasks = [asyncio.create_task(self.http.get(path)) for path in paths]
            await asyncio.sleep(0.5)
            requests = self.build_requests({READ, WRITE}, 20)
            await asyncio.gather(*(self._expect_503(name, *request) for request in requests))
            await self._check_health(name, is_unready=True)
            await unlock()
            responses = Counter(response.status_code for response in await asyncio.gather(*tasks))
        if responses != {200: pool_size}:
            self.report.record_violation(
                f"{name}: requests waiting for the lock returned {responses}"
            )
        await self.wait_for_recovery(name, {READ, WRITE})

    async def count_connections(self) -> int:
        """Return how many connections the server has to its database, as Postgres reports it."""
        async with open_admin_connection(self.cluster) as sql:
            count = await sql.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'case-server'"
            )
        return int(count)


async def run_outages(
    requests_per_fault: int, pool_size: int = 8, timer: ScenarioTimer | None = None
) -> ScenarioReport:
    """Send requests during every fault of Postgres, and check the responses.

    Stops early if the time limit of ``timer`` is reached.
    """
    timer = timer or ScenarioTimer()
    report = ScenarioReport()
    async with run_private_server(pool_size=pool_size) as (cluster, _, http):
        scenario = OutageScenario(cluster, http, report)
        await scenario.upload_package(400)
        connections_before = await scenario.count_connections()
        for fault in FAULTS:
            await scenario.run_outage(fault, requests_per_fault, timer)
        await scenario.block_pool(pool_size)
        connections_after = await scenario.count_connections()
        report.remarks["connections before and after"] = (connections_before, connections_after)
        if connections_after > pool_size:
            report.record_violation(f"{connections_after} connections of a pool of {pool_size}")
    return report
