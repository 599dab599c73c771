"""Whole frameworks written: new, unchanged, with a few changes, beside COPY of the same rows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from case_server.case.package import parse_package
from case_server.exceptions import CaseServerError

from . import data, memory, wrk
from .client import Client
from .lab import FULL_ITEMS, PREFIX, Lab, items_of, meanwhile, package_path, post, reads, say
from .packages import P99, SMALL_CONNECTIONS
from .postgres import execute, wait
from .processes import Server
from .results import Row, below, megabytes, times, unmeasured

NAME = "uploads"
MOST_MEMORY = 60e6
CHANGED = 10
TABLES = {"CFItem": "limit_items", "CFAssociation": "limit_associations"}
"""Copies of the server's tables with all of their indexes, which only COPY fills: with the same
frameworks as the server's, so that both are as large."""
COLUMNS = ("body", "last_change_date_time", "document_identifier")
REAL = Path(__file__).parents[2] / "shared" / "frameworks" / "large-11k.json"
"""A real framework, where it is beside the project."""

Records = dict[str, list[tuple[Any, ...]]]


def uploads(lab: Lab) -> Iterator[Row]:
    """POST and PUT package, beside COPY of its rows into tables as large, with the same indexes."""
    url = lab.postgres.database(NAME)
    execute(
        url,
        *(
            f"CREATE TABLE {copy} (LIKE {_original(copy)} INCLUDING ALL)"
            for copy in TABLES.values()
        ),
    )
    with lab.serve(NAME) as server:
        with Client(server.base_url, server.headers) as client:
            post(client, data.packed(20, "small"))
            yield from _timed(lab, server, client, url)
            if lab.sizes.items >= FULL_ITEMS:  # a quick run has no time for it
                yield from _real(lab, client, url)
        yield _small_reads(lab, server)
    lab.postgres.drop(NAME)


def _original(copy: str) -> str:
    return copy.removeprefix("limit_")


def _timed(lab: Lab, server: Server, client: Client, url: str) -> Iterator[Row]:
    copied, new, same, changed, added = [], [], [], [], []
    for number in range(lab.rounds):
        say(f"uploading {lab.sizes.items:,} items, round {number + 1}")
        seed = f"upload{number}"
        raw, edited = data.packed(lab.sizes.items, seed), _edited(lab.sizes.items, seed)
        path = package_path(seed)
        copied.append(copy(url, records(raw)))
        memory.reset_peak(server.pid)
        before = memory.resident(server.pid)
        new.append(post(client, raw))
        same.append(client.put(path, raw).seconds)
        changed.append(client.put(path, edited).seconds)
        added.append(memory.peak(server.pid) - before)
    title = f"upload of {lab.sizes.items:,} + {lab.sizes.items:,}"
    yield times(f"{title}, new", copied, new, 2)
    yield times(f"{title}, unchanged", copied, same, 1)
    yield times(f"{title}, {CHANGED} changed", copied, changed, 1)
    yield below(f"{title}: RSS added", max(added), MOST_MEMORY, megabytes)


def _edited(items: int, seed: str, stamp: str = "changed") -> bytes:
    """The framework of a seed, with a few statements in it changed."""
    body = data.framework(items, seed)
    for item in body["CFItems"][:: max(items // CHANGED, 1)][:CHANGED]:
        item["fullStatement"] += f", {stamp}"
    return orjson.dumps(body)


def records(raw: bytes) -> Records:
    """The rows of a package as COPY takes them."""
    package = parse_package(raw)
    return {
        kind: [
            (row.body, row.last_change_date_time, package.document_identifier)
            for row in package.rows
            if row.kind == kind
        ]
        for kind in TABLES
    }


def copy(url: str, rows: Records) -> float:
    """How long COPY of rows takes, until they are safely on disk."""

    async def work() -> float:
        connection = await asyncpg.connect(url)
        try:
            started = time.perf_counter()
            async with connection.transaction():
                for kind, table in TABLES.items():
                    await connection.copy_records_to_table(
                        table, records=rows[kind], columns=COLUMNS
                    )
            return time.perf_counter() - started
        finally:
            await connection.close()

    seconds: float = wait(work())
    return seconds


def _real(lab: Lab, client: Client, url: str) -> Iterator[Row]:
    title = f"upload of {REAL.name}, a real framework"
    if not REAL.exists():
        yield unmeasured(title, f"{REAL.name} is not in ../shared/frameworks")
        return
    copied, new, same = [], [], []
    for number in range(lab.rounds):
        raw = _renamed(REAL.read_bytes(), number)
        try:
            rows = records(raw)
        except CaseServerError as error:
            yield unmeasured(title, str(error)[:200])
            return
        copied.append(copy(url, rows))
        new.append(post(client, raw))
        path = f"{PREFIX}/CFPackages/{rows['CFItem'][0][2]}"
        same.append(client.put(path, raw).seconds)
    yield times(f"{title}, new", copied, new, 2)
    yield times(f"{title}, unchanged", copied, same, 1)


UUID = re.compile(rb"[0-9a-fA-F]{8}(?=-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-)")


def _renamed(raw: bytes, number: int) -> bytes:
    """The same framework under identifiers of its own."""
    return UUID.sub(lambda found: b"%08x" % (int(found[0], 16) ^ number), raw)


def _small_reads(lab: Lab, server: Server) -> Row:
    """How long the slowest of a hundred small reads takes while a package is uploaded."""
    seed = "upload0"
    bodies: Sequence[bytes] = [_edited(lab.sizes.items, seed, f"edition {n}") for n in range(2)]
    turn = count()
    load = reads(server, [f"/CFItems/{one}" for one in items_of(seed, 100)])
    wrk.run(load, 1, SMALL_CONNECTIONS)
    with Client(server.base_url, server.headers) as client:
        path = package_path(seed)
        quiet, busy = lab.interleaved(
            lambda: wrk.run(load, lab.seconds, SMALL_CONNECTIONS).p99,
            lambda: (
                meanwhile(
                    lambda: wrk.run(load, lab.seconds * 2, SMALL_CONNECTIONS),
                    lambda: client.put(path, bodies[next(turn) % len(bodies)]),
                ).p99
            ),
        )
    return times("p99 of small reads while packages are uploaded", quiet, busy, P99)
