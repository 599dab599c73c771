"""Many frameworks put into the tables as the server stores them, but faster than through it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from . import data
from .postgres import wait

if TYPE_CHECKING:
    from .postgres import Connection

MOMENT = datetime.fromisoformat(data.MOMENT)
PIECE = 20_000
"""How many rows are made ready before they are sent."""


def load(url: str, documents: int, items: int, prefix: str) -> None:
    """Fill an empty database with documents that share so many items evenly."""
    wait(_load(url, [f"{prefix}{index}" for index in range(documents)], items))


async def _load(url: str, seeds: list[str], items: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        # Nothing checks keys that are right by construction, and indexes are built at the end.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET maintenance_work_mem = '512MB'")
        await _roots(connection, seeds)
        indexes = await connection.fetch("""
            SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'items'
            AND indexname NOT IN (SELECT conname FROM pg_constraint)""")
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['indexname']}")
        await _items(connection, seeds, items)
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _roots(connection: Connection, seeds: list[str]) -> None:
    await _copy(connection, "item_types", [(_json(data.ITEM_TYPE), MOMENT)])
    roots = [data.document(seed) for seed in seeds]
    await _copy(connection, "documents", [(_json(root), MOMENT) for root in roots])
    await connection.copy_records_to_table(
        "packages",
        columns=["document_identifier", "identifier"],
        records=[(root["identifier"], root["CFPackageURI"]["identifier"]) for root in roots],
    )


async def _items(connection: Connection, seeds: list[str], items: int) -> None:
    records = []
    for record in _records(seeds, items):
        records.append(record)
        if len(records) == PIECE:
            await _copy(connection, "items", records)
            records.clear()
    await _copy(connection, "items", records)


def _records(seeds: list[str], items: int) -> Iterator[tuple[Any, ...]]:
    share = -(-items // len(seeds))
    for number, seed in enumerate(seeds):
        identifier = data.identifier_of(seed, "document")
        # The index goes on through all documents, so that a few statements in all are rare.
        for body in data.stored_items(seed, range(number * share, (number + 1) * share)):
            yield _json(body), MOMENT, identifier


async def _copy(connection: Connection, table: str, records: list[tuple[Any, ...]]) -> None:
    columns = ["body", "last_change_date_time", "document_identifier"]
    if records:
        await connection.copy_records_to_table(
            table, records=records, columns=columns[: len(records[0])]
        )


def _json(body: data.Body) -> str:
    return orjson.dumps(body).decode()
