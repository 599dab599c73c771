"""Restoring a baseline brings back every row of every table and every sequence."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from anyio import to_thread
from support import factories
from support.databases import EmptyDatabase
from support.packages import store_package

from case_server.case.resources import DOCUMENTS, ITEMS
from case_server.db.pool import Database
from case_server.db.postgres import alembic_runner, baseline, clones
from case_server.db.schema import tables
from case_server.db.write import soft_delete
from case_server.db.write.purge import purge
from case_server.settings import Settings

State = dict[str, list[Any]]

BODY = factories.package_with_every_class()
BODY["CFDocument"]["subjectURI"] = BODY["CFItems"][0]["subjectURI"]
RESET_TABLES = {"feed_history", "revision_marks"}
"""Tables that a restore changes, so that followers of the change feed and caches notice it."""

CLIENTS = (
    "INSERT INTO clients (identifier, scopes) VALUES ('one', '{a}'), ('two', '{}')",
    "INSERT INTO client_secrets (hash, client_identifier) VALUES ('x', 'one'), ('y', 'two')",
    "INSERT INTO signing_keys (kid, private_pem) VALUES ('key', 'pem')",
    "INSERT INTO mirrors VALUES ('u', NULL, 'd', NULL, NULL, 'h', 1, now())",
    "INSERT INTO revisions VALUES ('counted', 3, now())",
    "INSERT INTO revoked_tokens VALUES ('jti', now() + interval '1 hour')",
)


@pytest.fixture(scope="module")
async def database(empty_database: EmptyDatabase, settings: Settings) -> AsyncIterator[Database]:
    """Yield a database with rows in every table and a baseline of them."""
    url = await empty_database("baseline")
    await to_thread.run_sync(alembic_runner.migrate, url)
    async with Database.open(url, settings) as database:
        await store_package(database, BODY)
        await store_package(database, factories.package())
        async with database.connection() as connection:
            for statement in CLIENTS:
                await connection.execute(statement)
        await baseline.save_baseline(database)
        yield database


async def state(database: Database) -> State:
    """Return all rows of all tables, sorted, and the values of the sequences."""
    async with database.connection() as connection:
        rows_by_table: State = {
            name: [row[0] for row in await connection.fetch(f"SELECT t::text FROM {name} t")]
            for name in tables.metadata.tables
        }
        names = await connection.fetch("SELECT sequencename FROM pg_sequences ORDER BY 1")
        for (name,) in names:
            row = await connection.fetchrow(f"SELECT last_value, is_called FROM {name}")
            rows_by_table[f"sequence {name}"] = list(row or ())
    return {name: sorted(rows) for name, rows in rows_by_table.items()}


async def changed_tables(database: Database, before: State) -> dict[str, Any]:
    """Return the tables whose rows differ from ``before``, except those that a restore changes."""
    now = await state(database)
    return {name: now[name] for name in before.keys() - RESET_TABLES if now[name] != before[name]}


async def write_everything(database: Database) -> None:
    """Create, change, replace, soft-delete and purge entities, as tests do."""
    changed = json.loads(json.dumps(BODY))
    document = changed["CFDocument"]["identifier"]
    changed["CFDocument"]["title"] = "another"
    changed["CFItems"][0]["fullStatement"] = "another"
    changed["CFRubrics"] = [factories.rubric()]
    changed["CFDefinitions"]["CFSubjects"].append(factories.subject("new"))
    # Another association has the triple of one in the baseline.
    changed["CFAssociations"][0]["identifier"] = factories.new_id()
    await store_package(database, changed)
    await store_package(database, factories.package_with_every_class())
    await soft_delete.delete_entity(database, ITEMS, changed["CFItems"][1]["identifier"])
    await soft_delete.delete_entity(database, DOCUMENTS, document)
    async with database.connection() as connection:
        await connection.execute("UPDATE documents SET deleted_at = now() - interval '1 year'")
        await connection.execute("UPDATE clients SET scopes = '{b}' WHERE identifier = 'one'")
        await connection.execute("INSERT INTO clients (identifier, scopes) VALUES ('three', '{}')")
    await purge(database, datetime.now(UTC))


async def delete_all(database: Database) -> None:
    await clones.delete_all_frameworks(database)
    async with database.connection() as connection:
        for name in ("clients", "signing_keys"):
            await connection.execute(f"DELETE FROM {name}")


async def change_bodies(database: Database) -> None:
    async with database.connection() as connection:
        for name, table in tables.metadata.tables.items():
            if "body" in table.c:
                await connection.execute(f"UPDATE {name} SET body = (body::text || ' ')::json")


async def change_columns(database: Database) -> None:
    async with database.connection() as connection:
        for name, table in tables.metadata.tables.items():
            if "ordinal" in table.c:
                await connection.execute(f"UPDATE {name} SET ordinal = ordinal + 7")
        await connection.execute("UPDATE packages SET identifier = identifier || 'x'")
        await connection.execute("UPDATE revisions SET version = version + 1")


async def change_nothing(_: Database) -> None:
    pass


@pytest.mark.parametrize(
    "change", [write_everything, delete_all, change_bodies, change_columns, change_nothing]
)
async def test_restore_undoes_all_changes(
    database: Database, change: Callable[[Database], Awaitable[None]]
) -> None:
    await baseline.restore_baseline(database)
    before = await state(database)
    assert all(before.values()), [name for name, rows in before.items() if not rows]
    for _ in range(2):
        await change(database)
        assert await changed_tables(database, before) or change is change_nothing
        await baseline.restore_baseline(database)
        assert not await changed_tables(database, before)
        after = await state(database)
        assert len(after["feed_history"]) == 1
        assert after["feed_history"] != before["feed_history"]


async def test_restore_marks_all_packages_as_changed(database: Database) -> None:
    """Restoring brings back all marks, duplicates included, and adds one."""
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO revision_marks VALUES ('/', now(), 1), ('/', now(), 1)"
        )
    await baseline.save_baseline(database)
    before = (await state(database))["revision_marks"]
    assert len(set(before)) < len(before)
    await delete_all(database)
    for _ in range(2):
        await baseline.restore_baseline(database)
        after = (await state(database))["revision_marks"]
        (added,) = [mark for mark in after if mark not in before]
        assert added.startswith('("",')
        assert sorted(after) == sorted([*before, added])


async def test_restore_resets_the_sequences(database: Database) -> None:
    body = factories.package_with_every_class()
    numbered = []
    for _ in range(2):
        await baseline.restore_baseline(database)
        await store_package(database, body)
        async with database.connection() as connection:
            rows = await connection.fetch("SELECT sequence, kind FROM changes")
        numbered.append(sorted(tuple(row) for row in rows))
    await baseline.restore_baseline(database)
    assert numbered[0] == numbered[1]


async def test_restore_uses_the_newest_baseline(database: Database) -> None:
    before = await state(database)
    await store_package(database, factories.package())
    await baseline.save_baseline(database)
    changed_state = await state(database)
    assert len(changed_state["documents"]) == len(before["documents"]) + 1
    await delete_all(database)
    await baseline.restore_baseline(database)
    assert (await state(database))["documents"] == changed_state["documents"]


async def test_foreign_keys_are_still_checked_after_each_statement(database: Database) -> None:
    """Only the transaction of a restore defers them."""
    async with database.connection() as connection:
        with pytest.raises(Exception, match="violates foreign key"):
            async with connection.transaction():
                await connection.execute("DELETE FROM subjects")
