"""Stores that autovacuum has not analyzed yet: uploads update statistics, and reads are bounded."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import make_url
from support import factories
from support.databases import Execute
from support.packages import store_package

from case_server.db.pool import Database
from case_server.db.read import crosswalk, entities, tree
from case_server.db.statement import CompiledStatement
from case_server.settings import Settings

TABLES = ("items", "associations", "changes")


@pytest.fixture
async def truncated(clean: None, execute: Execute) -> None:
    """Remove the pages of deleted rows, of which ANALYZE would read only a sample."""
    await execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")


@pytest.fixture(autouse=True)
async def without_autovacuum(database: Database) -> AsyncIterator[None]:
    """Prevent autovacuum from analyzing the tables that uploads fill."""
    async with database.connection() as connection:
        for table in TABLES:
            await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    yield
    async with database.connection() as connection:
        for table in TABLES:
            await connection.execute(f"ALTER TABLE {table} RESET (autovacuum_enabled)")


@pytest.mark.usefixtures("truncated")
async def test_large_upload_updates_statistics(database: Database, execute: Execute) -> None:
    await execute(f"ANALYZE {', '.join(TABLES)}")
    body = factories.chain(700)
    await store_package(database, body, dry_run=True)
    await store_package(database, factories.chain(10))
    assert await fetch_row_estimates(database) == dict.fromkeys(TABLES, 0)
    await store_package(database, body)
    after = await fetch_row_estimates(database)
    assert after == {"items": 710, "associations": 708, "changes": 1420}
    # A second one changes less than a tenth of the rows.
    await store_package(database, factories.chain(40))
    assert await fetch_row_estimates(database) == after


@pytest.mark.usefixtures("truncated")
@pytest.mark.parametrize("may_analyze", [False, True])
async def test_large_upload_by_other_role_updates_statistics_if_it_may(
    settings: Settings, database_url: str, execute: Execute, *, may_analyze: bool
) -> None:
    if may_analyze and int((await execute("SHOW server_version_num"))[0][0]) < 170000:
        pytest.skip("Postgres has the privilege MAINTAIN since version 17")
    role = f"writer_{uuid4().hex}"
    tables = f"ON ALL TABLES IN SCHEMA public TO {role}"
    await execute(f"ANALYZE {', '.join(TABLES)}")
    await execute(f"CREATE ROLE {role} LOGIN PASSWORD 'SECRET'")
    await execute(f"GRANT SELECT, INSERT, UPDATE, DELETE {tables}")
    if may_analyze:
        await execute(f"GRANT MAINTAIN {tables}")
    try:
        url = make_url(database_url).set(username=role, password="SECRET")
        own_url = url.render_as_string(hide_password=False)
        async with Database.open(own_url, settings) as restricted:
            result = await store_package(restricted, factories.chain(600))
            assert result.sent_counts["CFItem"] == 600
            expected = {"items": 600, "associations": 599, "changes": 1200}
            estimates = await fetch_row_estimates(restricted)
            assert estimates == (expected if may_analyze else dict.fromkeys(TABLES, 0))
    finally:
        await execute(f"DROP OWNED BY {role}")
        await execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("query", ["ancestors", "children", "roots"])
async def test_tree_of_framework_without_statistics_reads_each_item_a_few_times(
    database: Database, query: str
) -> None:
    body = factories.chain(400)  # too few items for an upload to update the statistics
    await store_package(database, body)
    middle = [body["CFItems"][number]["identifier"] for number in (200, 250)]
    page = {"document": body["CFDocument"]["identifier"], "limit": 100, "offset": 0}
    statement, values = {
        "ancestors": (tree._compile_ancestors_query(), {"identifiers": middle}),
        "children": (
            tree._compile_children_query(),
            page | {"parents": middle, "always_include": []},
        ),
        "roots": (tree._compile_roots_query(), page | {"always_include": middle}),
    }[query]
    assert await count_read_rows(database, statement, values) < 10 * len(body["CFItems"])


async def test_roots_without_children_are_counted_in_one_scan(
    database: Database, execute: Execute
) -> None:
    document = factories.document()["identifier"]
    items = [factories.packed_item() for _ in range(400)]
    links = [factories.association(item["identifier"], document) for item in items]
    body = factories.package(document, CFItems=items, CFAssociations=links)
    await store_package(database, body)
    await execute("VACUUM ANALYZE items, associations")
    values = {"document": document, "always_include": [], "limit": 100, "offset": 0}
    assert await count_read_rows(database, tree._compile_roots_query(), values) < 10 * len(items)


async def test_comparison_of_new_frameworks_reads_each_item_a_few_times(database: Database) -> None:
    left, right = factories.chain(600), factories.chain(600)
    await store_package(database, left)
    await store_package(database, right)
    documents = {
        side: body["CFDocument"]["identifier"] for side, body in (("left", left), ("right", right))
    }
    statement, page = crosswalk._compile_crosswalk_query(), {"limit": 100, "offset": 0}
    assert await count_read_rows(database, statement, documents | page) < 10 * 1200


async def test_associations_of_item_are_read_without_reading_new_deletions(
    database: Database, execute: Execute
) -> None:
    body, deleted = factories.chain(3), factories.chain(400)
    await store_package(database, body)
    await store_package(database, deleted)
    await execute("ANALYZE items, associations, documents")
    await execute(
        "UPDATE items SET deleted_at = now() WHERE document_identifier = $1",
        deleted["CFDocument"]["identifier"],
    )
    values = {"identifier": body["CFItems"][1]["identifier"], "limit": None}
    statement = entities._compile_item_associations_query()
    assert await count_read_rows(database, statement, values) < 100


async def fetch_row_estimates(database: Database) -> dict[str, int]:
    """Return the number of rows of each table in the statistics of Postgres."""
    query = "SELECT relname, reltuples FROM pg_class WHERE relname = ANY($1::text[])"
    async with database.connection() as connection:
        rows = await connection.fetch(query, list(TABLES))
    return {row["relname"]: int(row["reltuples"]) for row in rows}


async def count_read_rows(
    database: Database, statement: CompiledStatement, values: dict[str, Any]
) -> float:
    """Run a query; return the highest number of rows that any node of its plan returned."""
    async with database.connection() as connection:
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.sql}"
        (plan,) = json.loads(await connection.fetchval(explain, *statement.bind(values)))
    return max(iter_read_rows(plan["Plan"]))


def iter_read_rows(plan: dict[str, Any]) -> Iterator[float]:
    """Yield the number of rows that each node of a plan has returned or discarded in total."""
    discarded = sum(
        plan.get(f"Rows Removed by {reason}", 0) for reason in ("Filter", "Join Filter")
    )
    yield (plan["Actual Rows"] + discarded) * plan["Actual Loops"]
    for child in plan.get("Plans", ()):
        yield from iter_read_rows(child)
