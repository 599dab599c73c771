"""Small reads: one item, an item with its associations, a page of documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from . import data, wrk
from .client import Client
from .lab import PREFIX, SEED, Lab, build_read_requests, list_item_identifiers
from .plans import log_statement_plans, read_logged_statements
from .postgres import run_pgbench
from .results import ResultRow, compare_rates

MAX_IDENTIFIERS = 10_000
"""Maximum number of different items to read; more would only cost memory of the load generator."""
MIN_CORES = 4
"""With fewer cores, two workers, Postgres and the load generator slow each other down."""


def item(lab: Lab) -> Iterator[ResultRow]:
    """Measure GET of one item, compared with the bare application, and among many more items."""
    sizes, identifiers = (
        lab.sizes,
        list_item_identifiers(SEED, min(lab.sizes.items, MAX_IDENTIFIERS)),
    )
    share = -(-sizes.many // sizes.documents)
    others = [
        data.build_identifier(f"many{number}", f"item/{index}")
        for number in range(sizes.documents)
        for index in range(number * share, number * share + min(share, 10))
    ]
    with (
        lab.run_server(lab.get_framework_database()) as one,
        lab.run_server(lab.get_many_frameworks_database()) as many,
        lab.run_bare_application(lab.get_framework_database()) as bare,
    ):
        limit, measured, of_many = lab.measure_rates(
            wrk.LoadRequests(bare, [f"/items/{identifier}" for identifier in identifiers]),
            build_read_requests(one, [f"/CFItems/{identifier}" for identifier in identifiers]),
            build_read_requests(many, [f"/CFItems/{identifier}" for identifier in others]),
        )
    yield compare_rates("GET one item", limit, measured, 0.7)
    yield compare_rates(
        f"GET one item of {sizes.many:,}, compared with 1 framework", measured, of_many, 0.9
    )


def associations(lab: Lab) -> Iterator[ResultRow]:
    """Measure GET of an item with its associations, compared with two plain SQL queries."""
    identifiers = list_item_identifiers(SEED, min(lab.sizes.items, MAX_IDENTIFIERS))
    with (
        lab.run_server(lab.get_framework_database()) as server,
        lab.run_bare_application(lab.get_framework_database()) as bare,
    ):
        limit, measured = lab.measure_rates(
            wrk.LoadRequests(
                bare, [f"/item-associations/{identifier}" for identifier in identifiers]
            ),
            build_read_requests(
                server, [f"/CFItemAssociations/{identifier}" for identifier in identifiers]
            ),
        )
    yield compare_rates("GET CFItemAssociations", limit, measured, 0.6)


def documents(lab: Lab) -> Iterator[ResultRow]:
    """Measure GET of 100 filtered, sorted documents, compared with its SQL query in pgbench."""
    where = quote("title~'Mathematics'")
    path = f"/CFDocuments?limit=100&sort=title&filter={where}"
    name = lab.get_many_frameworks_database()
    statement = _own_statement(lab, name, path)
    with lab.run_server(name) as server:
        load = build_read_requests(server, [path])
        wrk.run_wrk(load, 1)
        limit, measured = lab.run_interleaved(
            lambda: run_pgbench(
                lab.postgres.databases[name], statement, lab.folder, lab.seconds, clients=8
            ),
            lambda: wrk.run_wrk(load, lab.seconds).rate,
        )
    row = f"GET CFDocuments, 100 of {lab.sizes.documents:,}, filter and sort"
    yield compare_rates(row, limit, measured, 0.3)


def _own_statement(lab: Lab, name: str, path: str) -> str:
    """Return the SQL query that the server runs for a list request, for use in pgbench.

    Its parameters are replaced by their values.
    """
    with log_statement_plans(lab.postgres, name):
        before = lab.postgres.log.stat().st_size
        with lab.run_server(name) as server, Client(server.base_url, server.headers) as client:
            client.get(f"{PREFIX}{path}")
        return read_logged_statements(lab.postgres.log, before, "documents")[
            -1
        ].substitute_parameters()


def workers(lab: Lab) -> Iterator[ResultRow]:
    """Measure GET of one item from a server with two workers, compared with one worker."""
    paths = [
        f"/CFItems/{identifier}"
        for identifier in list_item_identifiers(SEED, lab.sizes.items)[:MAX_IDENTIFIERS]
    ]
    name = lab.get_framework_database()
    with lab.run_server(name) as one, lab.run_server(name, "--workers", "2") as two:
        wrk.run_wrk(
            build_read_requests(two, paths), 2
        )  # each worker opens its connections and caches the token
        single, double = lab.measure_rates(
            build_read_requests(one, paths), build_read_requests(two, paths)
        )
    row = compare_rates("two workers, GET one item", single, double, 1.6)
    if (os.cpu_count() or 1) < MIN_CORES:
        row = replace(
            row, target="reported", meets_target=None, note=f"fewer than {MIN_CORES} cores"
        )
    yield row
