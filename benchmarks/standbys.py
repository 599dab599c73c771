"""Reads from servers on standbys: how they scale, and how far they are behind the primary."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import orjson
import psutil

from case_server.db.postgres import alembic_runner
from case_server.db.postgres.embedded import _Cluster, exclusive_postgres

from . import bulk_load, data, wrk
from .client import TimedClient
from .context import PREFIX, BenchmarkContext, build_wrk_requests, report_progress
from .errors import BenchmarkError
from .postgres import copy_to_standby, execute_sql, fetch_value
from .processes import BenchmarkedServer, run_case_server
from .results import ResultRow, compare_durations, compare_rates, format_duration

NAME = "standbys"
MAX_ITEMS = 1000
STANDBYS = 2
MIN_FREE_CORES = 4
"""With fewer, the servers, their Postgres and the load generators slow each other down."""

MIN_RATIO = 1.8
WRITES = 200
"""Number of writes with each setting, after each of which an item is read from a standby."""

CATCH_UP_SECONDS = 60
COMMITS = ("local", "remote_apply")
"""The compared values of ``CASE_SERVER_SYNCHRONOUS_COMMIT``: asynchronous, and synchronous."""


def measure_standbys(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure reads of one item from two servers on two standbys, compared with one standby.

    Also measures how often a standby misses a write that was just acknowledged, and how much longer
    a write takes if it waits for the standbys.
    """
    items = min(context.sizes.item_count, MAX_ITEMS)
    free_cores = _count_free_cores()
    report_progress(f"starting three Postgres servers with {items:,} items")
    with ExitStack() as stack:
        primary, urls = _run_replicated_postgres(stack, context, items)
        log = context.get_log_path()
        writers = []
        for commit in COMMITS:
            settings = {"CASE_SERVER_SYNCHRONOUS_COMMIT": commit}
            server = run_case_server(log, CASE_SERVER_DATABASE_URL=primary, **settings)
            writers.append(stack.enter_context(server))
        for url in urls:  # a server on a standby needs the signing key that the primary's made
            _wait_until_replayed(primary, url)
        readers = [
            stack.enter_context(run_case_server(log, CASE_SERVER_DATABASE_URL=url)) for url in urls
        ]
        yield _compare_reads(context, readers, items, free_cores)
        yield from _compare_writes(writers, readers[0], items)


def _count_free_cores() -> int:
    """Return how many cores of this machine were idle during one second."""
    cores = os.cpu_count() or 1
    return round(cores * (1 - psutil.cpu_percent(interval=1) / 100))


def _run_replicated_postgres(
    stack: ExitStack, context: BenchmarkContext, items: int
) -> tuple[str, list[str]]:
    """Run a primary with one framework, and its standbys, until ``stack`` is closed.

    Returns the URLs of the primary and of the standbys.
    """
    folder = context.folder / NAME
    primary = stack.enter_context(exclusive_postgres(folder / "primary"))
    alembic_runner.migrate(primary)
    bulk_load.insert_frameworks(primary, 1, items, NAME)
    urls = []
    for number in range(STANDBYS):
        copy = folder / str(number)
        copy_to_standby(_Cluster((folder / "primary").resolve()), primary, copy)
        urls.append(stack.enter_context(exclusive_postgres(copy)))
    execute_sql(
        primary,
        f"ALTER SYSTEM SET synchronous_standby_names = 'FIRST {STANDBYS} (*)'",
        "SELECT pg_reload_conf()",
    )
    return primary, urls


def _wait_until_replayed(primary: str, standby: str) -> None:
    position = fetch_value(primary, "SELECT pg_current_wal_lsn()::text")
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while not fetch_value(standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"a standby was still behind after {CATCH_UP_SECONDS} s")
        time.sleep(0.1)


def _compare_reads(
    context: BenchmarkContext, readers: list[BenchmarkedServer], items: int, free_cores: int
) -> ResultRow:
    links = (data.build_item_link(f"{NAME}0", index) for index in range(items))
    paths = [f"/CFItems/{link.identifier}" for link in links]
    loads = [build_wrk_requests(server, paths) for server in readers]
    for load in loads:
        wrk.run_wrk(load, 1)  # opens connections and caches the token
    with ThreadPoolExecutor(len(loads)) as pool:

        def read_from_all() -> float:
            return sum(pool.map(context.measure_rate, loads))

        single_rates, double_rates = context.run_interleaved(
            lambda: context.measure_rate(loads[0]), read_from_all
        )
    row = compare_rates(
        "two servers on two standbys, GET one item", single_rates, double_rates, MIN_RATIO
    )
    row = replace(row, note=f"{free_cores} of {os.cpu_count()} cores were free")
    if free_cores < MIN_FREE_CORES:
        row = replace(row, target=f"reported on fewer than {MIN_FREE_CORES}", meets_target=None)
    return row


def _compare_writes(
    writers: list[BenchmarkedServer], reader: BenchmarkedServer, items: int
) -> Iterator[ResultRow]:
    """Write items with both commit settings in turn, and read each from a standby right after."""
    durations: dict[str, list[float]] = {commit: [] for commit in COMMITS}
    delays: dict[str, list[float]] = {commit: [] for commit in COMMITS}
    with ExitStack() as stack:
        read_client = stack.enter_context(reader.open_client())
        clients = [stack.enter_context(writer.open_client()) for writer in writers]
        for number in range(WRITES):
            for commit, client in zip(COMMITS, clients, strict=True):
                index = number % items
                (body,) = data.generate_stored_items(f"{NAME}0", range(index, index + 1))
                body["notes"] = f"{commit} {number}"
                raw, path = orjson.dumps({"item": body}), f"{PREFIX}/CFItems/{body['identifier']}"
                durations[commit].append(client.put(path, raw, expected_status=201).seconds)
                if (delay := _measure_delay(read_client, path, body["notes"])) is not None:
                    delays[commit].append(delay)
    for commit in COMMITS:
        commit_delays = delays[commit]
        row = ResultRow(
            f"GET from a standby right after PUT, {commit}",
            "",
            f"{len(commit_delays)} of {WRITES} missed it",
            note=f"visible at most {format_duration(max(commit_delays))} later"
            if commit_delays
            else "",
        )
        if commit == "remote_apply":
            row = replace(row, target="0 missed it", meets_target=not commit_delays)
        yield row
    local, remote = (durations[commit] for commit in COMMITS)
    yield compare_durations("PUT, remote_apply, compared with local", local, remote, None)


def _measure_delay(client: TimedClient, path: str, text: str) -> float | None:
    """Return the seconds until a response contains a text; None if the first response does."""
    started, is_first = time.monotonic(), True
    while text.encode() not in client.get(path).body:
        is_first = False
    return None if is_first else time.monotonic() - started
