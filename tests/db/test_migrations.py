"""The migrations build the schema that the tables describe, and can be undone."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from support.databases import SELECT_ADVISORY_LOCKS, EmptyDatabase, Execute, open_connection

from case_server.db.postgres import alembic_runner
from case_server.db.schema import tables, trigrams, version
from case_server.migrations import view_columns

ROOT = Path(__file__).parents[2]

CATALOGUE = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default,
               is_generated, generation_expression, is_identity
        FROM information_schema.columns JOIN information_schema.tables
            USING (table_catalog, table_schema, table_name)
        WHERE table_schema = 'public' AND table_type = 'BASE TABLE'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'""",
    "indexes": f"""
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND indexname <> '{trigrams.INDEX_NAME}'""",
    "statistics": "SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE proname = 'item_filter_keys'",
}
"""Queries for the parts of a schema that the tables describe; the trigram index is optional."""

VIEWS = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"
COMMENTS = """
    SELECT objoid::regclass::text, objsubid, description FROM pg_description
    JOIN pg_class ON pg_class.oid = objoid AND classoid = 'pg_class'::regclass
    WHERE relnamespace = 'public'::regnamespace"""


async def catalogue(url: str, **extra_queries: str) -> dict[str, set[tuple[Any, ...]]]:
    """Return everything that makes up a schema, apart from Alembic's own table."""
    async with open_connection(url) as connection:
        return {
            kind: {tuple(row) for row in await connection.fetch(sql) if row[0] != "alembic_version"}
            for kind, sql in (CATALOGUE | extra_queries).items()
        }


async def test_migrations_build_the_schema_of_the_tables(empty_database: EmptyDatabase) -> None:
    migrated, created = await empty_database("migrated"), await empty_database("created")
    await asyncio.to_thread(alembic_runner.migrate, migrated)
    engine = create_async_engine(make_url(created).set(drivername="postgresql+asyncpg"))
    async with engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
    await engine.dispose()
    migrated_schema, created_schema = await catalogue(migrated), await catalogue(created)
    for kind in CATALOGUE:
        assert migrated_schema[kind] == created_schema[kind]


def test_offline_mode_is_refused() -> None:
    config = alembic_runner.build_alembic_config("postgresql://localhost:1/unused")
    with pytest.raises(SystemExit, match="without --sql"):
        command.upgrade(config, "head", sql=True)


async def test_alembic_detects_no_differences(empty_database: EmptyDatabase) -> None:
    url = await empty_database("checked")
    await asyncio.to_thread(alembic_runner.migrate, url)
    await asyncio.to_thread(command.check, alembic_runner.build_alembic_config(url))


async def test_downgrade_removes_schema_and_migrate_rebuilds(empty_database: EmptyDatabase) -> None:
    url = await empty_database("undone")
    await asyncio.to_thread(alembic_runner.migrate, url)
    before = await catalogue(url, views=VIEWS, comments=COMMENTS)
    await asyncio.to_thread(command.downgrade, alembic_runner.build_alembic_config(url), "base")
    assert not any((await catalogue(url, views=VIEWS, comments=COMMENTS)).values())
    await asyncio.to_thread(alembic_runner.migrate, url)
    assert await catalogue(url, views=VIEWS, comments=COMMENTS) == before


EVERYONE_MAY_READ = "SELECT has_table_privilege('pg_monitor', 'cf_items', 'SELECT')"


async def test_view_column_is_added_with_grants_and_dropped(empty_database: EmptyDatabase) -> None:
    url = await empty_database("views")
    await asyncio.to_thread(alembic_runner.migrate, url)
    before = await catalogue(url, views=VIEWS, comments=COMMENTS)
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))

    async def run(function: Callable[..., None], *arguments: str) -> None:
        def run_in_migration(connection: Connection) -> None:
            with Operations.context(MigrationContext.configure(connection)):
                function(*arguments)

        async with engine.begin() as connection:
            await connection.run_sync(run_in_migration)

    async with open_connection(url) as connection:
        await connection.execute("GRANT SELECT ON cf_items TO pg_monitor")
        views = [str(name) for name, _ in before["views"]]
        assert len(views) > 10
        for view in views:
            await run(view_columns.add_view_column, view, "colour", "identifier::text || ':x'")
            columns = await connection.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
                " ORDER BY ordinal_position",
                view,
            )
            assert columns[-1][0] == "colour"
        assert await connection.fetchval(EVERYONE_MAY_READ)
        with pytest.raises(ValueError, match="extensions is not the last column of cf_items"):
            await run(view_columns.drop_view_column, "cf_items", "extensions")
        for view in views:
            await run(view_columns.drop_view_column, view, "colour")
        assert not await connection.fetchval(EVERYONE_MAY_READ)
        assert await catalogue(url, views=VIEWS, comments=COMMENTS) == before
    await engine.dispose()


