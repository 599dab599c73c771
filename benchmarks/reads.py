"""Small reads: one item, an item with its associations, a page of documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from . import data, wrk
from .client import Client
from .lab import PREFIX, SEED, Lab, items_of, reads
from .plans import explain_statements, statements_since
from .postgres import pgbench
from .results import Row, rates

MAX_IDENTIFIERS = 10_000
"""Maximum number of different identifiers; more would only cost memory of the load generator."""
MIN_CORES = 4
"""With fewer cores, two workers, Postgres and the load generator slow each other down."""


def item(lab: Lab) -> Iterator[Row]:
    """GET one item, compared with the bare application, and in a database with many more."""
    sizes, identifiers = lab.sizes, items_of(SEED, min(lab.sizes.items, MAX_IDENTIFIERS))
    share = -(-sizes.many // sizes.documents)
    others = [
        data.identifier_of(f"many{number}", f"item/{index}")
        for number in range(sizes.documents)
        for index in range(number * share, number * share + min(share, 10))
    ]
    with (
        lab.serve(lab.framework()) as one,
        lab.serve(lab.many()) as many,
        lab.limit(lab.framework()) as bare,
    ):
        limit, measured, of_many = lab.rates(
            wrk.Requests(bare, [f"/items/{identifier}" for identifier in identifiers]),
            reads(one, [f"/CFItems/{identifier}" for identifier in identifiers]),
            reads(many, [f"/CFItems/{identifier}" for identifier in others]),
        )
    yield rates("GET one item", limit, measured, 0.7)
    yield rates(
        f"GET one item of {sizes.many:,}, compared with 1 framework", measured, of_many, 0.9
    )


def associations(lab: Lab) -> Iterator[Row]:
    """GET an item with its associations, compared with two statements of the bare application."""
    identifiers = items_of(SEED, min(lab.sizes.items, MAX_IDENTIFIERS))
    with lab.serve(lab.framework()) as server, lab.limit(lab.framework()) as bare:
        limit, measured = lab.rates(
            wrk.Requests(bare, [f"/item-associations/{identifier}" for identifier in identifiers]),
            reads(server, [f"/CFItemAssociations/{identifier}" for identifier in identifiers]),
        )
    yield rates("GET CFItemAssociations", limit, measured, 0.6)


def documents(lab: Lab) -> Iterator[Row]:
    """A page of 100 documents, filtered and sorted, compared with its statement in pgbench."""
    where = quote("title~'Mathematics'")
    path = f"/CFDocuments?limit=100&sort=title&filter={where}"
    name = lab.many()
    statement = _own_statement(lab, name, path)
    with lab.serve(name) as server:
        load = reads(server, [path])
        wrk.run(load, 1)
        limit, measured = lab.interleaved(
            lambda: pgbench(
                lab.postgres.databases[name], statement, lab.folder, lab.seconds, clients=8
            ),
            lambda: wrk.run(load, lab.seconds).rate,
        )
    row = f"GET CFDocuments, 100 of {lab.sizes.documents:,}, filter and sort"
    yield rates(row, limit, measured, 0.3)


def _own_statement(lab: Lab, name: str, path: str) -> str:
    """Return the statement that the server runs for a list, with literal values."""
    with explain_statements(lab.postgres, name):
        before = lab.postgres.log.stat().st_size
        with lab.serve(name) as server, Client(server.base_url, server.headers) as client:
            client.get(f"{PREFIX}{path}")
        return statements_since(lab.postgres.log, before, "documents")[-1].with_literals()


def workers(lab: Lab) -> Iterator[Row]:
    """GET one item from two workers, compared with one."""
    paths = [
        f"/CFItems/{identifier}" for identifier in items_of(SEED, lab.sizes.items)[:MAX_IDENTIFIERS]
    ]
    name = lab.framework()
    with lab.serve(name) as one, lab.serve(name, "--workers", "2") as two:
        wrk.run(reads(two, paths), 2)  # each worker opens its connections and caches the token
        single, double = lab.rates(reads(one, paths), reads(two, paths))
    row = rates("two workers, GET one item", single, double, 1.6)
    if (os.cpu_count() or 1) < MIN_CORES:
        row = replace(
            row, target="reported", meets_target=None, note=f"fewer than {MIN_CORES} cores"
        )
    yield row
