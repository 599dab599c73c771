"""Uploads of packages: new, unchanged and with few changes, compared with COPY of their rows."""

from __future__ import annotations

import asyncio
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
from .lab import (
    FULL_ITEMS,
    PREFIX,
    Lab,
    items_of,
    package_path,
    post,
    reads,
    report_progress,
    run_under_work,
)
from .packages import MAX_P99_RATIO, SMALL_CONNECTIONS
from .postgres import execute
from .processes import Server
from .results import Row, below, megabytes, times, unmeasured

NAME = "uploads"
MAX_ADDED_MEMORY_BYTES = 60e6
CHANGED_ITEMS = 10
TABLES = {"CFItem": "limit_items", "CFAssociation": "limit_associations"}
"""Copies of the server's tables with all indexes. COPY fills them with the frameworks that are
uploaded to the server, so that both have the same size."""
COLUMNS = ("body", "last_change_date_time", "document_identifier")
REAL_FRAMEWORK = Path(__file__).parents[2] / "shared" / "frameworks" / "large-11k.json"
"""A real framework, which is measured if the folder ``../shared`` contains it."""

Records = dict[str, list[tuple[Any, ...]]]


def uploads(lab: Lab) -> Iterator[Row]:
    """POST and PUT package, compared with COPY of its rows into tables of the same size."""
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
            if lab.sizes.items >= FULL_ITEMS:  # it would take too long in a quick run
                yield from _real(lab, client, url)
        yield _small_reads(lab, server)
    lab.postgres.drop(NAME)


def _original(copy: str) -> str:
    return copy.removeprefix("limit_")


def _timed(lab: Lab, server: Server, client: Client, url: str) -> Iterator[Row]:
    copies, new, unchanged, changed, added = [], [], [], [], []
    for number in range(lab.rounds):
        report_progress(f"uploading {lab.sizes.items:,} items, round {number + 1}")
        seed = f"upload{number}"
        raw, edited = data.packed(lab.sizes.items, seed), _edited(lab.sizes.items, seed)
        path = package_path(seed)
        copies.append(copy(url, records(raw)))
        memory.reset_peak(server.pid)
        before = memory.resident(server.pid)
        new.append(post(client, raw))
        unchanged.append(client.put(path, raw).seconds)
        changed.append(client.put(path, edited).seconds)
        added.append(memory.peak(server.pid) - before)
    title = f"upload of {lab.sizes.items:,} + {lab.sizes.items:,}"
    yield times(f"{title}, new", copies, new, 2)
    yield times(f"{title}, unchanged", copies, unchanged, 1)
    yield times(f"{title}, {CHANGED_ITEMS} changed", copies, changed, 1)
    yield below(f"{title}: RSS added", max(added), MAX_ADDED_MEMORY_BYTES, megabytes)


def _edited(items: int, seed: str, stamp: str = "changed") -> bytes:
    """Return the framework of a seed with a few changed statements."""
    body = data.framework(items, seed)
    for item in body["CFItems"][:: max(items // CHANGED_ITEMS, 1)][:CHANGED_ITEMS]:
        item["fullStatement"] += f", {stamp}"
    return orjson.dumps(body)


def records(raw: bytes) -> Records:
    """Return the rows of a package as records for COPY."""
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
    """Return the seconds of a committed COPY of rows."""

    async def work() -> float:
        connection = await asyncpg.connect(url)
        try:
            start = time.perf_counter()
            async with connection.transaction():
                for kind, table in TABLES.items():
                    await connection.copy_records_to_table(
                        table, records=rows[kind], columns=COLUMNS
                    )
            return time.perf_counter() - start
        finally:
            await connection.close()

    seconds: float = asyncio.run(work())
    return seconds


def _real(lab: Lab, client: Client, url: str) -> Iterator[Row]:
    title = f"upload of {REAL_FRAMEWORK.name}, a real framework"
    if not REAL_FRAMEWORK.exists():
        yield unmeasured(title, f"{REAL_FRAMEWORK.name} is not in ../shared/frameworks")
        return
    copies, new, unchanged = [], [], []
    for number in range(lab.rounds):
        raw = _renamed(REAL_FRAMEWORK.read_bytes(), number)
        try:
            rows = records(raw)
        except CaseServerError as error:
            yield unmeasured(title, str(error)[:200])
            return
        copies.append(copy(url, rows))
        new.append(post(client, raw))
        path = f"{PREFIX}/CFPackages/{rows['CFItem'][0][2]}"
        unchanged.append(client.put(path, raw).seconds)
    yield times(f"{title}, new", copies, new, 2)
    yield times(f"{title}, unchanged", copies, unchanged, 1)


UUID = re.compile(rb"[0-9a-fA-F]{8}(?=-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-)")


def _renamed(raw: bytes, number: int) -> bytes:
    """Return a framework with new identifiers."""
    return UUID.sub(lambda match: b"%08x" % (int(match[0], 16) ^ number), raw)


def _small_reads(lab: Lab, server: Server) -> Row:
    """Return a row of the 99th percentile of small reads while packages are uploaded."""
    seed = "upload0"
    bodies: Sequence[bytes] = [_edited(lab.sizes.items, seed, f"edition {n}") for n in range(2)]
    counter = count()
    load = reads(server, [f"/CFItems/{identifier}" for identifier in items_of(seed, 100)])
    wrk.run(load, 1, SMALL_CONNECTIONS)
    with Client(server.base_url, server.headers) as client:
        path = package_path(seed)
        quiet, busy = lab.interleaved(
            lambda: wrk.run(load, lab.seconds, SMALL_CONNECTIONS).p99,
            lambda: (
                run_under_work(
                    lambda: wrk.run(load, lab.seconds * 2, SMALL_CONNECTIONS),
                    lambda: client.put(path, bodies[next(counter) % len(bodies)]),
                ).p99
            ),
        )
    return times("p99 of small reads while packages are uploaded", quiet, busy, MAX_P99_RATIO)
