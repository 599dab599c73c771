"""Uploads of packages: new, unchanged, with few changes; compared with COPY of their rows."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson

from case_server.case.package import parse_package
from case_server.exceptions import CaseServerError

from . import data, memory
from .client import TimedClient
from .context import (
    FULL_ITEMS,
    PREFIX,
    BenchmarkContext,
    build_package_path,
    measure_seconds,
    report_progress,
    upload_package,
)
from .packages import measure_small_reads
from .postgres import execute_sql, open_connection
from .processes import BenchmarkedServer, run_command
from .results import (
    ResultRow,
    compare_durations,
    compare_with_maximum,
    create_unmeasured_row,
    format_megabytes,
)

NAME = "uploads"
MAX_ADDED_MEMORY_BYTES = 60e6
CHANGED_ITEMS = 10
LONG_STATEMENT_CHARS = 3500
DELETION_COMMANDS = ("delete document ID", "undelete document ID", "purge --older-than 0h --yes")
TABLES = {"CFItem": "baseline_items", "CFAssociation": "baseline_associations"}
"""Copies of the server's tables with all indexes. COPY fills them with the frameworks that are
uploaded to the server, so that both have the same size."""
COLUMNS = ("body", "last_change_date_time", "document_identifier")
REAL_FRAMEWORK = Path(__file__).parents[2] / "shared" / "frameworks" / "large-11k.json"
"""A real framework, which is also measured if the folder ``../shared`` contains it."""

Records = dict[str, list[tuple[Any, ...]]]


def measure_uploads(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure uploads of packages, compared with COPY of the same rows into equal tables."""
    url = context.postgres.ensure_database(NAME)
    for copy in TABLES.values():
        original = copy.removeprefix("baseline_")
        execute_sql(url, f"CREATE TABLE {copy} (LIKE {original} INCLUDING ALL)")
    with context.run_server(NAME) as server:
        with server.open_client() as client:
            upload_package(client, data.generate_package_json(20, "small"))
            yield from _measure_uploads(context, server, client, url)
            if context.sizes.item_count >= FULL_ITEMS:  # it would take too long in a quick run
                yield from _measure_real_framework(context, client, url)
                yield from measure_deletion(context, client, url)
            yield _measure_long_statements(context, client, url)
        bodies = cycle(
            _generate_changed_package(context.sizes.item_count, "upload0", f"edition {number}")
            for number in range(2)
        )
        yield measure_small_reads(
            context,
            server,
            "p99 of small reads while packages are uploaded",
            "upload0",
            lambda client: client.put(build_package_path("upload0"), next(bodies)),
            load_factor=2,
        )
    context.postgres.drop_database(NAME)


def _measure_uploads(
    context: BenchmarkContext, server: BenchmarkedServer, client: TimedClient, url: str
) -> Iterator[ResultRow]:
    copy_durations, new_durations, unchanged_durations = [], [], []
    changed_durations, added_bytes = [], []
    for number in range(context.rounds):
        report_progress(f"uploading {context.sizes.item_count:,} items, round {number + 1}")
        seed = f"upload{number}"
        raw = data.generate_package_json(context.sizes.item_count, seed)
        edited = _generate_changed_package(context.sizes.item_count, seed)
        path = build_package_path(seed)
        copy_durations.append(measure_copy_insert(url, build_copy_rows(raw)))
        memory.reset_peak_memory(server.pid)
        bytes_before = memory.get_resident_memory_bytes(server.pid)
        new_durations.append(upload_package(client, raw))
        unchanged_durations.append(client.put(path, raw).seconds)
        changed_durations.append(client.put(path, edited).seconds)
        added_bytes.append(memory.get_peak_memory_bytes(server.pid) - bytes_before)
    title = f"upload of {context.sizes.item_count:,} + {context.sizes.item_count:,}"
    yield compare_durations(f"{title}, new", copy_durations, new_durations, 2)
    yield compare_durations(f"{title}, unchanged", copy_durations, unchanged_durations, 1)
    yield compare_durations(
        f"{title}, {CHANGED_ITEMS} changed", copy_durations, changed_durations, 1
    )
    yield compare_with_maximum(
        f"{title}: RSS added", max(added_bytes), MAX_ADDED_MEMORY_BYTES, format_megabytes
    )


