"""Synthetic frameworks: trees of any number of items, with bodies as long as real ones.

The same seed always gives the same framework, and different seeds share no identifiers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5
from zlib import crc32

import orjson

Body = dict[str, Any]

TIMESTAMP = "2026-01-15T09:30:00.000Z"
HOME = "https://example.edu/frameworks"
SUBJECTS = ("Mathematics", "Science", "Reading", "History")
CHILDREN = 8
"""Number of children of each item in the tree."""

RARE_WORDS = "parallelogram law"
"""Words that are in the statement of one in ``RARITY`` items."""
RARITY = 20_000

WORDS = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "compare",
    "explain",
    "represent",
    "interpret",
    "model",
    "solve",
    "measure",
    "graph",
    "estimate",
    "whole",
    "number",
    "fraction",
    "decimal",
    "ratio",
    "angle",
    "line",
    "area",
    "volume",
    "function",
    "equation",
    "pattern",
    "table",
    "data",
    "sample",
    "text",
    "author",
    "claim",
    "evidence",
    "reason",
    "energy",
    "force",
    "motion",
    "matter",
    "cell",
    "system",
    "within",
    "between",
    "using",
    "including",
    "given",
    "several",
    "real",
    "simple",
    "complex",
    "different",
    "equal",
    "unknown",
]

_RNG = random.Random(11)  # noqa: S311  words, no secrets
SENTENCES = [" ".join(_RNG.choices(WORDS, k=12)) for _ in range(997)]
"""A prime number of sentences, so that pairs of them repeat only after a million statements."""


class EntityLink(NamedTuple):
    """A CASE link to an entity, as associations contain it: title, identifier and URI."""

    title: str
    identifier: str
    uri: str


def generate_package(items: int, seed: str) -> Body:
    """Generate a CASE package: ``items`` items, and the associations that make them a tree.

    The same seed gives the same package.
    """
    root = generate_document(seed)
    nodes = [get_item_node(seed, index) for index in range(items)]
    top = EntityLink(root["title"], root["identifier"], root["uri"])
    return {
        "CFDocument": root,
        "CFItems": [generate_item(seed, index) for index in range(items)],
        "CFAssociations": [
            generate_association(
                seed, index, nodes[index], nodes[(index - 1) // CHILDREN] if index else top
            )
            for index in range(items)
        ],
        "CFDefinitions": {"CFItemTypes": [ITEM_TYPE]},
    }


def generate_package_json(items: int, seed: str) -> bytes:
    """Generate a CASE package of ``items`` items as JSON; the same seed gives the same bytes."""
    return orjson.dumps(generate_package(items, seed))


def generate_document(seed: str) -> Body:
    """Generate the CFDocument (the root) of the framework with a given seed.

    Its title begins with one of four subjects, so that filters by title find some frameworks only.
    """
    subject = SUBJECTS[crc32(seed.encode()) % len(SUBJECTS)]
    package = build_identifier(seed, "package")
    return {
        **_entity(build_identifier(seed, "document")),
        "caseVersion": "1.1",
        "creator": "Example State Department of Education",
        "title": f"{subject} standards, edition {seed}",
        "publisher": "Example Publisher",
        "description": generate_statement(seed, 0),
        "subject": [subject],
        "language": "en",
        "version": "2026",
        "adoptionStatus": "Adopted",
        "CFPackageURI": {"title": "package", "identifier": package, "uri": f"{HOME}/{package}"},
    }


def generate_item(seed: str, index: int) -> Body:
    """Generate the CFItem with number ``index`` of the framework with a given seed.

    Its ``humanCodingScheme`` (code) is unique in the framework.
    """
    node = get_item_node(seed, index)
    text = generate_statement(seed, index)
    if index % RARITY == RARITY // 2:
        text += f" by the {RARE_WORDS}"
    return {
        **_entity(node.identifier),
        "fullStatement": text,
        "alternativeLabel": f"Standard {index}",
        "CFItemType": "Standard",
        "humanCodingScheme": node.title,
        "listEnumeration": str(index % CHILDREN + 1),
        "abbreviatedStatement": text[:60],
        "conceptKeywords": text.lower().split()[:2],
        "notes": generate_statement(seed, index + 7919),
        "subject": ["Mathematics"],
        "language": "en",
        "educationLevel": [f"{index % 12 + 1:02}"],
        "CFItemTypeURI": TYPE_LINK,
    }


def generate_association(
    seed: str, index: int, origin: EntityLink, destination: EntityLink
) -> Body:
    """Generate the isChildOf association that makes ``origin`` a child of ``destination``.

    ``index`` is its number in the framework with the given seed.
    """
    return {
        **_entity(build_identifier(seed, f"association/{index}")),
        "associationType": "isChildOf",
        "sequenceNumber": index % CHILDREN + 1,
        "originNodeURI": origin._asdict(),
        "destinationNodeURI": destination._asdict(),
    }


def generate_stored_items(seed: str, indexes: range) -> Iterator[Body]:
    """Generate items as the server stores them: with a link to the document they belong to.

    ``indexes`` are their numbers in the framework with the given seed.
    """
    root = generate_document(seed)
    link = {"title": root["title"], "identifier": root["identifier"], "uri": root["uri"]}
    for index in indexes:
        yield {**generate_item(seed, index), "CFDocumentURI": link}


def get_item_node(seed: str, index: int) -> EntityLink:
    """Return the CASE link (title, identifier, URI) to item number ``index`` of a framework."""
    identifier = build_identifier(seed, f"item/{index}")
    return EntityLink(f"{seed}.{index % 12 + 1}.{index}", identifier, f"{HOME}/{identifier}")


def build_identifier(seed: str, name: str) -> str:
    """Return the UUID of an entity: the same for the same seed and name, such as ``item/7``."""
    return str(uuid5(NAMESPACE_URL, f"{HOME}/{seed}/{name}"))


def generate_statement(seed: str, index: int) -> str:
    """Generate the text of an item: 24 random words, the same for the same seed and index."""
    start = crc32(seed.encode()) + index
    first, second = SENTENCES[start % 997], SENTENCES[start // 997 % 997]
    return f"{first} {second}".capitalize()


def _entity(identifier: str) -> Body:
    return {
        "identifier": identifier,
        "uri": f"{HOME}/{identifier}",
        "lastChangeDateTime": TIMESTAMP,
    }


ITEM_TYPE: Body = {
    **_entity(build_identifier("all", "item type")),
    "title": "Standard",
    "description": "What learners should know and be able to do",
    "hierarchyCode": "S",
}
TYPE_LINK = {name: ITEM_TYPE[name] for name in ("title", "identifier", "uri")}
