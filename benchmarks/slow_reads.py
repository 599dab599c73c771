"""How long a single item takes while many slow filters read all items."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from statistics import median
from threading import Event
from urllib.parse import quote

from . import data, loading
from .client import Client
from .errors import BenchmarkError
from .lab import FULL_ITEMS, PREFIX, Lab, say
from .processes import Server
from .results import Row, below, duration

NAME = "slow"
ITEMS = 100_000
"""Items of a full run."""

FILTERING_CLIENTS = 16
MAX_MEDIAN_SECONDS = 1.0
MIN_SECONDS = 5.0

PREDICATES = quote(" OR ".join(f"notes~'no item says {number}'" for number in range(50)))
FILTER_PATH = f"/ims/case/v1p1/CFItems?filter={PREDICATES}"


def slow_reads(lab: Lab) -> Iterator[Row]:
    """GET CFItem and /ready while 16 filters of 50 predicates run: under a second at the median."""
    items = lab.sizes.items * ITEMS // FULL_ITEMS
    say(f"loading {items:,} items")
    loading.load(lab.postgres.database(NAME), 1, items, NAME)
    identifier = data.node_of(f"{NAME}0", items // 2).identifier
    paths = {"GET CFItem": f"{PREFIX}/CFItems/{identifier}", "/ready": "/ready"}
    with lab.serve(NAME) as server:
        _timed(server, paths["GET CFItem"], 1)  # the server has connected, as one in use has
        yield from _beside_filters(lab, server, paths, items)
    lab.postgres.drop(NAME)


def _beside_filters(lab: Lab, server: Server, paths: dict[str, str], items: int) -> Iterator[Row]:
    with _filtering(server) as answered:
        for title, path in paths.items():
            say(f"{title} beside {FILTERING_CLIENTS} filters")
            seconds = _timed(server, path, max(MIN_SECONDS, lab.seconds * lab.rounds))
            case = f"{title} while {FILTERING_CLIENTS} filters read {items:,} items"
            yield below(case, median(seconds), MAX_MEDIAN_SECONDS, duration)
        say(f"{len(answered):,} filters were answered in time")


def _timed(server: Server, path: str, length: float) -> list[float]:
    """Return the seconds of requests, which must all be answered 200."""
    seconds: list[float] = []
    until = time.monotonic() + length
    with Client(server.base_url, server.headers) as client:
        while time.monotonic() < until or not seconds:
            seconds.append(client.get(path).seconds)
    return seconds


@contextmanager
def _filtering(server: Server) -> Iterator[list[int]]:
    """Keep sixteen clients filtering; yields the statuses of their answers."""
    statuses: list[int] = []
    is_over = Event()

    def work() -> None:
        with Client(server.base_url, server.headers) as client:
            while not is_over.is_set():
                statuses.append(client.get(FILTER_PATH, status=None).status)

    def work_on() -> None:
        while not is_over.is_set():
            with suppress(BenchmarkError):  # 503 with Retry-After: half of the pool is in use
                work()

    with ThreadPoolExecutor(FILTERING_CLIENTS) as pool:
        running: list[Future[None]] = [pool.submit(work_on) for _ in range(FILTERING_CLIENTS)]
        try:
            yield statuses
        finally:
            is_over.set()
    for one in running:
        one.result()
