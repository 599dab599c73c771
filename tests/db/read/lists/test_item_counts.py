"""Numbers of items: equal to count(*) after any sequence of writes, also concurrent ones."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import factories
from support.databases import Execute
from support.packages import store_package, to_json

from case_server.case.model import CFItem
from case_server.case.package import parse_package
from case_server.case.resources import DOCUMENTS, ITEMS
from case_server.db.pool import Database
from case_server.db.read.lists import entity_lists, frameworks, item_counts
from case_server.db.read.lists.response_fields import ResourceView
from case_server.db.write import entities as store
from case_server.db.write import soft_delete
from case_server.db.write.purge import purge
from case_server.db.write.upload.package import write_package
from case_server.exceptions import CaseServerError
from case_server.query import filter as filters
from case_server.query import params

DOCUMENT_IDENTIFIERS = [f"document-{number}" for number in range(3)]
ITEM_IDENTIFIERS = [f"item-{number}" for number in range(12)]

ALL_ITEMS = params.parse_list_query(
    [], ITEMS.schema, limits=params.PageLimits(10, 100), grammar=filters.STANDARD
)

WRONG = """
SELECT coalesce(stored.document_identifier, counted.document_identifier), stored.sum, counted.count
FROM (SELECT document_identifier, sum(live_items) FROM item_counts GROUP BY 1) AS stored
FULL JOIN (
    SELECT document_identifier, count(*) FROM items WHERE deleted_at IS NULL GROUP BY 1
) AS counted USING (document_identifier)
WHERE coalesce(stored.sum, 0) <> coalesce(counted.count, 0)"""


pytestmark = pytest.mark.usefixtures("clean")


async def random_write(database: Database, rng: random.Random, write_counts: Counter[str]) -> None:
    """Run one of all kinds of writes, many of which fail or change nothing."""
    document, item = rng.choice(DOCUMENT_IDENTIFIERS), rng.choice(ITEM_IDENTIFIERS)
    identifiers = rng.sample(ITEM_IDENTIFIERS, rng.randint(0, 6))
    items = [factories.packed_item(each, notes=str(rng.random())) for each in identifiers]
    body = factories.package(document, CFItems=items, CFAssociations=[])
    package = parse_package(to_json(body))
    put = CFItem.model_validate(factories.item(document, item, notes=str(rng.random())))
    cutoff = datetime.now(UTC) + timedelta(days=1)
    resource, identifier = rng.choice([(DOCUMENTS, document), (ITEMS, item)])
    writes: dict[str, Callable[[], Awaitable[Any]]] = {
        "upload": lambda: write_package(database, package),
        "create": lambda: write_package(database, package, "create"),
        "dry run": lambda: write_package(database, package, dry_run=True),
        "put": lambda: store.put_item(database, put),
        "delete": lambda: soft_delete.delete_entity(database, resource, identifier),
        "undelete": lambda: soft_delete.undelete_entity(database, resource, identifier),
        "purge": lambda: purge(database, cutoff, dry_run=rng.random() < 0.2),
        "compact": lambda: item_counts.compact_item_counts(database),
    }
    weights = [4, 1, 1, 6, 4, 3, 1, 1]
    (name,) = rng.choices(list(writes), weights)
    with suppress(CaseServerError):
        await writes[name]()
        write_counts[name] += 1


@pytest.mark.parametrize("writers", [1, 6])
async def test_numbers_equal_count_after_random_writes(
    database: Database, execute: Execute, writers: int
) -> None:
    rng, write_counts = random.Random(writers), Counter[str]()
    for _ in range(300 // writers):
        await asyncio.gather(*(random_write(database, rng, write_counts) for _ in range(writers)))
        assert not await execute(WRONG)
    assert len(write_counts) == 8, f"writes that never succeeded: {write_counts}"
    count = await execute("SELECT count(*) FROM items WHERE deleted_at IS NULL")
    page = await entity_lists.fetch_page(database, ResourceView(ITEMS), ALL_ITEMS)
    assert page.total == count[0][0]
    for document in DOCUMENT_IDENTIFIERS:
        in_document = "document_identifier = $1 AND deleted_at IS NULL"
        rows = await execute(f"SELECT count(*) FROM items WHERE {in_document}", document)
        assert await frameworks.count_items(database, document) == rows[0][0]


async def test_lists_compact_the_numbers(database: Database, execute: Execute) -> None:
    await store_package(database, factories.package())
    await execute(
        "INSERT INTO item_counts SELECT 'document', i % 2 * 2 - 1"
        " FROM generate_series(1, $1::int) AS i",
        item_counts.COMPACT_AT * 2,
    )
    assert (await entity_lists.fetch_page(database, ResourceView(ITEMS), ALL_ITEMS)).total == 2
    assert [row["live_items"] for row in await execute("SELECT * FROM item_counts")] == [2]
    assert (await entity_lists.fetch_page(database, ResourceView(ITEMS), ALL_ITEMS)).total == 2


async def test_purge_corrects_numbers_of_sql_writes(database: Database, execute: Execute) -> None:
    await store_package(database, factories.package())
    await execute("UPDATE items SET deleted_at = now() WHERE body ->> 'humanCodingScheme' = 'A'")
    assert await execute(WRONG)
    await purge(database, datetime(2000, 1, 1, tzinfo=UTC))
    assert not await execute(WRONG)
