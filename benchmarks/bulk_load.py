"""Insert many frameworks directly into the tables, because uploads would take longer."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import orjson

from . import data
from .postgres import Connection, open_connection

TIMESTAMP = datetime.fromisoformat(data.TIMESTAMP)
Generate = Callable[[str, range], Iterator[data.Body]]
BATCH_ROWS = 20_000
"""Number of rows per COPY."""


def insert_frameworks(
    url: str, document_count: int, item_count: int, prefix: str, *, with_associations: bool = False
) -> None:
    """Fill an empty database with synthetic frameworks, without using the server's API.

    ``item_count`` is the total number of items. The seed of each framework is ``prefix`` and the
    number of its document. With associations, the items of each framework are a tree, and the
    change feed has their creation.
    """
    seeds = [f"{prefix}{index}" for index in range(document_count)]
    asyncio.run(_load(url, seeds, item_count, with_associations=with_associations))


async def _load(url: str, seeds: list[str], item_count: int, *, with_associations: bool) -> None:
    async with open_connection(url) as connection:
        # Foreign keys need no check, and building the indexes at the end is faster.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET maintenance_work_mem = '512MB'")
        await _copy_documents(connection, seeds)
        indexes = await connection.fetch("""
            SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('items', 'associations')
            AND indexname NOT IN (SELECT conname FROM pg_constraint)""")
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['indexname']}")
        await _copy_entities(connection, "items", data.generate_stored_items, seeds, item_count)
        if with_associations:
            await _copy_entities(
                connection, "associations", data.generate_stored_associations, seeds, item_count
            )
            await connection.execute("""
                INSERT INTO changes (document_identifier, kind, identifier, operation)
                SELECT document_identifier, 'CFItem', identifier, 'create' FROM items UNION ALL
                SELECT document_identifier, 'CFAssociation', identifier, 'create'
                FROM associations""")
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute("""
            INSERT INTO item_counts SELECT document_identifier, count(*), true
            FROM items GROUP BY document_identifier""")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


async def _copy_documents(connection: Connection, seeds: list[str]) -> None:
    await _copy(connection, "item_types", [(_json(data.ITEM_TYPE), TIMESTAMP)])
    documents = [data.generate_document(seed) for seed in seeds]
    await _copy(connection, "documents", [(_json(body), TIMESTAMP) for body in documents])
    await connection.copy_records_to_table(
        "packages",
        columns=["document_identifier", "identifier"],
        records=[(body["identifier"], body["CFPackageURI"]["identifier"]) for body in documents],
    )


async def _copy_entities(
    connection: Connection, table: str, generate: Generate, seeds: list[str], item_count: int
) -> None:
    records = []
    for record in _records(generate, seeds, item_count):
        records.append(record)
        if len(records) == BATCH_ROWS:
            await _copy(connection, table, records)
            records.clear()
    await _copy(connection, table, records)


def _records(generate: Generate, seeds: list[str], item_count: int) -> Iterator[tuple[Any, ...]]:
    share = -(-item_count // len(seeds))
    for number, seed in enumerate(seeds):
        identifier = data.build_uuid(seed, "document")
        # Indexes continue through all documents, so that only few items have the rare words.
        for body in generate(seed, range(number * share, (number + 1) * share)):
            yield _json(body), TIMESTAMP, identifier


async def _copy(connection: Connection, table: str, records: list[tuple[Any, ...]]) -> None:
    columns = ["body", "last_change_date_time", "document_identifier"]
    if records:
        await connection.copy_records_to_table(
            table, records=records, columns=columns[: len(records[0])]
        )


def _json(body: data.Body) -> str:
    return orjson.dumps(body).decode()
