"""Search of the web UI: common words are found without the index, and results stay the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from support import factories
from support.databases import Execute

from case_server.db.pool import Database
from case_server.db.read.lists import search
from case_server.settings import Settings

ITEMS = """
    INSERT INTO items (document_identifier, last_change_date_time, body)
    SELECT 'document', now(), json_build_object(
        'identifier', 'item-' || number, 'humanCodingScheme', 'C' || number % 50,
        'fullStatement', 'common ' || CASE number % 2000 WHEN 0 THEN 'rare ' ELSE '' END
            || CASE WHEN number > 3000 THEN 'later ' ELSE '' END || repeat('word ', number % 40)
            || 'w' || number % 300)
    FROM generate_series(1, 6000) AS number"""
"""The statements have 300 words besides, because Postgres does not estimate prefixes with fewer."""

SEARCHES = ["common", "common later", "rare", "c1", "C", "common c1", "nothing", "."]


@pytest.fixture
async def database(
    database_url: str, settings: Settings, execute: Execute, clean: None
) -> AsyncIterator[Database]:
    """A database with 6,000 items, all of which have the word "common"."""
    document = json.dumps(factories.document("document"))
    await execute(
        "INSERT INTO documents (body, last_change_date_time) VALUES ($1, now())", document
    )
    await execute(ITEMS)
    await execute("UPDATE items SET deleted_at = now() WHERE identifier = 'item-4000'")
    await execute("VACUUM ANALYZE items")
    async with Database.open(database_url, settings) as database:
        yield database


async def run(database: Database, text: str, start_pages: int | None) -> list[str]:
    """Return the identifiers that a search finds, with the words looked for at the start first."""
    query = search.parse_search_query(text)
    rows = await database.fetch_all(
        search._compile_search(start_pages=start_pages), **query._asdict(), limit=1500, offset=0
    )
    return [row["identifier"] for row in rows]


@pytest.mark.parametrize("text", SEARCHES)
async def test_start_of_the_table_does_not_change_results(database: Database, text: str) -> None:
    results = [await run(database, text, pages) for pages in (None, 1, 100, search.START_PAGES)]
    assert results[1:] == results[:1] * 3
    assert "item-4000" not in results[0]
    expected = {"rare": 2, "c1": 1000, "nothing": 0, ".": 0}
    assert len(results[0]) == expected.get(text, search.MAX_CANDIDATES)


@pytest.mark.parametrize(
    ("text", "scan", "other_scan"),
    [("common", "Tid Range Scan", None), ("rare", "ix_items_search", "Tid Range Scan")],
)
async def test_only_common_words_are_searched_at_the_start(
    database: Database, text: str, scan: str, other_scan: str | None
) -> None:
    query = search.parse_search_query(text)
    statement = await search.choose_search_statement(database, query, None)
    values = statement.bind({**query._asdict(), "limit": 20, "offset": 0})
    async with database.connection() as connection:
        lines = await connection.fetch(f"EXPLAIN {statement.sql}", *values)
    plan = "\n".join(line for (line,) in lines)
    assert scan in plan
    assert other_scan is None or other_scan not in plan
