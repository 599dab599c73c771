"""A store of a million items: lists, filters, pages, writes, storage, absolute targets."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from urllib.parse import quote

import httpx
import orjson

from . import bulk_load, data
from .client import TimedClient
from .context import (
    FULL_ITEMS,
    PREFIX,
    BenchmarkContext,
    build_package_path,
    report_progress,
    upload_package,
)
from .errors import BenchmarkError
from .postgres import fetch_value
from .processes import CREDENTIALS, BenchmarkedServer, run_command
from .results import ResultRow, compare_durations, compare_with_maximum, format_duration
from .uploads import measure_deletion

NAME, CATALOG = "large", "catalog"
"""Names of the databases: one with many items, and one with many frameworks."""
DOCUMENTS, CATALOG_DOCUMENTS = 67, 10_000

REQUESTS, WARM_UP_REQUESTS = 15, 6
"""Number of timed requests in a round, and of requests before the first round: after five
executions, Postgres may choose a generic plan for a prepared statement."""
MAX_LIST_SECONDS, MAX_DEEP_LIST_SECONDS, MAX_GROWTH_RATIO = 0.02, 0.1, 1.5
MAX_FILTER_SECONDS, MAX_PAGE_SECONDS = 0.1, 0.05
MAX_ITEM_BYTES, REUPLOADS, MAX_REUPLOAD_GROWTH, MAX_KEPT_CHANGES = 4900, 10, 0.2, 1

ORDERS = (
    *("identifier", "identifier&orderBy=desc"),
    *("humanCodingScheme", "humanCodingScheme&orderBy=desc"),
    *("lastChangeDateTime", "lastChangeDateTime&orderBy=desc"),
)
"""The values of ``sort`` that ``docs/querying.md`` lists with an index."""
SELECTIVE_FILTERS = (
    *("language='fr'", f"humanCodingScheme>'{NAME}9.8'", "statusStartDate>'2025-06-01'"),
    *("notes='nothing'", f"fullStatement~'{data.RARE_WORDS}'"),
)
"""Filters that at most one percent of the items match."""
WIDE_FILTERS = (
    *("language='en'", "educationLevel~'05'", "fullStatement~'whole number'", "notes~'whole'"),
)
"""Filters that many items match, or that no index serves."""
SEARCHES = (f"{NAME}9.8", data.RARE_WORDS, "whole number")

RELATIONS = "'items', 'associations', 'changes'"
CHANGES = "SELECT count(*) FROM changes"
SIZE = f"SELECT sum(pg_total_relation_size(t::regclass)) FROM unnest(ARRAY[{RELATIONS}]) AS t"

INDEX_SIZES = f"""
SELECT string_agg(format('%s %s', name, size / {{count}}), ', ' ORDER BY size DESC)
FROM (SELECT indexrelid::regclass AS name, pg_relation_size(indexrelid) AS size FROM pg_index
WHERE indrelid::regclass::text IN ({RELATIONS})) AS indexes"""


def measure_large_store(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure lists, filters, pages, writes and storage of a million items, with fixed targets."""
    count = DOCUMENTS * context.sizes.item_count
    report_progress(f"loading {count:,} items and associations in {DOCUMENTS} documents")
    url = context.postgres.ensure_database(NAME)
    bulk_load.insert_frameworks(url, DOCUMENTS, count, NAME, with_associations=True)
    yield _measure_storage(url, count)
    with context.run_server_for_client(NAME) as (server, client):
        with _open_web_client(server) as browser:
            yield from _measure_searches(context, browser, count)
        yield from _measure_lists(context, client, count)
        yield from _measure_filters(context, client, count)
        if context.sizes.item_count >= FULL_ITEMS:  # as in ``measure_uploads``
            for row in measure_deletion(context, client, url):
                yield replace(row, case=f"{row.case} among {count:,}")
        yield from _measure_reuploads(client, url, context.sizes.item_count)
    context.postgres.drop_database(NAME)
    yield _measure_catalog(context)


def _measure_lists(
    context: BenchmarkContext, client: TimedClient, count: int
) -> Iterator[ResultRow]:
    """Measure pages of 100 items with the total; compare them with those of one framework."""
    small_count = context.sizes.item_count + 20  # that of ``ensure_framework_database``
    with context.run_server_for_client(context.ensure_framework_database()) as (_, small_client):
        for order in ORDERS:
            report_progress(f"reading lists with sort={order}")
            path = f"{PREFIX}/CFItems?limit=100&sort={order}&offset="
            offsets = (0, min(10_000, small_count - 100), -100)
            measured, baseline = [], []
            for offset in offsets:
                own_durations, small_durations = _time_reads(
                    context,
                    (client, f"{path}{offset % count}"),
                    (small_client, f"{path}{offset % small_count}"),
                )
                measured.append(median(own_durations))
                baseline.append(median(small_durations))
            title = f"GET CFItems of {count:,}, 100 with total, sort={order}"
            slowest = max(measured)
            note = f"the slowest of offset 0, {offsets[1]:,} and the last page"
            row = compare_with_maximum(title, slowest, MAX_LIST_SECONDS, format_duration)
            yield replace(row, note=note)
            growth = [
                own_durations / small_durations
                for own_durations, small_durations in zip(measured, baseline, strict=True)
            ]
            worst_index = growth.index(max(growth))
            row = compare_durations(
                f"... compared with {small_count:,} items",
                [baseline[worst_index]],
                [measured[worst_index]],
                MAX_GROWTH_RATIO,
            )
            ratios = ", ".join(f"{ratio:.2f}" for ratio in growth)
            yield replace(row, note=f"sort={order}, at these offsets: {ratios}")
    path = f"{PREFIX}/CFItems?limit=100&offset={count // 2}"
    (deep,) = _time_reads(context, (client, path))
    title = f"GET CFItems of {count:,}, 100 with total, offset {count // 2:,}"
    yield compare_with_maximum(title, median(deep), MAX_DEEP_LIST_SECONDS, format_duration)


