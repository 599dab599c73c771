"""Stored entities as pages show them: attributes, titles and relations to other entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ..case.response_fields import NODE_FIELDS
from ..db.pool import Database
from ..db.read import entities

KINDS = {DOCUMENTS.name: "framework", ITEMS.name: "item", ASSOCIATIONS.name: "association"}
"""What the pages call the entities of a class."""

MAX_TITLE_CHARS = 60
"""Maximum length of a statement in the title of a page."""


class EntityAttributes(dict[str, Any]):
    """A dict of a stored entity's CASE attributes, in which a missing key has the value None."""

    def __missing__(self, _: str) -> None:
        return None


def parse_entity_attributes(raw: str) -> EntityAttributes:
    """Parse the JSON string that the database stores for an entity into ``EntityAttributes``."""
    return EntityAttributes(orjson.loads(raw))


async def fetch_document(database: Database, identifier: str) -> EntityAttributes:
    """Fetch a document from the database as a dict of its CASE attributes.

    Raises ``NotFound`` if the document is unknown or deleted.
    """
    (body,) = await entities.get_entity_with_descendants(database, DOCUMENTS, identifier)
    return parse_entity_attributes(body)


def summarize_entity(attributes: EntityAttributes) -> str:
    """Return a string that describes an entity: its statement, else its title, else "".

    For an association, returns a phrase such as "A is a child of B". ``attributes`` are the
    entity's CASE attributes.
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


PHRASES = {
    "isChildOf": ("is a child of", "is the parent of"),
    "isPeerOf": ("is a peer of", "is a peer of"),
    "isPartOf": ("is part of", "has as a part"),
    "exactMatchOf": ("is an exact match of", "is an exact match of"),
    "precedes": ("precedes", "follows"),
    "isRelatedTo": ("is related to", "is related to"),
    "replacedBy": ("is replaced by", "replaces"),
    "exemplar": ("has as an exemplar", "is an exemplar of"),
    "hasSkillLevel": ("has the skill level", "is the skill level of"),
    "isTranslationOf": ("is a translation of", "is translated as"),
}
"""For each association type, the relation of its origin to its destination, and the inverse one."""

MAX_LISTED_ASSOCIATIONS = 300
"""Number of associations that the page of an item lists unless all are requested."""


@dataclass(frozen=True)
class RelatedNode:
    """An entity to which an item is related, with the values that the item's page shows."""

    title: str
    identifier: str
    code: str | None = None
    document: str | None = None
    """Identifier of its framework; None if the node is not on this server."""
    framework: str = ""
    is_item: bool = False
    uri: str | None = None
    """Its HTTP address if it is not on this server."""


def describe_relation(association_type: str, *, from_origin: bool) -> str:
    """Return a phrase for an association type, such as "is a child of" for ``isChildOf``.

    If ``from_origin`` is false, returns the phrase for the inverse direction: "is the parent of".
    """
    forward, inverse = PHRASES.get(
        association_type, (association_type, f"is the other end of {association_type} from")
    )
    return forward if from_origin else inverse


def collect_related_identifiers(
    item_identifier: str, associations: Sequence[Mapping[str, Any]]
) -> set[str]:
    """Return a set of the identifiers of the entities to which associations connect an item.

    ``associations`` are dicts with the links ``originNodeURI`` and ``destinationNodeURI``. The
    item's own identifier is left out.
    """
    return {
        association[end]["identifier"] for association in associations for end in NODE_FIELDS
    } - {item_identifier}


def group_relations(
    item_identifier: str, associations: Sequence[Mapping[str, Any]], node_details: Mapping[str, Any]
) -> dict[str, list[RelatedNode]]:
    """Group the entities related to an item by phrases such as "is a child of".

    Returns a dict of lists of ``RelatedNode`` by phrase, in the order of ``PHRASES``.
    ``node_details`` is the result of ``entities.fetch_node_details``, a dict of rows by identifier.
    An entity without a row is not on this server.
    """
    groups: dict[str, list[RelatedNode]] = {}
    for association in associations:
        from_origin = association["originNodeURI"]["identifier"] == item_identifier
        node = association["destinationNodeURI" if from_origin else "originNodeURI"]
        phrase = describe_relation(association["associationType"], from_origin=from_origin)
        groups.setdefault(phrase, []).append(
            _related_node(node, node_details.get(node["identifier"]))
        )
    phrases = (phrase for pair in PHRASES.values() for phrase in pair if phrase in groups)
    return {phrase: groups[phrase] for phrase in phrases} | groups


def _related_node(node: Mapping[str, Any], location: Mapping[str, Any] | None) -> RelatedNode:
    if location is None:
        uri = node["uri"]
        is_http = uri.lower().startswith(("https://", "http://"))
        return RelatedNode(node["title"], node["identifier"], uri=uri if is_http else None)
    return RelatedNode(
        title=location["statement"] if location["is_item"] else location["title"],
        identifier=node["identifier"],
        code=location["code"],
        document=location["document"],
        framework=location["title"],
        is_item=location["is_item"],
    )
