"""A connection pooler in transaction mode changes nothing but the number of round trips."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, text
from support import factories
from support.databases import SELECT_ADVISORY_LOCKS, EmptyDatabase, MigratedDatabase
from support.live_server import run_command, run_live_server
from support.pgbouncer import has_prepared_statements, run_pgbouncer

from case_server.database_url import parse_database_url
from case_server.db.connector import connect
from case_server.db.pool import Database
from case_server.db.postgres.ensure_schema import ensure_schema
from case_server.db.statement import CompiledStatement
from case_server.settings import Settings

if TYPE_CHECKING:
    from case_server.db.connector import Connection

PREFIX = "/case/1.1"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(postgres: str, migrated_database: MigratedDatabase, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database through PgBouncer, without a hint that it pools."""
    direct = make_url(migrated_database("pooler"))
    with run_pgbouncer(postgres, tmp_path, "transaction") as port:
        yield direct.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


@pytest.fixture
def detected_url(url: str) -> str:
    """The same URL, with what commands detect about the pooler when they start."""
    return ensure_schema(url, may_migrate=False, is_migration_requested=False)


def test_pooler_is_detected(url: str, detected_url: str) -> None:
    assert parse_database_url(detected_url).is_pooled
    assert parse_database_url(f"{url}?pgbouncer=false").is_pooled is False


async def test_statements_are_prepared_if_pooler_can(detected_url: str, settings: Settings) -> None:
    statement = CompiledStatement(text("SELECT name FROM pg_prepared_statements"))
    async with Database.open(detected_url, settings) as database:
        for _ in range(2):
            # All connections of the pooler to Postgres are used, by each client in another order.
            prepared = await asyncio.gather(*(database.fetch_all(statement) for _ in range(4)))
    assert parse_database_url(detected_url).can_use_prepared_statements == has_prepared_statements()
    assert all(bool(names) == has_prepared_statements() for names in prepared)


async def test_transactions_have_the_settings_of_sessions(url: str, settings: Settings) -> None:
    seen: list[tuple[str, str]] = []

    async def write(connection: Connection) -> None:
        names = ("transaction_isolation", "lock_timeout")
        values = [await connection.fetchval(f"SHOW {name}") for name in names]
        seen.append((values[0], values[1]))

    async with Database.open(parse_database_url(url).with_pooler_parameter(), settings) as database:
        await database.run_write_with_retry(write, "a name")
        await database.run_write_with_retry(write, "a name", isolation="read_committed")
        async with database.open_snapshot() as connection:
            assert await connection.fetchval("SHOW transaction_isolation") == "repeatable read"
    assert seen == [("repeatable read", "10s"), ("read committed", "10s")]
    # Nothing stays behind in the sessions that other clients of the pooler use.
    other = await connect(parse_database_url(url).with_pooler_parameter())
    async with other.transaction():
        assert await other.fetchval("SHOW default_transaction_isolation") == "read committed"
        assert await other.fetchval("SHOW lock_timeout") == "0"
    await other.close()


async def test_conflicting_writes_behind_a_pooler_all_succeed(url: str, settings: Settings) -> None:
    insert = CompiledStatement(text("INSERT INTO revisions VALUES ('pooler', 0, now())"))
    count = "UPDATE revisions SET version = version + 1 WHERE scope = 'pooler'"

    async def write(connection: Connection) -> None:
        await connection.execute(count)
        await asyncio.sleep(0.01)

    async with Database.open(parse_database_url(url).with_pooler_parameter(), settings) as database:
        await database.run_write_with_retry(insert.execute, "pooler")
        await asyncio.gather(*(database.run_write_with_retry(write, "pooler") for _ in range(40)))
        async with database.connection() as connection:
            version = await connection.fetchval(
                "SELECT version FROM revisions WHERE scope = 'pooler'"
            )
            locks = await connection.fetch(SELECT_ADVISORY_LOCKS)
    assert version == 40
    assert not locks


def test_server_behind_a_pooler_stores_and_returns_packages(url: str, tmp_path: Path) -> None:
    with (
        run_live_server(tmp_path / "server", settings={"CASE_SERVER_DATABASE_URL": url}) as live,
        live.client() as http,
    ):
        body = factories.package()
        assert http.post(f"{PREFIX}/CFPackages", json=body).status_code == 201
        path = f"{PREFIX}/CFPackages/{body['CFDocument']['identifier']}"
        assert http.get(path).json()["CFItems"]
        assert http.put(path, json=body).status_code == 200


async def test_migration_needs_a_direct_url(
    url: str, postgres: str, tmp_path: Path, empty_database: EmptyDatabase
) -> None:
    direct = await empty_database("unmigrated")
    parts = make_url(url)
    pooled = make_url(direct).set(host=parts.host, port=parts.port)
    variables = {"CASE_SERVER_DATABASE_URL": pooled.render_as_string(hide_password=False)}
    result = await asyncio.to_thread(
        run_command, "migrate", data_dir=tmp_path / "data", **variables
    )
    assert result.returncode == 1
    assert "CASE_SERVER_MIGRATION_URL" in result.stderr
    variables["CASE_SERVER_MIGRATION_URL"] = direct
    migrated = await asyncio.to_thread(
        run_command, "migrate", data_dir=tmp_path / "data", **variables
    )
    assert migrated.returncode == 0


def test_refused_startup_parameter_is_named(url: str, tmp_path: Path) -> None:
    variables = {"CASE_SERVER_DATABASE_URL": f"{url}?options=-cwork_mem%3D9MB"}
    result = run_command("migrate", data_dir=tmp_path / "data", **variables)
    assert result.returncode == 1
    assert "refuses the parameter 'options'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_api_and_auth_tests_pass_through_a_pooler() -> None:
    command = (sys.executable, "-m", "pytest", "-q", "-x", "tests/api", "tests/auth")
    # Not as a process of this run, with which it would share a Postgres server and its databases.
    own = {name: value for name, value in os.environ.items() if "PYTEST_XDIST" not in name}
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=own | {"TEST_POOL_MODE": "transaction"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:]
