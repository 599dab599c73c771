"""Synthetic frameworks: trees of any number of items, with bodies as long as real ones.

A seed always generates the same framework, and different seeds share no identifiers.
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
"""Number of children of a node of the tree."""

RARE_WORDS = "parallelogram law"
"""Words that one of ``RARITY`` statements contains."""
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


class Node(NamedTuple):
    """The members of a link: title, identifier and URI."""

    title: str
    identifier: str
    uri: str


def framework(items: int, seed: str) -> Body:
    """Return a CFPackage of items, and as many associations that arrange them as a tree."""
    root = document(seed)
    nodes = [node_of(seed, index) for index in range(items)]
    top = Node(root["title"], root["identifier"], root["uri"])
    return {
        "CFDocument": root,
        "CFItems": [item(seed, index) for index in range(items)],
        "CFAssociations": [
            association(seed, index, nodes[index], nodes[(index - 1) // CHILDREN] if index else top)
            for index in range(items)
        ],
        "CFDefinitions": {"CFItemTypes": [ITEM_TYPE]},
    }


def packed(items: int, seed: str) -> bytes:
    """Return a CFPackage as JSON."""
    return orjson.dumps(framework(items, seed))


def document(seed: str) -> Body:
    """Return the CFDocument of a framework; its title begins with one of four subjects."""
    subject = SUBJECTS[crc32(seed.encode()) % len(SUBJECTS)]
    package = identifier_of(seed, "package")
    return {
        **_entity(identifier_of(seed, "document")),
        "caseVersion": "1.1",
        "creator": "Example State Department of Education",
        "title": f"{subject} standards, edition {seed}",
        "publisher": "Example Publisher",
        "description": statement(seed, 0),
        "subject": [subject],
        "language": "en",
        "version": "2026",
        "adoptionStatus": "Adopted",
        "CFPackageURI": {"title": "package", "identifier": package, "uri": f"{HOME}/{package}"},
    }


def item(seed: str, index: int) -> Body:
    """Return a CFItem; its code is unique in its framework."""
    node = node_of(seed, index)
    text = statement(seed, index)
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
        "notes": statement(seed, index + 7919),
        "subject": ["Mathematics"],
        "language": "en",
        "educationLevel": [f"{index % 12 + 1:02}"],
        "CFItemTypeURI": TYPE_LINK,
    }


def association(seed: str, index: int, origin: Node, destination: Node) -> Body:
    """Return the CFAssociation that makes one node a child of another."""
    return {
        **_entity(identifier_of(seed, f"association/{index}")),
        "associationType": "isChildOf",
        "sequenceNumber": index % CHILDREN + 1,
        "originNodeURI": origin._asdict(),
        "destinationNodeURI": destination._asdict(),
    }


def stored_items(seed: str, indexes: range) -> Iterator[Body]:
    """Yield items as the server stores them, with a link to their document."""
    root = document(seed)
    link = {"title": root["title"], "identifier": root["identifier"], "uri": root["uri"]}
    for index in indexes:
        yield {**item(seed, index), "CFDocumentURI": link}


def node_of(seed: str, index: int) -> Node:
    """Return the members of a link to an item."""
    identifier = identifier_of(seed, f"item/{index}")
    return Node(f"{seed}.{index % 12 + 1}.{index}", identifier, f"{HOME}/{identifier}")


def identifier_of(seed: str, name: str) -> str:
    """Return the UUID of a named entity of a seed."""
    return str(uuid5(NAMESPACE_URL, f"{HOME}/{seed}/{name}"))


def statement(seed: str, index: int) -> str:
    """Return a long random sentence."""
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
    **_entity(identifier_of("all", "item type")),
    "title": "Standard",
    "description": "What learners should know and be able to do",
    "hierarchyCode": "S",
}
TYPE_LINK = {name: ITEM_TYPE[name] for name in ("title", "identifier", "uri")}
