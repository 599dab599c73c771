"""The attributes of stored entities, as templates read them."""

from __future__ import annotations

from typing import Any

import orjson

from ..case.resources import DOCUMENTS
from ..db.pool import Database
from ..db.read import entities
from .relations import describe_relation


class Attributes(dict[str, Any]):
    """The attributes of an entity; those it lacks are None."""

    def __missing__(self, _: str) -> None:
        return None


def parse_attributes(raw: str) -> Attributes:
    """Parse the stored JSON of an entity."""
    return Attributes(orjson.loads(raw))


async def fetch_document(database: Database, identifier: str) -> Attributes:
    """Fetch the attributes of a document; raise ``NotFound`` if there is none or it is deleted."""
    (body,) = await entities.get_entity_bodies(database, DOCUMENTS, identifier)
    return parse_attributes(body)


def summarize(attributes: Attributes) -> str:
    """Return one line for an entity: a statement, a title, or what an association relates."""
    if attributes["associationType"]:
        relation = describe_relation(attributes["associationType"], from_origin=True)
        origin, destination = attributes["originNodeURI"], attributes["destinationNodeURI"]
        return f"{_node_title(origin)} {relation} {_node_title(destination)}"
    return str(attributes["fullStatement"] or attributes["title"] or "")


def _node_title(node: dict[str, Any]) -> str:
    return str(node.get("title") or node.get("identifier"))