@pytest.mark.parametrize("kind", ["empty", "generated"])
def test_new_revision_passes_ruff(tmp_path: Path, kind: str) -> None:
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    config = Config(tmp_path / "alembic.ini")
    script = ScriptDirectory.from_config(config)
    generated: dict[str, Any] = {
        "upgrades": "op.add_column('items', sa.Column('colour', sa.Text(), nullable=True, "
        "comment='A comment that makes the line longer than a hundred characters'))",
        "downgrades": "op.drop_column('items', 'colour')",
    }
    fields = generated if kind == "generated" else {}
    if kind == "empty":  # the template alone, without the fixes of ruff
        script.hooks.clear()
    revision = script.generate_revision("a" * 12, "add a colour", **fields)
    assert revision is not None
    file = Path(revision.path)
    for arguments in (("check",), ("format", "--check")):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", str(file)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + file.read_text()
    assert kind == "empty" or 'op.drop_column("items", "colour")' in file.read_text()


async def test_concurrent_migrations_run_once(empty_database: EmptyDatabase) -> None:
    url = await empty_database("raced")
    await asyncio.gather(*(asyncio.to_thread(run_migrate, url) for _ in range(2)))
    async with open_connection(url) as connection:
        assert await version.get_schema_version(connection) == version.get_required_schema_version()


def run_migrate(url: str) -> None:
    """Migrate in a new process, because Alembic's context is global."""
    code = f"from case_server.db.postgres import alembic_runner; alembic_runner.migrate({url!r})"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
async def test_migration_waits_for_another_beyond_its_lock_timeout(
    empty_database: EmptyDatabase,
) -> None:
    url = await empty_database("waiting")
    async with open_connection(url) as other:
        await other.execute("SELECT pg_advisory_lock(hashtext('case-server migrations'))")
        migration = asyncio.create_task(asyncio.to_thread(run_migrate, url))
        async with asyncio.timeout(60):
            while not await other.fetch(f"{SELECT_ADVISORY_LOCKS} AND NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.wait([migration], timeout=6)
        assert not migration.done()
    await migration
    async with open_connection(url) as connection:
        assert await version.get_schema_version(connection) == version.get_required_schema_version()


async def test_schema_version_is_none_before_and_required_after_migration(
    empty_database: EmptyDatabase,
) -> None:
    url = await empty_database("states")
    async with open_connection(url) as connection:
        assert await version.get_schema_version(connection) is None
        await asyncio.to_thread(alembic_runner.migrate, url)
        assert await version.get_schema_version(connection) == version.get_required_schema_version()
    assert version.is_known_revision(version.get_required_schema_version())
    assert not version.is_known_revision("2099_01_01_unknown")


INSERTS = {
    "items": """INSERT INTO items (body, last_change_date_time, document_identifier)
                VALUES ('{"identifier": "x"}', now(), 'missing')""",
    "item_subjects": "INSERT INTO item_subjects VALUES ('missing', 'missing')",
    "item_types": """INSERT INTO documents (body, last_change_date_time)
                     VALUES ('{"identifier": "x", "licenseURI": {"identifier": "y"}}', now())""",
}


@pytest.mark.parametrize("insert", INSERTS.values(), ids=INSERTS)
async def test_database_enforces_foreign_keys(execute: Execute, clean: None, insert: str) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await execute(insert)


async def test_database_enforces_unique_triples(execute: Execute, clean: None) -> None:
    body = """{"identifier": "%s", "associationType": "isChildOf",
               "originNodeURI": {"identifier": "a"}, "destinationNodeURI": {"identifier": "b"}}"""
    insert = "INSERT INTO associations (body, last_change_date_time) VALUES ($1, now())"
    await execute(insert, body % "one")
    with pytest.raises(asyncpg.UniqueViolationError):
        await execute(insert, body % "two")


RUBRICS = """
INSERT INTO documents (body, last_change_date_time) VALUES ('{"identifier": "d"}', now());
INSERT INTO rubrics (body, last_change_date_time, document_identifier, ordinal)
    OVERRIDING SYSTEM VALUE VALUES ('{"identifier": "r"}', now(), 'd', 70);
INSERT INTO rubric_criteria (body, rubric_identifier, ordinal) OVERRIDING SYSTEM VALUE
    VALUES ('{"identifier": "second"}', 'r', 75), ('{"identifier": "first"}', 'r', 71)"""
ASSOCIATION = """
INSERT INTO associations (body, last_change_date_time) VALUES ('{"identifier": "%s",
    "associationType": "isChildOf", "originNodeURI": {"identifier": "a"}%s}', now())"""


async def test_migration_to_not_null_triples_with_old_rows(empty_database: EmptyDatabase) -> None:
    url = await empty_database("filled")
    await asyncio.to_thread(alembic_runner.migrate, url)
    older = "2026_11_27_comments_and_views"
    await asyncio.to_thread(command.downgrade, alembic_runner.build_alembic_config(url), older)
    async with open_connection(url) as connection:
        await connection.execute(RUBRICS)
        await connection.execute(
            ASSOCIATION % ("whole", ', "destinationNodeURI": {"identifier": "b"}')
        )
        await connection.execute(ASSOCIATION % ("half", ""))
        with pytest.raises(RuntimeError, match="half; delete them"):
            await asyncio.to_thread(alembic_runner.migrate, url)
        await connection.execute("DELETE FROM associations WHERE identifier = 'half'")
        await asyncio.to_thread(alembic_runner.migrate, url)
        with pytest.raises(asyncpg.NotNullViolationError):
            await connection.execute(ASSOCIATION % ("half", ""))
        rows = await connection.fetch("SELECT identifier, ordinal FROM rubric_criteria ORDER BY 2")
        assert [tuple(row) for row in rows] == [("first", 0), ("second", 1)]
