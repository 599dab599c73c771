"""The environment of a benchmark run: databases, servers and interleaved measurements."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import orjson

from . import bulk_load, data, wrk
from .client import TimedClient
from .postgres import BenchmarkPostgres
from .processes import BenchmarkedServer, run_bare_application, run_case_server

Measured = TypeVar("Measured")

PREFIX = "/case/1.1"
"""Path prefix of the measured API profile, the platform profile."""

SEED, SMALL = "one", "small"
"""Seeds of the framework that most cases read, and of a small one in the same database."""

FULL_ITEMS, QUICK_ITEMS = 15_000, 750


@dataclass(frozen=True)
class BenchmarkSizes:
    """How much data a benchmark run uses; all sizes scale with the items of one framework."""

    item_count: int = FULL_ITEMS

    @property
    def many_item_count(self) -> int:
        """The number of items in all frameworks of the large database: 200,000 in a full run."""
        return self.item_count * 200_000 // FULL_ITEMS

    @property
    def filter_item_count(self) -> int:
        """The number of items in the database for filters: 1,000,000 in a full run."""
        return self.item_count * 1_000_000 // FULL_ITEMS

    @property
    def many_document_count(self) -> int:
        """The number of documents in the database with many frameworks: 1,000 in a full run."""
        return min(1000, self.many_item_count)


@dataclass
class BenchmarkContext:
    """The databases, servers and settings of one benchmark run, which all cases share."""

    folder: Path
    postgres: BenchmarkPostgres
    sizes: BenchmarkSizes
    rounds: int
    seconds: float
    """Duration of one round of load."""
    servers: ExitStack
    """Stops the servers that run until the end of the benchmark run."""
    filled: set[str] = field(default_factory=set)
    """Names of the databases whose data is complete."""
    first_server: BenchmarkedServer | None = None
    """A server that runs since the framework of most cases was uploaded, for ``measure_aging``."""
    upload_finished_at: float = 0.0
    """When that was, as ``time.monotonic()`` returns it."""

    def get_log_path(self) -> Path:
        """Return the path of the file to which the benchmarked servers write their stderr."""
        return self.folder / "servers.log"

    @contextmanager
    def run_server(self, database: str, *arguments: str) -> Iterator[BenchmarkedServer]:
        """Run case-server on one of this run's databases for the duration of a ``with`` block.

        Further arguments are added to ``case-server serve``.
        """
        url = self.postgres.ensure_database(database)
        with run_case_server(
            self.get_log_path(), *arguments, CASE_SERVER_DATABASE_URL=url
        ) as server:
            yield server

    @contextmanager
    def run_server_for_client(
        self, database: str, *arguments: str
    ) -> Iterator[tuple[BenchmarkedServer, TimedClient]]:
        """Run case-server as ``run_server`` does, and yield it with a client of it."""
        with self.run_server(database, *arguments) as server, server.open_client() as client:
            yield server, client

    @contextmanager
    def run_bare_application(self, database: str) -> Iterator[str]:
        """Run the bare application, the baseline, on one of this run's databases.

        The application has no authentication or validation. Yields its base URL.
        """
        database_url, static = self.postgres.ensure_database(database), self.get_static_folder()
        with run_bare_application(self.get_log_path(), database_url, static) as url:
            yield url

    def get_static_folder(self) -> Path:
        """Return the folder of static files that the bare application serves; create it."""
        folder = self.folder / "static"
        folder.mkdir(exist_ok=True)
        return folder

    def ensure_framework_database(self) -> str:
        """Return the name of a database with one large and one small framework.

        The frameworks are uploaded on first use; then ``first_server`` starts and is read.
        """
        name = "framework"
        if name not in self.filled:
            self.upload_frameworks(name)
            self.upload_finished_at = time.monotonic()
            self.first_server = self.servers.enter_context(self.run_server(name))
            count = min(self.sizes.item_count, 100)
            paths = [
                path
                for collection in ("/CFItems", "/CFItemAssociations")
                for path in list_item_paths(SEED, count, collection)
            ]
            wrk.run_wrk(build_wrk_requests(self.first_server, paths), 1)  # plans its statements
            self.filled.add(name)
        return name

    def upload_frameworks(self, database: str) -> None:
        """Upload a large and a small framework through the API to a new database.

        Nothing else is done, so that reads are measured as users have them after an import.
        """
        self.postgres.drop_database(database)  # it may be incomplete
        report_progress(f"uploading a framework of {self.sizes.item_count:,} items")
        with self.run_server_for_client(database) as (_, client):
            for seed, items in ((SMALL, 20), (SEED, self.sizes.item_count)):
                upload_package(client, data.generate_package_json(items, seed))

    def ensure_large_database(self) -> str:
        """Return the name of a database with 1,000 frameworks, which is filled on first use.

        A short run uses fewer frameworks.
        """
        name = "many"
        if name not in self.filled:
            self.postgres.drop_database(name)  # it may be incomplete
            documents, items = self.sizes.many_document_count, self.sizes.many_item_count
            report_progress(f"loading {items:,} items in {documents:,} documents")
            url = self.postgres.ensure_database(name)
            bulk_load.insert_frameworks(url, documents, items, "many")
            self.filled.add(name)
        return name

    def run_interleaved(
        self, *measures: Callable[[], Measured], times: int = 1
    ) -> list[list[Measured]]:
        """Call the given functions in turn and return a list of results for each function.

        Each function is called ``times`` times per round. They take turns, so that changes in the
        speed of the machine affect all of them.
        """
        results: list[list[Measured]] = [[] for _ in measures]
        for _ in range(self.rounds * times):
            for values, measure in zip(results, measures, strict=True):
                values.append(measure())
        return results

    def measure_rates(self, *loads: wrk.WrkRequests, times: int = 1) -> list[list[float]]:
        """Send the given wrk requests in turn, after a warm-up; measure their requests per second.

        Returns one list per argument, with ``times`` values for each round.
        """
        for load in loads:
            wrk.run_wrk(load, 1)
        measures = (partial(self.measure_rate, load) for load in loads)
        return self.run_interleaved(*measures, times=times)

    def measure_rate(self, load: wrk.WrkRequests) -> float:
        """Send wrk requests for one round, and return how many were sent per second."""
        return wrk.run_wrk(load, self.seconds).requests_per_second


def report_progress(message: str) -> None:
    """Print a progress message to stderr."""
    click.echo(f"  {message}", err=True)


def measure_seconds(work: Callable[[], object]) -> float:
    """Call ``work`` and return how many seconds it took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run_load_during_work(
    load: Callable[[], wrk.WrkResult], work: Callable[[], object]
) -> wrk.WrkResult:
    """Run a wrk load while a thread repeats ``work``, and return the result of the load.

    It shows how much the work slows requests down.
    """
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(load)
        while not future.done():
            work()
        return future.result()


