"""One entity at a time, or a set of them: what is stored under an identifier."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ...case.resources import ITEMS, Resource
from ...exceptions import NotFound
from ..pool import Database
from .visibility import (
    association_keys_of_item,
    associations_by_key,
    associations_of_item,
    select_entity,
    select_nodes,
)


async def get(database: Database, resource: Resource, identifier: str) -> list[str]:
    """The body of an entity, or of a set: the one asked for, then its children.

    Raises ``NotFound`` when no live entity has this identifier.
    """
    found = await database.fetch_all(select_entity(resource), identifier=identifier)
    if not found:
        raise NotFound(resource.name, identifier)
    return [record["body"] for record in found]


async def item_with_associations(
    database: Database, identifier: str, limit: int | None = None
) -> tuple[str, list[str]]:
    """Return the bodies of an item and of its associations, all or at most ``limit`` of these.

    Raises ``NotFound``.
    """
    (item,) = await get(database, ITEMS, identifier)
    rows = await database.fetch_all(associations_of_item(), identifier=identifier, limit=limit)
    return item, [row["body"] for row in rows]


async def association_batches(
    database: Database, identifier: str, size: int
) -> AsyncIterator[list[str]]:
    """Yield the bodies of all associations of an item, at most ``size`` at a time.

    No connection is held between two batches, however long the consumer takes. Associations that
    are deleted meanwhile are left out; those that are added meanwhile are not in it.
    """
    row = await database.fetch_one(association_keys_of_item(), identifier=identifier)
    # One string, because 50,000 would take four times the memory. No identifier has a line break.
    keys: str = (row and row["keys"]) or ""
    start = 0
    while start < len(keys):
        batch: list[str] = []
        while start < len(keys) and len(batch) < size:
            end = keys.find("\n", start)
            end = len(keys) if end < 0 else end
            batch.append(keys[start:end])
            start = end + 1
        rows = await database.fetch_all(associations_by_key(), keys=batch)
        if rows:
            yield [row["body"] for row in rows]


async def find_nodes(database: Database, identifiers: set[str]) -> dict[str, str]:
    """Which of these are stored here, and among what: {identifier: "CFItems"}."""
    found = await database.fetch_all(select_nodes(), identifiers=list(identifiers))
    return {record["identifier"]: record["plural"] for record in found}
