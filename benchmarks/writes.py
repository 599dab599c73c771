"""PUT one item over many connections, into one document and into several."""

from collections.abc import Iterator

import orjson

from . import bulk_load, data, wrk
from .context import PREFIX, BenchmarkContext, report_progress
from .postgres import execute_sql, run_pgbench
from .processes import BenchmarkedServer
from .results import ResultRow, compare_rates

NAME = "writes"
DOCUMENTS = 10
TABLE = "baseline_items"
FILL = f"""
INSERT INTO {TABLE} (body, last_change_date_time, document_identifier)
SELECT replace(body::text, identifier, 'baseline-' || row_number() OVER ())::json,
    last_change_date_time, document_identifier
FROM items"""
"""Fills the table with as many rows as the server has, so that its indexes are as deep."""


def measure_writes(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure PUT of one item, compared with pgbench writing equal rows to an equal table."""
    share = max(context.sizes.item_count * 2 // 3, 100)
    report_progress(f"loading {share * DOCUMENTS:,} items")
    url = context.postgres.ensure_database(NAME)
    bulk_load.insert_frameworks(url, DOCUMENTS, share * DOCUMENTS, "write")
    execute_sql(
        url, f"CREATE TABLE {TABLE} (LIKE items INCLUDING ALL)", FILL, f"VACUUM ANALYZE {TABLE}"
    )
    script = build_upsert_script(share)
    with context.run_server(NAME) as server:
        single_document, many_documents = (
            _build_put_requests(server, share, count) for count in (1, DOCUMENTS)
        )
        for load in (single_document, many_documents):
            wrk.run_wrk(load, 1)
        baseline, single_rates, many_rates = context.run_interleaved(
            lambda: run_pgbench(url, script, context.folder, context.seconds, wrk.CONNECTIONS),
            lambda: context.measure_rate(single_document),
            lambda: context.measure_rate(many_documents),
        )
    context.postgres.drop_database(NAME)
    yield compare_rates("PUT one item, of many documents", baseline, many_rates, 0.4)
    yield compare_rates("PUT one item, of one document", baseline, single_rates, 0.4)
    yield compare_rates(
        "PUT one item, of one document compared with many", many_rates, single_rates, 0.9
    )


def _build_put_requests(
    server: BenchmarkedServer, item_count: int, document_count: int
) -> wrk.WrkRequests:
    """Build PUT requests for ``item_count`` items in total, spread evenly over documents."""
    lines = []
    for number in range(document_count):
        seed = f"write{number}"
        document = data.build_uuid(seed, "document")
        start = number * item_count
        for index in range(start, start + item_count // document_count):
            item = data.build_uuid(seed, f"item/{index}")
            lines.append(f"{PREFIX}/CFItems/{item}\t{item}\t{document}")
    headers = {**server.headers, "Content-Type": "application/json"}
    body = orjson.dumps({"item": _build_placeholder_item("ITEM", "DOCUMENT", "STAMP")}).decode()
    return wrk.WrkRequests(server.base_url, lines, headers, body)


def _build_placeholder_item(item: str, document: str, stamp: str) -> data.Body:
    """Build an item whose identifier, document and notes contain the given placeholders.

    ``load.lua`` or pgbench replaces the placeholders in each request.
    """
    (body,) = data.generate_stored_items("write0", range(1, 2))
    body["CFDocumentURI"] = {**body["CFDocumentURI"], "identifier": document}
    return {**body, "identifier": item, "notes": f"{body['notes']} {stamp}"}


def build_upsert_script(row_count: int) -> str:
    """Build a pgbench script that inserts or replaces a row as large as that of an item.

    Each transaction chooses one of ``row_count`` rows at random, as the measured PUT requests do.
    """
    item = _build_placeholder_item("baseline-ITEM", "baseline", "STAMP")
    raw = orjson.dumps(item).decode().replace("'", "''")
    body = raw.replace("ITEM", "' || :item::text || '").replace("STAMP", "' || :stamp::text || '")
    return f"""\\set item random(1, {row_count})
\\set stamp random(1, 1000000000)
INSERT INTO {TABLE} (body, last_change_date_time, document_identifier) \
VALUES (('{body}')::json, now(), 'baseline') ON CONFLICT (identifier) DO UPDATE \
SET body = excluded.body, last_change_date_time = excluded.last_change_date_time, \
deleted_at = NULL;
"""
