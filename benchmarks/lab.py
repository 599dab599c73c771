"""Where cases are measured: this run's databases and what they hold, servers, and rounds."""

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

from . import data, loading, wrk
from .client import Client
from .postgres import Postgres, execute
from .processes import Server, case_server, limit_server

Measured = TypeVar("Measured")

PREFIX = "/case/1.1"
"""The profile that is measured: the platform's."""

SEED, SMALL = "one", "small"
"""What the framework that most cases read is made from, and a small one beside it."""

FULL_ITEMS, QUICK_ITEMS = 15_000, 750


@dataclass(frozen=True)
class Sizes:
    """How much there is to read; all of it grows with the items of one framework."""

    items: int = FULL_ITEMS

    @property
    def many(self) -> int:
        """Items of the server that holds many frameworks: 200,000 in full."""
        return self.items * 200_000 // FULL_ITEMS

    @property
    def million(self) -> int:
        """Items that are searched: 1,000,000 in full."""
        return self.items * 1_000_000 // FULL_ITEMS

    @property
    def documents(self) -> int:
        """Documents among which the many items are shared: 1,000 in full."""
        return min(1000, self.many)


@dataclass
class Lab:
    """What one run has."""

    folder: Path
    postgres: Postgres
    sizes: Sizes
    rounds: int
    seconds: float
    """How long one round of load lasts."""
    filled: set[str] = field(default_factory=set)
    """Databases that hold what they are for."""

    def log(self) -> Path:
        """Where servers write what goes wrong."""
        return self.folder / "servers.log"

    @contextmanager
    def serve(self, database: str, *arguments: str) -> Iterator[Server]:
        """The server over a database of this run."""
        url = self.postgres.database(database)
        with case_server(self.log(), *arguments, CASE_SERVER_DATABASE_URL=url) as server:
            yield server

    @contextmanager
    def limit(self, database: str) -> Iterator[str]:
        """The bare application over a database of this run."""
        with limit_server(self.log(), self.postgres.database(database), self.constants()) as url:
            yield url

    def constants(self) -> Path:
        """The folder of what the bare application answers as it is."""
        folder = self.folder / "constants"
        folder.mkdir(exist_ok=True)
        return folder

    def framework(self) -> str:
        """A database with one framework, and a small one, both uploaded as clients do."""
        name = "framework"
        if self._to_be_filled(name):
            say(f"uploading a framework of {self.sizes.items:,} items")
            with self.serve(name) as server, Client(server.base_url, server.headers) as client:
                for seed, items in ((SMALL, 20), (SEED, self.sizes.items)):
                    post(client, data.packed(items, seed))
            # As Postgres does by itself, but at a moment that nobody knows.
            execute(self.postgres.databases[name], "VACUUM ANALYZE")
            self.filled.add(name)
        return name

    def many(self) -> str:
        """A database with many frameworks."""
        name = "many"
        if self._to_be_filled(name):
            say(f"loading {self.sizes.many:,} items in {self.sizes.documents:,} documents")
            url = self.postgres.database(name)
            loading.load(url, self.sizes.documents, self.sizes.many, "many")
            self.filled.add(name)
        return name

    def _to_be_filled(self, name: str) -> bool:
        """Whether a database is not filled yet; one that was filled by half is gone."""
        if name in self.filled:
            return False
        self.postgres.drop(name)
        return True

    def interleaved(
        self, *measures: Callable[[], Measured], times: int = 1
    ) -> list[list[Measured]]:
        """What each measure found, in rounds: the machine's moods touch all of them alike."""
        found: list[list[Measured]] = [[] for _ in measures]
        for _ in range(self.rounds * times):
            for values, measure in zip(found, measures, strict=True):
                values.append(measure())
        return found

    def rates(self, *loads: wrk.Requests) -> list[list[float]]:
        """Requests a second of several loads, in interleaved rounds, once all are warm."""
        for load in loads:
            wrk.run(load, 1)
        return self.interleaved(
            *((lambda one=load: wrk.run(one, self.seconds).rate) for load in loads)
        )


def say(what: str) -> None:
    """Tell whoever waits what is being done."""
    click.echo(f"  {what}", err=True)


def timed(work: Callable[[], object]) -> float:
    """How many seconds something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def meanwhile(load: Callable[[], wrk.Load], work: Callable[[], object]) -> wrk.Load:
    """What a load sees while work is done over and over."""
    with ThreadPoolExecutor(1) as executor:
        seen = executor.submit(load)
        while not seen.done():
            work()
        return seen.result()


def items_of(seed: str, count: int) -> list[str]:
    """Identifiers of items all over a framework."""
    return [data.identifier_of(seed, f"item/{index}") for index in range(count)]


def reads(server: Server, paths: list[str]) -> wrk.Requests:
    """GETs of the measured profile."""
    return wrk.Requests(server.base_url, [f"{PREFIX}{path}" for path in paths], server.headers)


def post(client: Client, package: bytes) -> float:
    """Upload a new framework; the seconds it took."""
    return client.send("POST", f"{PREFIX}/CFPackages", package, status=201).seconds


def package_path(seed: str) -> str:
    """Where the package of a framework is."""
    return f"{PREFIX}/CFPackages/{data.identifier_of(seed, 'document')}"


def touch(client: Client) -> None:
    """Change one item of the framework, so that nothing remembered of it is true any more."""
    (body,) = data.stored_items(SEED, range(1, 2))
    body["notes"] = f"changed at {time.time_ns()}"
    raw = orjson.dumps({"item": body})
    client.put(f"{PREFIX}/CFItems/{body['identifier']}", raw, status=201)