def _generate_changed_package(item_count: int, seed: str, suffix: str = "changed") -> bytes:
    """Generate a package in which ``suffix`` is appended to the statements of ten items."""
    body = data.generate_package(item_count, seed)
    for item in body["CFItems"][:: max(item_count // CHANGED_ITEMS, 1)][:CHANGED_ITEMS]:
        item["fullStatement"] += f", {suffix}"
    return orjson.dumps(body)


def build_copy_rows(raw: bytes) -> Records:
    """Parse a package and return its entities as table rows for COPY, by entity class."""
    package = parse_package(raw)
    return {
        kind: [
            (row.body, row.last_change_date_time, package.document_identifier)
            for row in package.rows
            if row.kind == kind
        ]
        for kind in TABLES
    }


def measure_copy_insert(url: str, rows: Records) -> float:
    """Insert rows with COPY, which is the fastest way, and return the duration in seconds."""

    async def work() -> float:
        async with open_connection(url) as connection:
            start = time.perf_counter()
            async with connection.transaction():
                for kind, table in TABLES.items():
                    records = rows[kind]
                    await connection.copy_records_to_table(table, records=records, columns=COLUMNS)
            return time.perf_counter() - start

    return asyncio.run(work())


def _measure_long_statements(context: BenchmarkContext, client: TimedClient, url: str) -> ResultRow:
    count = context.sizes.item_count * 2 // 3
    report_progress(f"uploading {count:,} long statements")
    copies, new = [], []
    for number in range(context.rounds):
        raw = _generate_long_statements(count, f"long{number}")
        copies.append(measure_copy_insert(url, build_copy_rows(raw)))
        new.append(upload_package(client, raw))
    title = f"upload of {count:,} statements of {LONG_STATEMENT_CHARS:,} characters, new"
    return compare_durations(title, copies, new, 1.5)


def _generate_long_statements(item_count: int, seed: str) -> bytes:
    body = data.generate_package(item_count, seed)
    for index, item in enumerate(body["CFItems"]):
        texts = (data.generate_item_text(seed, 31 * index + part) for part in range(31))
        item["fullStatement"] = " ".join(texts)[:LONG_STATEMENT_CHARS]
    return orjson.dumps(body)


def measure_deletion(
    context: BenchmarkContext, client: TimedClient, url: str
) -> Iterator[ResultRow]:
    """Measure the commands that delete, restore and remove a framework, each as a whole process."""
    uploads: list[float] = []
    seconds: dict[str, list[float]] = {command: [] for command in DELETION_COMMANDS}
    for number in range(context.rounds):
        seed = f"deleted{number}"
        uploads.append(
            upload_package(client, data.generate_package_json(context.sizes.item_count, seed))
        )
        document = data.build_uuid(seed, "document")
        for command in (*DELETION_COMMANDS[:2], DELETION_COMMANDS[0], DELETION_COMMANDS[2]):
            arguments = command.replace("ID", document).split()
            seconds[command].append(
                measure_seconds(partial(run_command, *arguments, database_url=url))
            )
    for command, times in seconds.items():
        title = f"case-server {command.split()[0]} of {context.sizes.item_count:,}"
        yield compare_durations(f"{title}, compared with its upload", uploads, times, 2)


def _measure_real_framework(
    context: BenchmarkContext, client: TimedClient, url: str
) -> Iterator[ResultRow]:
    title = f"upload of {REAL_FRAMEWORK.name}, a real framework"
    if not REAL_FRAMEWORK.exists():
        yield create_unmeasured_row(title, f"{REAL_FRAMEWORK.name} is not in ../shared/frameworks")
        return
    copy_durations, new_durations, unchanged_durations = [], [], []
    for number in range(context.rounds):
        raw = data.make_identifiers_unique(REAL_FRAMEWORK.read_text(), f"{number}")
        try:
            rows = build_copy_rows(raw)
        except CaseServerError as error:
            yield create_unmeasured_row(title, str(error)[:200])
            return
        copy_durations.append(measure_copy_insert(url, rows))
        new_durations.append(upload_package(client, raw))
        path = f"{PREFIX}/CFPackages/{rows['CFItem'][0][2]}"
        unchanged_durations.append(client.put(path, raw).seconds)
    yield compare_durations(f"{title}, new", copy_durations, new_durations, 2)
    yield compare_durations(f"{title}, unchanged", copy_durations, unchanged_durations, 1)
