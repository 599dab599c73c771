"""Slow filters: sixteen clients filter items by fifty predicates, others read single items.

The filters have no index, so each reads every item. Single items and ``/ready`` must be answered
meanwhile, because lists use at most half of the database connections.
"""

import asyncio
import time

from httpx import AsyncClient
from support import factories
from support.databases import open_connection

from stress.report import ScenarioReport
from stress.server import PREFIX, asks_to_retry
from stress.timer import ScenarioTimer

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


async def insert_items(database_url: str, http: AsyncClient, item_count: int) -> None:
    """Create a document and insert its items with SQL, because uploading them is slower."""
    document = factories.document()
    path = f"{PREFIX}/CFDocuments/{document['identifier']}"
    assert (await http.put(path, json=document)).status_code == 201
    async with open_connection(database_url) as connection:
        await connection.execute(INSERT, document["identifier"], item_count)
        await connection.execute("ANALYZE items")


async def run_slow_filters(
    http: AsyncClient, seconds: float, timer: ScenarioTimer | None = None
) -> ScenarioReport:
    """Send lists with slow filters and reads of single items concurrently; return a report.

    Runs for ``seconds``, with the items of ``insert_items``. Records a violation if the median
    duration of the reads of single items is one second or more.
    """
    report, until = ScenarioReport(), time.monotonic() + seconds
    await asyncio.gather(
        *(_filter(http, report, until) for _ in range(FILTERING_CLIENTS)),
        _read(http, report, "item", f"{PREFIX}/CFItems/slow-7", until),
        _read(http, report, "ready", "/ready", until),
    )
    for name in ("item", "ready"):
        if report.get_quantile(name, 0.5) >= MAX_MEDIAN_SECONDS:
            report.record_violation(
                f"{name}: the median of reads is {MAX_MEDIAN_SECONDS} s or more"
            )
    if timer:
        timer.report_progress(str(report))
    return report


async def _filter(http: AsyncClient, report: ScenarioReport, until: float) -> None:
    while time.monotonic() < until:
        response = await http.get(f"{SDK_PREFIX}/CFItems", params={"filter": PREDICATES})
        report.counts[FILTERS] += 1
        report.record_response("filter", response, {200, 503} if asks_to_retry(response) else {200})


async def _read(
    http: AsyncClient, report: ScenarioReport, name: str, path: str, until: float
) -> None:
    while time.monotonic() < until:
        started = time.monotonic()
        response = await http.get(path)
        report.seconds[name].append(time.monotonic() - started)
        report.record_response(name, response, {200})
        await asyncio.sleep(0.02)
