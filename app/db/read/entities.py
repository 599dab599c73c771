"""Read single entities and the associations of an item, and look identifiers up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from functools import cache

from asyncpg import Record
from sqlalchemy import Text, bindparam, func, literal_column, null, select, union_all
from sqlalchemy.dialects.postgresql import aggregate_order_by

from ...case.resources import ITEMS, ResourceType
from ..pool import Database
from ..schema import tables
from ..schema.expressions import IDENTIFIER, IDENTIFIERS, LIMIT, build_text_extract
from ..statement import CompiledStatement
from .visibility import (
    build_association_end_condition,
    build_live_condition,
    build_visible_association_condition,
    compile_entity_query,
    compile_live_nodes_query,
)


async def get_entity_with_descendants(
    database: Database, resource: ResourceType, identifier: str
) -> list[str]:
    """Return a list of the JSON bodies of an entity and its descendants, the entity first.

    Only entities of some resource types, such as CFSubject, have descendants, which GET returns
    with the entity as a set. Raises ``NotFound`` if no live entity has this identifier.
    """
    rows = await database.fetch_all(compile_entity_query(resource), identifier=identifier)
    if not rows:
        raise resource.create_not_found_error(identifier)
    return [row["body"] for row in rows]


async def get_item_with_associations(
    database: Database, identifier: str, limit: int | None = None
) -> tuple[str, list[str]]:
    """Return (item, associations): an item's JSON body and a list of its associations' bodies.

    ``limit`` is the maximum number of associations, or None for all. Raises ``NotFound`` if no live
    item has this identifier.
    """
    (item,) = await get_entity_with_descendants(database, ITEMS, identifier)
    query = _compile_item_associations_query()
    rows = await database.fetch_all(query, identifier=identifier, limit=limit)
    return item, [row["body"] for row in rows]


async def iter_association_batches(
    database: Database, identifier: str, size: int
) -> AsyncIterator[list[str]]:
    """Yield the JSON bodies of all associations of an item, in lists of at most ``size``.

    No connection is held between two lists, so a slow client does not tie one up. Associations that
    are deleted or added during the iteration are left out.
    """
    row = await database.fetch_one(_compile_item_association_ids_query(), identifier=identifier)
    # One string, because a list of 50,000 would take four times the memory. No identifier
    # contains a line break.
    identifiers: str = (row and row["identifiers"]) or ""
    start = 0
    while start < len(identifiers):
        batch: list[str] = []
        while start < len(identifiers) and len(batch) < size:
            end = identifiers.find("\n", start)
            end = len(identifiers) if end < 0 else end
            batch.append(identifiers[start:end])
            start = end + 1
        rows = await database.fetch_all(_compile_associations_by_id_query(), identifiers=batch)
        if rows:
            yield [row["body"] for row in rows]


async def find_item_ids(
    database: Database, prefix: str, limit: int, *, only_deleted: bool = False
) -> list[str]:
    """Return the first ``limit`` item identifiers that begin with ``prefix``, sorted.

    They are those of live items, or of soft-deleted items with ``only_deleted``.
    """
    statement = _compile_item_ids(only_deleted=only_deleted)
    rows = await database.fetch_all(statement, prefix=prefix, limit=limit)
    return [row["identifier"] for row in rows]


async def find_node_collections(database: Database, identifiers: Collection[str]) -> dict[str, str]:
    """Map identifiers of live items to "CFItems", and of live documents to "CFDocuments"."""
    rows = await database.fetch_all(compile_live_nodes_query(), identifiers=list(identifiers))
    return {row["identifier"]: row["collection"] for row in rows}


async def fetch_node_details(database: Database, identifiers: Collection[str]) -> dict[str, Record]:
    """Return a dict with the live items and documents among ``identifiers``, by identifier.

    Each value is a row (identifier, is_item, document, title, code, statement). ``document`` and
    ``title`` are the identifier and title of the framework. ``code`` and ``statement`` are None for
    documents.
    """
    rows = await database.fetch_all(_compile_node_details(), identifiers=list(identifiers))
    return {row["identifier"]: row for row in rows}


@cache
def _compile_item_associations_query() -> CompiledStatement:
    table = tables.associations
    return CompiledStatement(
        select(table.c.body)
        .where(build_association_end_condition(IDENTIFIER), build_visible_association_condition())
        .order_by(table.c.ordinal, table.c.identifier)
        .limit(LIMIT),
        has_generic_plan=True,
    )


@cache
def _compile_item_association_ids_query() -> CompiledStatement:
    """Compile the query for the identifiers of an item's visible associations.

    They are one string, joined by line breaks. The SQL parameter is ``identifier``.
    """
    table = tables.associations
    order, line_break = (table.c.ordinal, table.c.identifier), literal_column("E'\\n'", Text)
    identifiers = func.string_agg(table.c.identifier, aggregate_order_by(line_break, *order))
    conditions = (
        build_association_end_condition(IDENTIFIER),
        build_visible_association_condition(),
    )
    rows = select(identifiers.label("identifiers")).where(*conditions)
    return CompiledStatement(rows, has_generic_plan=True)


@cache
def _compile_associations_by_id_query() -> CompiledStatement:
    table = tables.associations
    return CompiledStatement(
        select(table.c.body)
        .where(table.c.identifier == func.any(IDENTIFIERS), build_visible_association_condition())
        .order_by(table.c.ordinal, table.c.identifier),
        has_generic_plan=True,
    )


@cache
def _compile_item_ids(*, only_deleted: bool) -> CompiledStatement:
    items = tables.items
    return CompiledStatement(
        select(items.c.identifier)
        .where(
            items.c.deleted_at.is_not(None) if only_deleted else build_live_condition(items),
            func.starts_with(items.c.identifier, bindparam("prefix", type_=Text)),
        )
        .order_by(items.c.identifier)
        .limit(LIMIT)
    )


@cache
def _compile_node_details() -> CompiledStatement:
    items, documents = tables.items, tables.documents
    title = build_text_extract(documents.c.body, "title").label("title")
    item_rows = (
        select(
            items.c.identifier,
            literal_column("true").label("is_item"),
            items.c.document_identifier.label("document"),
            title,
            build_text_extract(items.c.body, "humanCodingScheme").label("code"),
            build_text_extract(items.c.body, "fullStatement").label("statement"),
        )
        .join(documents)
        .where(items.c.identifier == func.any(IDENTIFIERS), build_live_condition(items))
    )
    identifier = documents.c.identifier
    document_rows = select(
        identifier, literal_column("false"), identifier, title, null(), null()
    ).where(identifier == func.any(IDENTIFIERS), build_live_condition(documents))
    return CompiledStatement(union_all(item_rows, document_rows), has_generic_plan=True)
