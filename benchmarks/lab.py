"""The environment of one run: databases with data, servers, and interleaved measurements."""

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
from .postgres import Postgres, autovacuum
from .processes import Server, case_server, limit_server

Measured = TypeVar("Measured")

PREFIX = "/case/1.1"
"""Path prefix of the measured API profile, the platform profile."""

SEED, SMALL = "one", "small"
"""Seeds of the framework that most cases read, and of a small one in the same database."""

FULL_ITEMS, QUICK_ITEMS = 15_000, 750


@dataclass(frozen=True)
class Sizes:
    """Amounts of data, all proportional to the number of items of one framework."""

    items: int = FULL_ITEMS

    @property
    def many(self) -> int:
        """Number of items in the database with many frameworks: 200,000 in a full run."""
        return self.items * 200_000 // FULL_ITEMS

    @property
    def million(self) -> int:
        """Number of items in the database for filters: 1,000,000 in a full run."""
        return self.items * 1_000_000 // FULL_ITEMS

    @property
    def documents(self) -> int:
        """Number of documents of the many items: 1,000 in a full run."""
        return min(1000, self.many)


@dataclass
class Lab:
    """The databases, servers and settings of one run."""

    folder: Path
    postgres: Postgres
    sizes: Sizes
    rounds: int
    seconds: float
    """Duration of one round of load."""
    filled: set[str] = field(default_factory=set)
    """Names of the databases whose data is complete."""

    def log(self) -> Path:
        """Return the file for the error output of servers."""
        return self.folder / "servers.log"

    @contextmanager
    def serve(self, database: str, *arguments: str) -> Iterator[Server]:
        """Run case-server on a database of this run."""
        url = self.postgres.database(database)
        with case_server(self.log(), *arguments, CASE_SERVER_DATABASE_URL=url) as server:
            yield server

    @contextmanager
    def limit(self, database: str) -> Iterator[str]:
        """Run the bare application on a database of this run, and yield its base URL."""
        with limit_server(self.log(), self.postgres.database(database), self.constants()) as url:
            yield url

    def constants(self) -> Path:
        """Return the folder of files that the bare application serves unchanged."""
        folder = self.folder / "constants"
        folder.mkdir(exist_ok=True)
        return folder

    def framework(self) -> str:
        """Return a database with a large and a small framework, uploaded through the API."""
        name = "framework"
        if self._must_fill(name):
            report_progress(f"uploading a framework of {self.sizes.items:,} items")
            with self.serve(name) as server, Client(server.base_url, server.headers) as client:
                for seed, items in ((SMALL, 20), (SEED, self.sizes.items)):
                    post(client, data.packed(items, seed))
            autovacuum(self.postgres.databases[name])
            self.filled.add(name)
        return name

    def many(self) -> str:
        """Return a database with many frameworks."""
        name = "many"
        if self._must_fill(name):
            report_progress(
                f"loading {self.sizes.many:,} items in {self.sizes.documents:,} documents"
            )
            url = self.postgres.database(name)
            bulk_load.load(url, self.sizes.documents, self.sizes.many, "many")
            self.filled.add(name)
        return name

    def _must_fill(self, name: str) -> bool:
        """Return whether a database has to be filled, after dropping an incomplete one."""
        if name in self.filled:
            return False
        self.postgres.drop(name)
        return True

    def interleaved(
        self, *measures: Callable[[], Measured], times: int = 1
    ) -> list[list[Measured]]:
        """Return the results of each measure, taken in turn.

        Interleaving spreads changes in the speed of the machine over all measures.
        """
        results: list[list[Measured]] = [[] for _ in measures]
        for _ in range(self.rounds * times):
            for values, measure in zip(results, measures, strict=True):
                values.append(measure())
        return results

    def rates(self, *loads: wrk.Requests) -> list[list[float]]:
        """Return requests per second of several loads, in interleaved rounds after a warm-up."""
        for load in loads:
            wrk.run(load, 1)
        return self.interleaved(
            *((lambda load=load: wrk.run(load, self.seconds).rate) for load in loads)
        )


def report_progress(message: str) -> None:
    """Print what is being done to stderr."""
    click.echo(f"  {message}", err=True)


def timed(work: Callable[[], object]) -> float:
    """Return the duration of a call in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run_under_work(load: Callable[[], wrk.Load], work: Callable[[], object]) -> wrk.Load:
    """Return the result of a load during which ``work`` is repeated."""
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(load)
        while not future.done():
            work()
        return future.result()


def items_of(seed: str, count: int) -> list[str]:
    """Return the identifiers of the first items of a framework."""
    return [data.identifier_of(seed, f"item/{index}") for index in range(count)]


def reads(server: Server, paths: list[str]) -> wrk.Requests:
    """Return GET requests of the measured API profile."""
    return wrk.Requests(server.base_url, [f"{PREFIX}{path}" for path in paths], server.headers)


def post(client: Client, package: bytes) -> float:
    """Upload a new framework and return the duration in seconds."""
    return client.send("POST", f"{PREFIX}/CFPackages", package, status=201).seconds


def package_path(seed: str) -> str:
    """Return the path of the package of a framework."""
    return f"{PREFIX}/CFPackages/{data.identifier_of(seed, 'document')}"


def touch(client: Client) -> None:
    """Change one item of the framework, so that no cached response of it is current."""
    (body,) = data.stored_items(SEED, range(1, 2))
    body["notes"] = f"changed at {time.time_ns()}"
    raw = orjson.dumps({"item": body})
    client.put(f"{PREFIX}/CFItems/{body['identifier']}", raw, status=201)