def generate_item_identifiers(seed: str, count: int) -> list[str]:
    """Generate the identifiers of the first ``count`` items of the framework with a given seed."""
    return [data.build_uuid(seed, f"item/{index}") for index in range(count)]


def list_item_paths(seed: str, count: int, collection: str = "/CFItems") -> list[str]:
    """Return the paths below ``/case/1.1`` of the first items of a generated framework."""
    return [f"{collection}/{identifier}" for identifier in generate_item_identifiers(seed, count)]


def build_wrk_requests(server: BenchmarkedServer, paths: list[str]) -> wrk.WrkRequests:
    """Build GET requests for the load generator wrk from paths below ``/case/1.1``."""
    return wrk.WrkRequests(server.base_url, [f"{PREFIX}{path}" for path in paths], server.headers)


def upload_package(client: TimedClient, package: bytes) -> float:
    """Create a framework by uploading its package and return the duration in seconds."""
    return client.send("POST", f"{PREFIX}/CFPackages", package, expected_status=201).seconds


def build_package_path(seed: str) -> str:
    """Return the URL path of the package of a generated framework."""
    return f"{PREFIX}/CFPackages/{data.build_uuid(seed, 'document')}"


def change_one_item(client: TimedClient) -> None:
    """Change an item of the measured framework, so that the server's cached package is invalid."""
    (body,) = data.generate_stored_items(SEED, range(1, 2))
    body["notes"] = f"changed at {time.time_ns()}"
    raw = orjson.dumps({"item": body})
    client.put(f"{PREFIX}/CFItems/{body['identifier']}", raw, expected_status=201)
