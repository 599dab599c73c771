"""The associations of an item in words, each with a link to its other end, wherever that lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORDS = {
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
"""What an item that is the origin, or the destination, says of the other end."""

LISTED = 300
"""How many associations are written out unless all are asked for."""


@dataclass(frozen=True)
class End:
    """The other end of an association."""

    title: str
    identifier: str
    code: str | None = None
    document: str | None = None
    """The framework it lies in here; none when it is not here."""
    framework: str = ""
    is_item: bool = False
    uri: str | None = None
    """Its address elsewhere, when that can be followed."""


@dataclass(frozen=True)
class Relation:
    """Everything that an item is to others in the same way."""

    words: str
    ends: list[End]


def words_of(association_type: str, *, origin: bool) -> str:
    """What an association says of its other end, seen from its origin or its destination."""
    forth, back = WORDS.get(
        association_type, (association_type, f"is the other end of {association_type} from")
    )
    return forth if origin else back


def other_ends(identifier: str, associations: Sequence[Mapping[str, Any]]) -> set[str]:
    """The identifiers of all other ends."""
    return {
        one[name]["identifier"]
        for one in associations
        for name in ("originNodeURI", "destinationNodeURI")
    } - {identifier}


def relations(
    identifier: str, associations: Sequence[Mapping[str, Any]], places: Mapping[str, Any]
) -> list[Relation]:
    """The associations of an item, by what they say; what it is a child of first.

    ``places`` as of ``entities.locate_nodes``.
    """
    found: dict[str, list[End]] = {}
    for one in associations:
        origin = one["originNodeURI"]["identifier"] == identifier
        link = one["destinationNodeURI" if origin else "originNodeURI"]
        words = words_of(one["associationType"], origin=origin)
        found.setdefault(words, []).append(_end(link, places.get(link["identifier"])))
    order = [words for pair in WORDS.values() for words in pair]
    known = sorted(found, key=lambda words: order.index(words) if words in order else len(order))
    return [Relation(words, found[words]) for words in known]


def _end(link: Mapping[str, Any], place: Mapping[str, Any] | None) -> End:
    if place is None:
        uri = link["uri"]
        web = uri.lower().startswith(("https://", "http://"))
        return End(link["title"], link["identifier"], uri=uri if web else None)
    return End(
        title=place["statement"] if place["is_item"] else place["title"],
        identifier=link["identifier"],
        code=place["code"],
        document=place["document"],
        framework=place["title"],
        is_item=place["is_item"],
    )
