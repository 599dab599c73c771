"""The trigram index is created if possible, or by a later migration."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import make_url
from support.databases import Connection, EmptyDatabase, open_connection
from support.live_server import run_command

from case_server.db.postgres import alembic_runner
from case_server.db.schema import trigrams, version
from case_server.db.schema.tables import items
from case_server.query.fields import FieldType, QueryableField


@pytest.fixture
async def unprivileged(empty_database: EmptyDatabase) -> AsyncIterator[tuple[Connection, str]]:
    """Yield a superuser's connection to a database, and its URL for an unprivileged role."""
    url = await empty_database("unprivileged")
    async with open_connection(url) as connection:
        name = await connection.fetchval("SELECT current_database() || '_role'")
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        await connection.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
        own_url = make_url(url).set(username=name, password="secret")
        yield connection, own_url.render_as_string(hide_password=False)
        await connection.execute(f"DROP OWNED BY {name} CASCADE")
        await connection.execute(f"DROP ROLE {name}")


async def has_index(connection: Connection) -> bool:
    return await connection.fetchval("SELECT to_regclass($1)", trigrams.INDEX_NAME) is not None


async def test_migration_creates_the_index(empty_database: EmptyDatabase) -> None:
    url = await empty_database("words")
    await asyncio.to_thread(alembic_runner.migrate, url)
    async with open_connection(url) as connection:
        assert await has_index(connection)
    await asyncio.to_thread(command.check, alembic_runner.build_alembic_config(url))


async def test_index_is_created_once_the_extension_is_installed(
    unprivileged: tuple[Connection, str], tmp_path: Path
) -> None:
    connection, url = unprivileged
    process = await asyncio.to_thread(
        run_command, "migrate", "--database-url", url, data_dir=tmp_path
    )
    assert process.returncode == 0, process.stderr
    assert "CREATE EXTENSION pg_trgm" in process.stderr
    assert await version.get_schema_version(connection) == version.get_required_schema_version()
    assert not await has_index(connection)
    await asyncio.to_thread(command.check, alembic_runner.build_alembic_config(url))
    await connection.execute("CREATE EXTENSION pg_trgm")
    process = await asyncio.to_thread(
        run_command, "migrate", "--database-url", url, data_dir=tmp_path
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert await has_index(connection)


async def test_downgrade_drops_the_index(empty_database: EmptyDatabase) -> None:
    url = await empty_database("unlisted")
    await asyncio.to_thread(alembic_runner.migrate, url)
    older = "2026_11_21_changes_feed"
    await asyncio.to_thread(command.downgrade, alembic_runner.build_alembic_config(url), older)
    async with open_connection(url) as connection:
        assert not await has_index(connection)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("law", True), ("a-law", True), ("ław", True), ("la", False), ("la w", False), ("%%%", False)],
)
def test_pattern_is_used_only_for_text_with_a_trigram(text: str, *, expected: bool) -> None:
    statement = QueryableField(("fullStatement",), FieldType.STRING)
    assert trigrams.should_use_like(items, statement, text) is expected
    assert trigrams.should_use_like(items, QueryableField(("notes",), FieldType.STRING), text)