def _time_reads(context: BenchmarkContext, *reads: tuple[TimedClient, str]) -> list[list[float]]:
    """Send GET requests in turn; return the durations in seconds of each."""
    for client, path in reads:
        for _ in range(WARM_UP_REQUESTS):
            client.get(path)
    measures = (partial(_measure_read, client, path) for client, path in reads)
    return context.run_interleaved(*measures, times=REQUESTS)


def _measure_read(client: TimedClient, path: str) -> float:
    return client.get(path).seconds


def _measure_filters(
    context: BenchmarkContext, client: TimedClient, count: int
) -> Iterator[ResultRow]:
    for expression in SELECTIVE_FILTERS:
        path = f"{PREFIX}/CFItems?limit=100&filter={quote(expression)}"
        total_header = client.get(path).headers["x-total-count"]
        (seconds,) = _time_reads(context, (client, path))
        title = f"GET CFItems of {count:,}, filter={expression}"
        row = compare_with_maximum(title, median(seconds), MAX_FILTER_SECONDS, format_duration)
        yield replace(row, note=f"{total_header} items")
    for expression in WIDE_FILTERS:
        report_progress(f"filtering by {expression}")
        path = f"{PREFIX}/CFItems?limit=100&filter={quote(expression)}"
        (reads,) = context.run_interleaved(partial(_read_or_explain, client, path))
        case = f"GET CFItems of {count:,}, filter={expression}"
        duration = format_duration(median(seconds for seconds, _ in reads))
        yield ResultRow(case, "", duration, note=reads[-1][1])


def _read_or_explain(client: TimedClient, path: str) -> tuple[float, str]:
    """Read a list; return the seconds, and its number of matches, or why the server refused it."""
    start = time.perf_counter()
    try:
        result = f"{client.get(path).headers['x-total-count']} items"
    except BenchmarkError as error:
        result = str(error)
    return time.perf_counter() - start, result


def _open_web_client(server: BenchmarkedServer) -> TimedClient:
    """Sign in to the web UI, and return a client that sends the cookie of the session."""
    form = dict(zip(("client_id", "client_secret"), CREDENTIALS, strict=True))
    origin = {"Origin": server.base_url}
    response = httpx.post(f"{server.base_url}/sign-in", data=form, headers=origin, timeout=30)
    cookies = "; ".join(f"{name}={value}" for name, value in response.cookies.items())
    return TimedClient(server.base_url, {"Cookie": cookies})


def _measure_searches(
    context: BenchmarkContext, client: TimedClient, count: int
) -> Iterator[ResultRow]:
    for query in SEARCHES:
        (seconds,) = _time_reads(context, (client, f"/search?q={quote(query)}"))
        case = f"web UI, search of {count:,} items, {query!r}"
        yield compare_with_maximum(case, median(seconds), MAX_PAGE_SECONDS, format_duration)


def _measure_storage(url: str, count: int) -> ResultRow:
    """Measure the bytes of an item, its association, their change feed and all indexes."""
    size = fetch_value(url, SIZE) / count
    case = f"storage per item and association of {count:,}"
    row = compare_with_maximum(case, size, MAX_ITEM_BYTES, "{:,.0f} bytes".format)
    return replace(row, note=f"indexes: {fetch_value(url, INDEX_SIZES.format(count=count))} bytes")


def _measure_reuploads(client: TimedClient, url: str, item_count: int) -> Iterator[ResultRow]:
    """Measure how much ten uploads of a framework with all items changed grow the store."""
    seed = "reuploaded"
    upload_package(client, data.generate_package_json(item_count, seed))
    size, changes = fetch_value(url, SIZE), fetch_value(url, CHANGES)
    for number in range(REUPLOADS):
        report_progress(f"uploading {item_count:,} changed items, {number + 1} of {REUPLOADS}")
        body = data.generate_package(item_count, seed)
        for item in body["CFItems"]:
            item["fullStatement"] += f", edition {number}"
        client.put(build_package_path(seed), orjson.dumps(body))
    growth = fetch_value(url, SIZE) / size - 1
    title = f"{REUPLOADS} uploads of {item_count:,} changed items"
    yield compare_with_maximum(
        f"{title}: growth of the store", growth, MAX_REUPLOAD_GROWTH, "{:.1%}".format
    )
    added = fetch_value(url, CHANGES) - changes
    run_command("purge", "--older-than", "0h", "--yes", database_url=url)
    remaining = fetch_value(url, CHANGES) - changes
    row = compare_with_maximum(
        f"{title}: change feed after purge",
        remaining,
        MAX_KEPT_CHANGES,
        "{:,} entries added".format,
    )
    yield replace(row, note=f"{added:,} entries added before it")


def _measure_catalog(context: BenchmarkContext) -> ResultRow:
    """Measure the list of 10,000 frameworks in the web UI, which is its home page."""
    count = min(CATALOG_DOCUMENTS, context.sizes.item_count)
    report_progress(f"loading {count:,} frameworks")
    bulk_load.insert_frameworks(context.postgres.ensure_database(CATALOG), count, count, CATALOG)
    with context.run_server(CATALOG) as server, _open_web_client(server) as client:
        (seconds,) = _time_reads(context, (client, "/"))
    context.postgres.drop_database(CATALOG)
    case = f"web UI, list of {count:,} frameworks"
    return compare_with_maximum(case, median(seconds), MAX_PAGE_SECONDS, format_duration)
