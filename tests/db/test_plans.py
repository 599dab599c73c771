"""Plans: hot statements are not planned again and again, and lists parse no bodies."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from support import factories
from support.databases import MigratedDatabase
from support.packages import store_package

from case_server.case.model import CFAssociation, CFItem, CFItemType, CFPckgDocument
from case_server.case.resources import RESOURCES
from case_server.db.pool import Database
from case_server.db.read import entities
from case_server.db.read.lists import frameworks
from case_server.db.read.package import open_framework_snapshot
from case_server.db.read.revisions import RevisionCache
from case_server.db.read.visibility import compile_entity_query
from case_server.db.statement import CompiledStatement
from case_server.db.write import entities as store
from case_server.settings import Settings

EXECUTIONS = 8

CUSTOM_PLANS = 5
"""Number of executions of a prepared statement that Postgres plans for their values in any case."""

PLANS = CompiledStatement(
    text("""
    SELECT statement, custom_plans, generic_plans FROM pg_prepared_statements
    WHERE custom_plans + generic_plans >= 8 AND statement NOT LIKE '%pg_advisory%'""")
)


def framework(items: int) -> factories.Body:
    """Return a package whose items are all children of the first."""
    package = factories.package()
    parent = package["CFItems"][0]["identifier"]
    children = [factories.packed_item(humanCodingScheme=f"A.{number}") for number in range(items)]
    package["CFItems"] += children
    package["CFAssociations"] += [
        factories.association(child["identifier"], parent) for child in children
    ]
    return package


@pytest.fixture
async def database(
    settings: Settings, migrated_database: MigratedDatabase
) -> AsyncIterator[Database]:
    """A pool of one connection to a database of its own, whose statistics no other test changes."""
    url = await asyncio.to_thread(migrated_database, "plans")
    changed = settings.model_copy(update={"database_url": url, "pool_size": 1})
    async with Database.open(url, changed) as database:
        yield database


@pytest.mark.parametrize("analyzed", ["", "items, associations", "documents, packages"])
async def test_hot_statements_have_generic_plans_whatever_is_analyzed(
    database: Database, analyzed: str
) -> None:
    await store_package(database, framework(20))
    if analyzed:
        # As autovacuum does: while the tables are small, and never those of few rows.
        async with database.connection() as connection:
            await connection.execute(f"ANALYZE {analyzed}")
    body = framework(1000)
    await store_package(database, body)
    root, items = body["CFDocument"]["identifier"], body["CFItems"]
    revisions = RevisionCache(database)
    for number in range(EXECUTIONS):
        item, parent = items[number + 1], items[0]["identifier"]
        await store.put_document(
            database,
            CFPckgDocument.model_validate(factories.document(root, title=f"edition {number}")),
        )
        put_item = factories.item(root, item["identifier"], notes=f"note {number}")
        await store.put_item(database, CFItem.model_validate(put_item))
        item_type = factories.item_type(title=f"type {number}")
        await store.put_item_type(database, CFItemType.model_validate(item_type))
        association = factories.association(item["identifier"], root)
        await store.put_association(database, CFAssociation.model_validate(association))
        for limit in (2, 251):
            await entities.get_item_with_associations(database, item["identifier"], limit)
        async for _ in entities.iter_association_batches(database, parent, 250):
            pass
        for resource in RESOURCES:
            await database.fetch_all(compile_entity_query(resource), identifier=item["identifier"])
        await entities.fetch_node_details(database, [item["identifier"], parent])
        # The full query, because the document was written, and then the counters alone.
        for _ in range(2):
            await revisions.get_current_revision(root)
        async with open_framework_snapshot(database, root) as snapshot:
            await snapshot.find_node_collections({parent, root})
        await store.delete_association(database, association["identifier"])
    rows = await database.fetch_all(PLANS)
    planned_again = [row["statement"] for row in rows if row["custom_plans"] > CUSTOM_PLANS]
    assert not planned_again
    assert len(rows) >= len(RESOURCES) + 10


async def test_list_of_frameworks_parses_no_bodies(database: Database) -> None:
    statement = frameworks._compile_frameworks()
    values = statement.bind({"contains": "a", "limit": 50, "offset": 0})
    async with database.connection() as connection:
        plan = await connection.fetch(f"EXPLAIN (VERBOSE) {statement.sql}", *values)
    assert "->>" not in "\n".join(line for (line,) in plan)
