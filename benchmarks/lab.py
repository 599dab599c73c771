"""The environment of a benchmark run: databases, servers and interleaved measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import click
import orjson

from . import bulk_load, data, wrk
from .client import Client
from .postgres import Postgres, vacuum_and_analyze
from .processes import BenchmarkedServer, run_bare_application, run_case_server

Measured = TypeVar("Measured")

PREFIX = "/case/1.1"
"""Path prefix of the measured API profile, the platform profile."""

SEED, SMALL = "one", "small"
"""Seeds of the framework that most cases read, and of a small one in the same database."""

FULL_ITEMS, QUICK_ITEMS = 15_000, 750


@dataclass(frozen=True)
class Sizes:
    """How much data a benchmark run uses, in proportion to ``items``, the items of a framework."""

    items: int = FULL_ITEMS

    @property
    def many(self) -> int:
        """The number of items in the database of many frameworks: 200,000 in a full run."""
        return self.items * 200_000 // FULL_ITEMS

    @property
    def million(self) -> int:
        """The number of items in the database for filters: 1,000,000 in a full run."""
        return self.items * 1_000_000 // FULL_ITEMS

    @property
    def documents(self) -> int:
        """The number of documents in the database of many frameworks: 1,000 in a full run."""
        return min(1000, self.many)


@dataclass
class Lab:
    """The databases, servers and settings of one benchmark run, which all cases share."""

    folder: Path
    postgres: Postgres
    sizes: Sizes
    rounds: int
    seconds: float
    """Duration of one round of load."""
    filled: set[str] = field(default_factory=set)
    """Names of the databases whose data is complete."""

    def get_log_file(self) -> Path:
        """Return the file to which the benchmarked servers write their error output."""
        return self.folder / "servers.log"

    @contextmanager
    def run_server(self, database: str, *arguments: str) -> Iterator[BenchmarkedServer]:
        """Run case-server on one of this run's databases for the duration of a ``with`` block.

        ``arguments`` are added to ``case-server serve``.
        """
        url = self.postgres.get_database_url(database)
        with run_case_server(
            self.get_log_file(), *arguments, CASE_SERVER_DATABASE_URL=url
        ) as server:
            yield server

    @contextmanager
    def run_bare_application(self, database: str) -> Iterator[str]:
        """Run the application of ``limits.py``, to compare with, on one of this run's databases.

        It has no authentication or validation. Yields its base URL.
        """
        with run_bare_application(
            self.get_log_file(),
            self.postgres.get_database_url(database),
            self.get_constants_folder(),
        ) as url:
            yield url

    def get_constants_folder(self) -> Path:
        """Return the folder of files that the application of ``limits.py`` serves unchanged."""
        folder = self.folder / "constants"
        folder.mkdir(exist_ok=True)
        return folder

    def get_framework_database(self) -> str:
        """Return the name of a database that contains one large and one small framework.

        They are uploaded through the API on first use.
        """
        name = "framework"
        if self._must_fill(name):
            report_progress(f"uploading a framework of {self.sizes.items:,} items")
            with self.run_server(name) as server, Client(server.base_url, server.headers) as client:
                for seed, items in ((SMALL, 20), (SEED, self.sizes.items)):
                    upload_package(client, data.generate_package_json(items, seed))
            vacuum_and_analyze(self.postgres.databases[name])
            self.filled.add(name)
        return name

    def get_many_frameworks_database(self) -> str:
        """Return the name of a database with up to 1,000 frameworks, filled on first use."""
        name = "many"
        if self._must_fill(name):
            report_progress(
                f"loading {self.sizes.many:,} items in {self.sizes.documents:,} documents"
            )
            url = self.postgres.get_database_url(name)
            bulk_load.insert_frameworks(url, self.sizes.documents, self.sizes.many, "many")
            self.filled.add(name)
        return name

    def _must_fill(self, name: str) -> bool:
        """Return whether a database still needs its data; drop it first if it is incomplete."""
        if name in self.filled:
            return False
        self.postgres.drop_database(name)
        return True

    def run_interleaved(
        self, *measures: Callable[[], Measured], times: int = 1
    ) -> list[list[Measured]]:
        """Call the ``measures`` in turn and return a list of results for each of them.

        Each is called ``times`` times per round. Taking turns spreads changes in the speed of the
        machine over all measurements.
        """
        results: list[list[Measured]] = [[] for _ in measures]
        for _ in range(self.rounds * times):
            for values, measure in zip(results, measures, strict=True):
                values.append(measure())
        return results

    def measure_rates(self, *loads: wrk.LoadRequests) -> list[list[float]]:
        """Send several wrk loads in turn, after a warm-up, and return their requests per second.

        There is a list for each load, with one value for each round.
        """
        for load in loads:
            wrk.run_wrk(load, 1)
        return self.run_interleaved(
            *((lambda load=load: wrk.run_wrk(load, self.seconds).rate) for load in loads)
        )


def report_progress(message: str) -> None:
    """Print a progress message to stderr."""
    click.echo(f"  {message}", err=True)


def measure_seconds(work: Callable[[], object]) -> float:
    """Call ``work`` and return how many seconds it took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run_load_during_work(
    load: Callable[[], wrk.LoadResult], work: Callable[[], object]
) -> wrk.LoadResult:
    """Run a wrk load while a thread repeats ``work``, and return the result of the load.

    It shows how much the work slows requests down.
    """
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(load)
        while not future.done():
            work()
        return future.result()


def list_item_identifiers(seed: str, count: int) -> list[str]:
    """Return the identifiers of the first ``count`` items of the framework with a given seed."""
    return [data.build_identifier(seed, f"item/{index}") for index in range(count)]


def build_read_requests(server: BenchmarkedServer, paths: list[str]) -> wrk.LoadRequests:
    """Build GET requests for wrk from paths below ``/case/1.1``, the standard's API profile."""
    return wrk.LoadRequests(server.base_url, [f"{PREFIX}{path}" for path in paths], server.headers)


def upload_package(client: Client, package: bytes) -> float:
    """Create a framework by uploading its package and return the duration in seconds."""
    return client.send("POST", f"{PREFIX}/CFPackages", package, status=201).seconds


def build_package_path(seed: str) -> str:
    """Return the URL path of the package of the framework with a given seed."""
    return f"{PREFIX}/CFPackages/{data.build_identifier(seed, 'document')}"


def change_one_item(client: Client) -> None:
    """Change one item of the large framework, so that its cached package becomes invalid."""
    (body,) = data.generate_stored_items(SEED, range(1, 2))
    body["notes"] = f"changed at {time.time_ns()}"
    raw = orjson.dumps({"item": body})
    client.put(f"{PREFIX}/CFItems/{body['identifier']}", raw, status=201)
