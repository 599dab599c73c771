"""The attributes of stored entities, as templates read them."""

from __future__ import annotations

from typing import Any

import orjson

from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ..db.pool import Database
from ..db.read import entities
from .relations import describe_relation

KINDS = {DOCUMENTS.name: "framework", ITEMS.name: "item", ASSOCIATIONS.name: "association"}
"""What the pages call the entities of a class."""

MAX_TITLE_CHARS = 60
"""Maximum length of a statement in the title of a page."""


class EntityAttributes(dict[str, Any]):
    """A dict of a stored entity's CASE attributes, in which a missing key has the value None."""

    def __missing__(self, _: str) -> None:
        return None


def parse_entity_attributes(raw: str) -> EntityAttributes:
    """Parse an entity's JSON, as stored in the database, into a dict of its CASE attributes."""
    return EntityAttributes(orjson.loads(raw))


async def fetch_document(database: Database, identifier: str) -> EntityAttributes:
    """Fetch a document from the database as a dict of its CASE attributes.

    Raises ``NotFound`` if the document is unknown or deleted.
    """
    (body,) = await entities.get_entity_with_descendants(database, DOCUMENTS, identifier)
    return parse_entity_attributes(body)


def summarize_entity(attributes: EntityAttributes) -> str:
    """Summarize an entity in one line: its statement, else its title, else "".

    An association is summarized as a phrase such as "A is a child of B".
    """
    if attributes["associationType"]:
        relation = describe_relation(attributes["associationType"], from_origin=True)
        origin, destination = attributes["originNodeURI"], attributes["destinationNodeURI"]
        return f"{_node_title(origin)} {relation} {_node_title(destination)}"
    return str(attributes["fullStatement"] or attributes["title"] or "")


def get_short_title(attributes: EntityAttributes) -> str:
    """Return the title of a document, or the code of an item.

    For an item without a code, return the first 60 characters of its statement.
    """
    statement = str(attributes["fullStatement"] or "")[:MAX_TITLE_CHARS]
    return str(attributes["title"] or attributes["humanCodingScheme"] or statement)


def _node_title(node: dict[str, Any]) -> str:
    return str(node.get("title") or node.get("identifier"))
