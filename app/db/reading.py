"""One entity at a time, or a set of them: what is stored under an identifier."""

from __future__ import annotations

from ..case.resources import ITEMS, Resource
from ..errors import NotFound
from .database import Database
from .visible import associations_of_item, known_nodes, one


async def get(database: Database, resource: Resource, identifier: str) -> list[str]:
    """The body of an entity, or of a set: the one asked for, then its children.

    Raises ``NotFound`` when no live entity has this identifier.
    """
    found = await database.rows(one(resource), identifier=identifier)
    if not found:
        raise NotFound(resource.name, identifier)
    return [record["body"] for record in found]


async def item_with_associations(database: Database, identifier: str) -> tuple[str, list[str]]:
    """The body of an item, and those of all associations it is an end of. Raises ``NotFound``."""
    (item,) = await get(database, ITEMS, identifier)
    found = await database.rows(associations_of_item(), identifier=identifier)
    return item, [record["body"] for record in found]


async def nodes(database: Database, identifiers: set[str]) -> dict[str, str]:
    """Which of these are stored here, and among what: {identifier: "CFItems"}."""
    found = await database.rows(known_nodes(), identifiers=list(identifiers))
    return {record["identifier"]: record["plural"] for record in found}
