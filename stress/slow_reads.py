"""Slow filters: sixteen clients filter many items by fifty predicates, others read single items.

The filters have no index, so each reads every item. Single items and ``/ready`` must be answered
meanwhile, because lists use at most half of the database connections.
"""

from __future__ import annotations

import asyncio
import time

import asyncpg
import httpx
from support import factories

from stress.clock import Clock
from stress.report import Report
from stress.server import PREFIX, is_retry_later

FILTERS = "slow filters"
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


async def fill(url: str, http: httpx.AsyncClient, items: int) -> None:
    """Create a document with ``items`` items; SQL inserts them, because uploads take longer."""
    document = factories.document()
    path = f"{PREFIX}/CFDocuments/{document['identifier']}"
    assert (await http.put(path, json=document)).status_code == 201
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(INSERT, document["identifier"], items)
        await connection.execute("ANALYZE items")
    finally:
        await connection.close()


async def run(http: httpx.AsyncClient, seconds: float, clock: Clock | None = None) -> Report:
    """Run slow filters and small reads at the same time for ``seconds``; call ``fill`` before.

    It is a violation if the median of the small reads is one second or more.
    """
    report, until = Report(), time.monotonic() + seconds
    await asyncio.gather(
        *(_filter(http, report, until) for _ in range(FILTERING_CLIENTS)),
        _read(http, report, "item", f"{PREFIX}/CFItems/slow-7", until),
        _read(http, report, "ready", "/ready", until),
    )
    for name in ("item", "ready"):
        if report.get_quantile(name, 0.5) >= MAX_MEDIAN_SECONDS:
            report.fail(f"{name}: the median of reads is {MAX_MEDIAN_SECONDS} s or more")
    if clock:
        clock.report_progress(str(report))
    return report


async def _filter(http: httpx.AsyncClient, report: Report, until: float) -> None:
    while time.monotonic() < until:
        response = await http.get(f"{SDK_PREFIX}/CFItems", params={"filter": PREDICATES})
        report.counts[FILTERS] += 1
        report.record("filter", response, {200, 503} if is_retry_later(response) else {200})


async def _read(
    http: httpx.AsyncClient, report: Report, name: str, path: str, until: float
) -> None:
    while time.monotonic() < until:
        started = time.monotonic()
        response = await http.get(path)
        report.seconds[name].append(time.monotonic() - started)
        report.record(name, response, {200})
        await asyncio.sleep(0.02)
