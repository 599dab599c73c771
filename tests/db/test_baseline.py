"""What was kept of a database and gone back to: every row of every table, and every number."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from anyio import to_thread
from support import factories

from case_server.case.package import parse_package
from case_server.case.resources import DOCUMENTS, ITEMS
from case_server.db.pool import Database
from case_server.db.postgres import alembic_runner, baseline, clones
from case_server.db.schema import tables
from case_server.db.write import soft_delete
from case_server.db.write.package import write_package
from case_server.db.write.purge import purge
from case_server.settings import Settings

State = dict[str, list[Any]]

BODY = factories.everything()
BODY["CFDocument"]["subjectURI"] = BODY["CFItems"][0]["subjectURI"]
ANEW = {"feed_history", "revision_marks"}
"""What says that the store went back; else the same."""

CLIENTS = (
    "INSERT INTO clients (identifier, scopes) VALUES ('one', '{a}'), ('two', '{}')",
    "INSERT INTO client_secrets (hash, client_identifier) VALUES ('x', 'one'), ('y', 'two')",
    "INSERT INTO signing_keys (kid, private_pem) VALUES ('kept', 'pem')",
    "INSERT INTO mirrors VALUES ('u', NULL, 'd', NULL, NULL, 'h', 1, now())",
    "INSERT INTO revisions VALUES ('counted', 3, now())",
    "INSERT INTO revoked_tokens VALUES ('jti', now() + interval '1 hour')",
)


@pytest.fixture(scope="module")
async def store(
    empty_database: Callable[[str], Awaitable[str]], settings: Settings
) -> AsyncIterator[Database]:
    """A database with something in every table, kept."""
    url = await empty_database("kept")
    await to_thread.run_sync(alembic_runner.migrate, url)
    async with Database.open(url, settings) as database:
        await upload(database, BODY)
        await upload(database, factories.package())
        async with database.connection() as connection:
            for statement in CLIENTS:
                await connection.execute(statement)
        await baseline.save_baseline(database)
        yield database


async def upload(database: Database, body: factories.Body) -> None:
    await write_package(database, parse_package(json.dumps(body).encode()))


async def state(database: Database) -> State:
    """All rows of all tables in the order of their text, and where the sequences are."""
    async with database.connection() as connection:
        found: State = {
            name: [row[0] for row in await connection.fetch(f"SELECT t::text FROM {name} t")]
            for name in tables.metadata.tables
        }
        names = await connection.fetch("SELECT sequencename FROM pg_sequences ORDER BY 1")
        for (name,) in names:
            row = await connection.fetchrow(f"SELECT last_value, is_called FROM {name}")
            found[f"sequence {name}"] = list(row or ())
    return {name: sorted(rows) for name, rows in found.items()}


async def differing(database: Database, before: State) -> dict[str, Any]:
    """What is not as it was, but for what says that the store went back."""
    now = await state(database)
    return {name: now[name] for name in before.keys() - ANEW if now[name] != before[name]}


async def writes(database: Database) -> None:
    """What a test does: new, changed, replaced, deleted, and gone for good."""
    changed = json.loads(json.dumps(BODY))
    document = changed["CFDocument"]["identifier"]
    changed["CFDocument"]["title"] = "another"
    changed["CFItems"][0]["fullStatement"] = "another"
    changed["CFRubrics"] = [factories.rubric()]
    changed["CFDefinitions"]["CFSubjects"].append(factories.subject("new"))
    # Another association says now what the kept one said.
    changed["CFAssociations"][0]["identifier"] = factories.new_id()
    await upload(database, changed)
    await upload(database, factories.everything())
    await soft_delete.delete(database, ITEMS, changed["CFItems"][1]["identifier"])
    await soft_delete.delete(database, DOCUMENTS, document)
    async with database.connection() as connection:
        await connection.execute("UPDATE documents SET deleted_at = now() - interval '1 year'")
        await connection.execute("UPDATE clients SET scopes = '{b}' WHERE identifier = 'one'")
        await connection.execute("INSERT INTO clients (identifier, scopes) VALUES ('three', '{}')")
    await purge(database, datetime.now(UTC))


async def emptying(database: Database) -> None:
    await clones.truncate_all(database)
    async with database.connection() as connection:
        for name in ("clients", "signing_keys"):
            await connection.execute(f"DELETE FROM {name}")


async def changing_bodies(database: Database) -> None:
    async with database.connection() as connection:
        for name, table in tables.metadata.tables.items():
            if "body" in table.c:
                await connection.execute(f"UPDATE {name} SET body = (body::text || ' ')::json")


async def changing_columns(database: Database) -> None:
    async with database.connection() as connection:
        for name, table in tables.metadata.tables.items():
            if "ordinal" in table.c:
                await connection.execute(f"UPDATE {name} SET ordinal = ordinal + 7")
        await connection.execute("UPDATE packages SET identifier = identifier || 'x'")
        await connection.execute("UPDATE revisions SET version = version + 1")


async def nothing(_: Database) -> None:
    pass


@pytest.mark.parametrize("spoil", [writes, emptying, changing_bodies, changing_columns, nothing])
async def test_everything_is_as_it_was(
    store: Database, spoil: Callable[[Database], Awaitable[None]]
) -> None:
    await baseline.restore_baseline(store)
    before = await state(store)
    assert all(before.values()), [name for name, rows in before.items() if not rows]
    for _ in range(2):
        await spoil(store)
        assert await differing(store, before) or spoil is nothing
        await baseline.restore_baseline(store)
        assert not await differing(store, before)
        after = await state(store)
        assert len(after["feed_history"]) == 1
        assert after["feed_history"] != before["feed_history"]


async def test_all_packages_are_said_to_be_changed(store: Database) -> None:
    """Of the marks there were, each as often as it was, and one more."""
    async with store.connection() as connection:
        await connection.execute("INSERT INTO revision_marks VALUES ('/', now()), ('/', now())")
    await baseline.save_baseline(store)
    before = (await state(store))["revision_marks"]
    assert len(set(before)) < len(before)
    await emptying(store)
    for _ in range(2):
        await baseline.restore_baseline(store)
        after = (await state(store))["revision_marks"]
        (added,) = [mark for mark in after if mark not in before]
        assert added.startswith('("",')
        assert sorted(after) == sorted([*before, added])


async def test_what_is_written_next_is_numbered_as_it_would_have_been(store: Database) -> None:
    body = factories.everything()
    found = []
    for _ in range(2):
        await baseline.restore_baseline(store)
        await upload(store, body)
        async with store.connection() as connection:
            rows = await connection.fetch("SELECT sequence, kind FROM changes")
        found.append(sorted(tuple(row) for row in rows))
    await baseline.restore_baseline(store)
    assert found[0] == found[1]


async def test_what_is_kept_anew_is_what_is_gone_back_to(store: Database) -> None:
    before = await state(store)
    await upload(store, factories.package())
    await baseline.save_baseline(store)
    written = await state(store)
    assert len(written["documents"]) == len(before["documents"]) + 1
    await emptying(store)
    await baseline.restore_baseline(store)
    assert (await state(store))["documents"] == written["documents"]


async def test_references_are_still_checked_at_once(store: Database) -> None:
    """Going back checks them at its end; whoever else writes sees no difference."""
    async with store.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        with pytest.raises(Exception, match="violates foreign key"):
            await connection.execute("DELETE FROM subjects")
        await transaction.rollback()
