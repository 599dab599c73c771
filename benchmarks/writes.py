"""PUT one item over many connections, into one document and into several."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from . import bulk_load, data, wrk
from .lab import PREFIX, Lab, report_progress
from .postgres import execute_sql, run_pgbench
from .processes import BenchmarkedServer
from .results import ResultRow, compare_rates

NAME = "writes"
DOCUMENTS = 10
TABLE = "limit_items"
FILL = f"""
INSERT INTO {TABLE} (body, last_change_date_time, document_identifier)
SELECT replace(body::text, identifier, 'limit-' || row_number() OVER ())::json,
    last_change_date_time, document_identifier
FROM items"""
"""Fills the table with as many rows as the server has, so that its indexes are as deep."""


def writes(lab: Lab) -> Iterator[ResultRow]:
    """Measure PUT of one item, compared with pgbench writing equal rows to an equal table."""
    share = max(lab.sizes.items * 2 // 3, 100)
    report_progress(f"loading {share * DOCUMENTS:,} items")
    url = lab.postgres.get_database_url(NAME)
    bulk_load.insert_frameworks(url, DOCUMENTS, share * DOCUMENTS, "write")
    execute_sql(
        url, f"CREATE TABLE {TABLE} (LIKE items INCLUDING ALL)", FILL, f"VACUUM ANALYZE {TABLE}"
    )
    script = build_upsert_script(share)
    with lab.run_server(NAME) as server:
        one, many = (
            _build_put_requests(server, share, 1),
            _build_put_requests(server, share, DOCUMENTS),
        )
        for load in (one, many):
            wrk.run_wrk(load, 1)
        limit, of_one, of_many = lab.run_interleaved(
            lambda: run_pgbench(url, script, lab.folder, lab.seconds, wrk.CONNECTIONS),
            lambda: wrk.run_wrk(one, lab.seconds).rate,
            lambda: wrk.run_wrk(many, lab.seconds).rate,
        )
    lab.postgres.drop_database(NAME)
    yield compare_rates("PUT one item, of many documents", limit, of_many, 0.4)
    yield compare_rates("PUT one item, of one document", limit, of_one, 0.4)
    yield compare_rates("PUT one item, of one document compared with many", of_many, of_one, 0.9)


def _build_put_requests(server: BenchmarkedServer, share: int, documents: int) -> wrk.LoadRequests:
    """Return PUT requests for ``share`` items, spread evenly over ``documents`` documents."""
    lines = []
    for number in range(documents):
        seed = f"write{number}"
        document = data.build_identifier(seed, "document")
        for index in range(number * share, number * share + share // documents):
            item = data.build_identifier(seed, f"item/{index}")
            lines.append(f"{PREFIX}/CFItems/{item}\t{item}\t{document}")
    headers = {**server.headers, "Content-Type": "application/json"}
    body = orjson.dumps({"item": _build_placeholder_item("ITEM", "DOCUMENT", "STAMP")}).decode()
    return wrk.LoadRequests(server.base_url, lines, headers, body)


def _build_placeholder_item(item: str, document: str, stamp: str) -> data.Body:
    """Return the JSON of an item with placeholders, which wrk replaces in each request."""
    (body,) = data.generate_stored_items("write0", range(1, 2))
    body["CFDocumentURI"] = {**body["CFDocumentURI"], "identifier": document}
    return {**body, "identifier": item, "notes": f"{body['notes']} {stamp}"}


def build_upsert_script(share: int) -> str:
    """Return a pgbench script that inserts or replaces a row as large as that of an item.

    Each transaction chooses one of ``share`` rows at random, as the measured PUT requests do.
    """
    raw = (
        orjson.dumps(_build_placeholder_item("limit-ITEM", "limit", "STAMP"))
        .decode()
        .replace("'", "''")
    )
    body = raw.replace("ITEM", "' || :item::text || '").replace("STAMP", "' || :stamp::text || '")
    return f"""\\set item random(1, {share})
\\set stamp random(1, 1000000000)
INSERT INTO {TABLE} (body, last_change_date_time, document_identifier) \
VALUES (('{body}')::json, now(), 'limit') ON CONFLICT (identifier) DO UPDATE \
SET body = excluded.body, last_change_date_time = excluded.last_change_date_time, \
deleted_at = NULL;
"""
