"""Read single entities and the associations of an item, and look identifiers up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Text, bindparam, func, literal_column, null, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from ...case.resources import ITEMS, ResourceType
from ..schema import tables
from ..schema.expressions import json_text
from ..statement import CompiledStatement
from .visibility import (
    is_live,
    select_association_keys_of_item,
    select_associations_by_key,
    select_associations_of_item,
    select_entity,
    select_nodes,
)

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database


async def get_entity_bodies(
    database: Database, resource: ResourceType, identifier: str
) -> list[str]:
    """Return the JSON body of an entity and, for some classes, those of its descendants.

    These are the classes whose GET returns a set, such as CFSubject; the resource has
    ``with_descendants``. Raises ``NotFound`` if no live entity has this identifier.
    """
    rows = await database.fetch_all(select_entity(resource), identifier=identifier)
    if not rows:
        raise resource.create_not_found_error(identifier)
    return [row["body"] for row in rows]


async def get_item_with_associations(
    database: Database, identifier: str, limit: int | None = None
) -> tuple[str, list[str]]:
    """Return the JSON body of an item, and the bodies of at most ``limit`` of its associations.

    Raises ``NotFound`` if no live item has this identifier.
    """
    (item,) = await get_entity_bodies(database, ITEMS, identifier)
    rows = await database.fetch_all(
        select_associations_of_item(), identifier=identifier, limit=limit
    )
    return item, [row["body"] for row in rows]


async def iter_association_batches(
    database: Database, identifier: str, size: int
) -> AsyncIterator[list[str]]:
    """Yield the JSON bodies of all associations of an item, in lists of at most ``size``.

    No connection is held between two lists, so that a slow client occupies none. Associations
    deleted during the iteration are left out; those added during it are not included.
    """
    row = await database.fetch_one(select_association_keys_of_item(), identifier=identifier)
    # One string, because a list of 50,000 would take four times the memory. No identifier
    # contains a line break.
    keys: str = (row and row["keys"]) or ""
    start = 0
    while start < len(keys):
        batch: list[str] = []
        while start < len(keys) and len(batch) < size:
            end = keys.find("\n", start)
            end = len(keys) if end < 0 else end
            batch.append(keys[start:end])
            start = end + 1
        rows = await database.fetch_all(select_associations_by_key(), keys=batch)
        if rows:
            yield [row["body"] for row in rows]


async def find_nodes(database: Database, identifiers: Collection[str]) -> dict[str, str]:
    """Tell which identifiers belong to live items or documents of this server.

    An association can have both as its ends. The result is {identifier: "CFItems" or
    "CFDocuments"}.
    """
    rows = await database.fetch_all(select_nodes(), identifiers=list(identifiers))
    return {row["identifier"]: row["collection"] for row in rows}


async def locate_nodes(
    database: Database, identifiers: Collection[str]
) -> dict[str, asyncpg.Record]:
    """Return the framework, code and statement of each live item or document, by its identifier.

    Rows of (identifier, is_item, document, title, code, statement): ``document`` and ``title`` are
    the identifier and title of the framework; documents have no code and no statement.
    """
    rows = await database.fetch_all(_locate_nodes(), identifiers=list(identifiers))
    return {row["identifier"]: row for row in rows}


@cache
def _locate_nodes() -> CompiledStatement:
    items, documents = tables.items, tables.documents
    identifiers = bindparam("identifiers", type_=ARRAY(Text))
    title = json_text(documents.c.body, "title").label("title")
    item_rows = (
        select(
            items.c.identifier,
            literal_column("true").label("is_item"),
            items.c.document_identifier.label("document"),
            title,
            json_text(items.c.body, "humanCodingScheme").label("code"),
            json_text(items.c.body, "fullStatement").label("statement"),
        )
        .join(documents, documents.c.identifier == items.c.document_identifier)
        .where(items.c.identifier == func.any(identifiers), is_live(items))
    )
    document_rows = select(
        documents.c.identifier,
        literal_column("false"),
        documents.c.identifier,
        title,
        null(),
        null(),
    ).where(documents.c.identifier == func.any(identifiers), is_live(documents))
    return CompiledStatement(union_all(item_rows, document_rows), has_generic_plan=True)
