"""Reads of a single item while many slow filters read all items."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from statistics import median
from threading import Event
from urllib.parse import quote

from . import bulk_load, data
from .context import FULL_ITEMS, PREFIX, BenchmarkContext, report_progress
from .errors import BenchmarkError
from .processes import BenchmarkedServer
from .results import ResultRow, compare_with_maximum, format_duration

NAME = "slow"
FULL_FILTER_ITEMS = 100_000
"""Number of items in a full run."""

FILTERING_CLIENTS = 16
MAX_MEDIAN_SECONDS = 1.0
MIN_SECONDS = 5.0

PREDICATES = quote(" OR ".join(f"notes~'no item says {number}'" for number in range(50)))
FILTER_PATH = f"/ims/case/v1p1/CFItems?filter={PREDICATES}"


def measure_reads_during_filters(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure small reads while 16 clients run slow filters; the target is a median of 1 s.

    The small reads are the GET of one item and of ``/ready``. Each filter has 50 predicates.
    """
    items = context.sizes.item_count * FULL_FILTER_ITEMS // FULL_ITEMS
    report_progress(f"loading {items:,} items")
    bulk_load.insert_frameworks(context.postgres.ensure_database(NAME), 1, items, NAME)
    identifier = data.build_item_link(f"{NAME}0", items // 2).identifier
    paths = {"GET CFItem": f"{PREFIX}/CFItems/{identifier}", "/ready": "/ready"}
    with context.run_server(NAME) as server:
        _repeat_reads(server, paths["GET CFItem"], 1)  # opens a connection, as in a server in use
        yield from _measure_during_filters(context, server, paths, items)
    context.postgres.drop_database(NAME)


def _measure_during_filters(
    context: BenchmarkContext, server: BenchmarkedServer, paths: dict[str, str], items: int
) -> Iterator[ResultRow]:
    with _run_slow_filter_clients(server) as statuses:
        for title, path in paths.items():
            report_progress(f"{title} during {FILTERING_CLIENTS} filters")
            duration = max(MIN_SECONDS, context.seconds * context.rounds)
            seconds = _repeat_reads(server, path, duration)
            case = f"{title} while {FILTERING_CLIENTS} filters read {items:,} items"
            yield compare_with_maximum(case, median(seconds), MAX_MEDIAN_SECONDS, format_duration)
        report_progress(f"{len(statuses):,} filters returned a response")


def _repeat_reads(server: BenchmarkedServer, path: str, seconds: float) -> list[float]:
    """Send a GET request repeatedly for ``seconds`` and return the durations in seconds.

    Raises ``BenchmarkError`` unless every response is 200.
    """
    durations: list[float] = []
    until = time.monotonic() + seconds
    with server.open_client() as client:
        while time.monotonic() < until or not durations:
            durations.append(client.get(path).seconds)
    return durations


@contextmanager
def _run_slow_filter_clients(server: BenchmarkedServer) -> Iterator[list[int]]:
    """Let 16 clients send requests with slow filters during a ``with`` block.

    Yields the list to which the statuses of the responses are added.
    """
    statuses: list[int] = []
    should_stop = Event()

    def send_filters() -> None:
        with server.open_client() as client:
            while not should_stop.is_set():
                statuses.append(client.get(FILTER_PATH, expected_status=None).status)

    def run_client() -> None:
        while not should_stop.is_set():
            with suppress(BenchmarkError):  # 503 with Retry-After: half of the pool is in use
                send_filters()

    with ThreadPoolExecutor(FILTERING_CLIENTS) as pool:
        futures: list[Future[None]] = [pool.submit(run_client) for _ in range(FILTERING_CLIENTS)]
        try:
            yield statuses
        finally:
            should_stop.set()
    for future in futures:
        future.result()
