"""Slow filters: sixteen clients filter many items by fifty predicates, others read single items.

The filters have no index, so each reads every item. Single items and ``/ready`` must be answered
meanwhile, because lists use at most half of the database connections.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

import asyncpg
import httpx
from support import factories

from stress.clock import Clock
from stress.server import PREFIX

FILTERING_CLIENTS = 16
MAX_MEDIAN_SECONDS = 1.0

SDK_PREFIX = "/ims/case/v1p1"
PREDICATES = " OR ".join(f"notes~'no item says {number}'" for number in range(50))

INSERT = """
    INSERT INTO items (document_identifier, last_change_date_time, body)
    SELECT $1::text, now(), json_build_object(
        'identifier', 'slow-' || number, 'uri', 'urn:x:' || number,
        'fullStatement', 'statement ' || md5(number::text),
        'notes', repeat('some words of a note ', 10),
        'lastChangeDateTime', '2026-01-15T09:30:00.000Z', 'CFDocumentURI', json_build_object(
            'title', 'a framework', 'identifier', $1::text, 'uri', 'urn:x:document'))
    FROM generate_series(1, $2::int) AS number"""


@dataclass
class Report:
    """The responses to filters, and the seconds that each small read took."""

    items: int
    filters: Counter[int] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"item": [], "ready": []})
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reads = ", ".join(
            f"{name}: {len(each):,} reads, median {1000 * median(each):.0f} ms"
            for name, each in self.seconds.items()
            if each
        )
        responses = dict(sorted(self.filters.items()))
        return (
            f"{self.items:,} items; filter responses {responses}; {reads}; {len(self.wrong)} wrong"
        )

    def check(self) -> None:
        """Record as wrong each kind of read with a median of 1 s or more, or without reads."""
        for name, each in self.seconds.items():
            if not each or median(each) >= MAX_MEDIAN_SECONDS:
                self.wrong.append(f"{name}: median of {len(each)} reads is 1 s or more")


async def fill(url: str, http: httpx.AsyncClient, items: int) -> None:
    """Store a document with a number of items."""
    document = factories.document()
    path = f"{PREFIX}/CFDocuments/{document['identifier']}"
    assert (await http.put(path, json=document)).status_code == 201
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(INSERT, document["identifier"], items)
        await connection.execute("ANALYZE items")
    finally:
        await connection.close()


async def run(
    http: httpx.AsyncClient, items: int, seconds: float, clock: Clock | None = None
) -> Report:
    """Filter and read for some seconds, after ``fill``."""
    report, until = Report(items), time.monotonic() + seconds
    await asyncio.gather(
        *(_filter(http, report, until) for _ in range(FILTERING_CLIENTS)),
        _read(http, report, "item", f"{PREFIX}/CFItems/slow-7", until),
        _read(http, report, "ready", "/ready", until),
    )
    report.check()
    if clock:
        clock.report_progress(str(report))
    return report


async def _filter(http: httpx.AsyncClient, report: Report, until: float) -> None:
    while time.monotonic() < until:
        response = await http.get(f"{SDK_PREFIX}/CFItems", params={"filter": PREDICATES})
        report.filters[response.status_code] += 1
        is_busy = response.status_code == 503 and "Retry-After" in response.headers
        if response.status_code != 200 and not is_busy:
            report.wrong.append(f"filter: {response.status_code} {response.text[:200]}")


async def _read(
    http: httpx.AsyncClient, report: Report, name: str, path: str, until: float
) -> None:
    while time.monotonic() < until:
        started = time.monotonic()
        response = await http.get(path)
        report.seconds[name].append(time.monotonic() - started)
        if response.status_code != 200:
            report.wrong.append(f"{name}: {response.status_code} {response.text[:200]}")
        await asyncio.sleep(0.02)
