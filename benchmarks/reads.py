"""Small reads: one item, an item with its associations, a page of documents."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

from . import data, wrk
from .context import (
    PREFIX,
    SEED,
    BenchmarkContext,
    build_wrk_requests,
    generate_item_identifiers,
    list_item_paths,
)
from .plans import log_statement_plans, read_logged_statements
from .postgres import run_pgbench
from .results import ResultRow, compare_equal_rates, compare_rates

MAX_IDENTIFIERS = 10_000
"""Maximum number of different items to read; more would only cost memory of the load generator."""
PGBENCH_STATEMENTS = 100
"""Number of statements in a transaction of pgbench, each of which reads another item."""
MAX_AGING_DIFFERENCE = 0.05
"""Maximum difference between the speeds of a store in use and a new one, in either direction."""
MIN_CORES = 4
"""With fewer cores, two workers, Postgres and the load generator slow each other down."""


def measure_item(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of one item, compared with the bare application, and in a larger database."""
    sizes = context.sizes
    identifiers = generate_item_identifiers(SEED, min(sizes.item_count, MAX_IDENTIFIERS))
    share = -(-sizes.many_item_count // sizes.many_document_count)
    large_identifiers = [
        data.build_uuid(f"many{number}", f"item/{index}")
        for number in range(sizes.many_document_count)
        for index in range(number * share, number * share + min(share, 10))
    ]
    with (
        context.run_server(context.ensure_framework_database()) as small_server,
        context.run_server(context.ensure_large_database()) as large_server,
        context.run_bare_application(context.ensure_framework_database()) as bare_server,
    ):
        baseline, measured, large_rates = context.measure_rates(
            wrk.WrkRequests(bare_server, [f"/items/{identifier}" for identifier in identifiers]),
            build_wrk_requests(
                small_server, [f"/CFItems/{identifier}" for identifier in identifiers]
            ),
            build_wrk_requests(
                large_server, [f"/CFItems/{identifier}" for identifier in large_identifiers]
            ),
        )
    in_pgbench = _measure_item_query(context, identifiers[:PGBENCH_STATEMENTS])
    yield compare_rates("GET one item", baseline, measured, 0.7)
    yield compare_rates(
        "GET one item, compared with its statement in pgbench", in_pgbench, measured, None
    )
    yield compare_rates(
        f"GET one item of {sizes.many_item_count:,}, compared with 1 framework",
        measured,
        large_rates,
        0.9,
    )


def _measure_item_query(context: BenchmarkContext, identifiers: Sequence[str]) -> list[float]:
    """Measure how many reads of one item per second pgbench makes, in each round."""
    url = context.postgres.databases[context.ensure_framework_database()]
    script = "\n".join(
        f"SELECT body FROM items WHERE identifier = '{identifier}' AND deleted_at IS NULL;"
        for identifier in identifiers
    )
    return [
        len(identifiers)
        * run_pgbench(url, script, context.folder, context.seconds, wrk.CONNECTIONS)
        for _ in range(context.rounds)
    ]


def measure_associations(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of an item with its associations, compared with two plain SQL queries."""
    count = min(context.sizes.item_count, MAX_IDENTIFIERS)
    with (
        context.run_server(context.ensure_framework_database()) as server,
        context.run_bare_application(context.ensure_framework_database()) as bare_server,
    ):
        baseline, measured = context.measure_rates(
            wrk.WrkRequests(bare_server, list_item_paths(SEED, count, "/item-associations")),
            build_wrk_requests(server, list_item_paths(SEED, count, "/CFItemAssociations")),
        )
    yield compare_rates("GET CFItemAssociations", baseline, measured, 0.6)


def measure_aging(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure small reads of a store in use, and after a restart, compared with a new store.

    The store in use is that of most cases, which has been read since its upload. The speed must
    depend neither on the statistics that autovacuum has gathered meanwhile, nor on the age of
    connections with prepared statements.
    """
    count = min(context.sizes.item_count, MAX_IDENTIFIERS)
    used = context.ensure_framework_database()
    assert context.first_server
    context.upload_frameworks("new")
    with context.run_server(used) as restarted, context.run_server("new") as new:
        for collection in ("CFItems", "CFItemAssociations"):
            paths = list_item_paths(SEED, count, f"/{collection}")
            servers = (new, context.first_server, restarted)
            loads = [build_wrk_requests(server, paths) for server in servers]
            baseline, used_rates, restarted_rates = context.measure_rates(*loads, times=3)
            minutes = (time.monotonic() - context.upload_finished_at) / 60
            title = "GET one item" if collection == "CFItems" else f"GET {collection}"
            row = compare_equal_rates(
                f"{title}, store in use", baseline, used_rates, MAX_AGING_DIFFERENCE
            )
            yield replace(row, note=f"{minutes:.0f} minutes after the upload")
            yield compare_equal_rates(
                f"{title}, after a restart", baseline, restarted_rates, MAX_AGING_DIFFERENCE
            )


def measure_documents(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of 100 filtered, sorted documents, compared with their SQL query in pgbench."""
    expression = quote("title~'Mathematics'")
    path = f"/CFDocuments?limit=100&sort=title&filter={expression}"
    name = context.ensure_large_database()
    statement, url = _capture_list_query(context, name, path), context.postgres.databases[name]
    with context.run_server(name) as server:
        load = build_wrk_requests(server, [path])
        wrk.run_wrk(load, 1)
        baseline, measured = context.run_interleaved(
            lambda: run_pgbench(url, statement, context.folder, context.seconds, clients=8),
            lambda: context.measure_rate(load),
        )
    row = f"GET CFDocuments, 100 of {context.sizes.many_document_count:,}, filter and sort"
    yield compare_rates(row, baseline, measured, 0.3)


def _capture_list_query(context: BenchmarkContext, name: str, path: str) -> str:
    """Return the SQL query that the server runs for a list request, with parameters inlined."""
    with log_statement_plans(context.postgres, name):
        before = context.postgres.log.stat().st_size
        with context.run_server_for_client(name) as (_, client):
            client.get(f"{PREFIX}{path}")
        *_, last = read_logged_statements(context.postgres.log, before, "documents")
        return last.substitute_parameters()


def measure_workers(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of one item from a server with two workers, compared with one worker."""
    paths = list_item_paths(SEED, min(context.sizes.item_count, MAX_IDENTIFIERS))
    name = context.ensure_framework_database()
    with (
        context.run_server(name) as one_worker,
        context.run_server(name, "--workers", "2") as two_workers,
    ):
        # Each worker opens its connections and caches the token.
        wrk.run_wrk(build_wrk_requests(two_workers, paths), 2)
        single_rates, double_rates = context.measure_rates(
            build_wrk_requests(one_worker, paths), build_wrk_requests(two_workers, paths)
        )
    row = compare_rates("two workers, GET one item", single_rates, double_rates, 1.6)
    if (os.cpu_count() or 1) < MIN_CORES:
        note = f"fewer than {MIN_CORES} cores"
        row = replace(row, target="reported", meets_target=None, note=note)
    yield row
