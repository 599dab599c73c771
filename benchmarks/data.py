"""Synthetic frameworks: trees of any number of items, with bodies as long as real ones.

The same seed always gives the same framework, and different seeds share no identifiers.
"""

import random
import re
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
FRENCH_RARITY, DATE_RARITY = 250, 500
"""One in so many items has the language ``fr``, and one in so many a ``statusStartDate``."""

WORDS = (
    "add subtract multiply divide compare explain represent interpret model solve "
    "measure graph estimate whole number fraction decimal ratio angle line area volume "
    "function equation pattern table data sample text author claim evidence reason "
    "energy force motion matter cell system within between using including given several "
    "real simple complex different equal unknown"
)

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_RNG = random.Random(11)  # noqa: S311  words, no secrets
SENTENCES = [" ".join(_RNG.choices(WORDS.split(), k=12)) for _ in range(997)]
"""A prime number of sentences, so that pairs of them repeat only after a million statements."""


class EntityLink(NamedTuple):
    """A CASE link to an entity, as used in associations: title, identifier and URI."""

    title: str
    identifier: str
    uri: str


def generate_package(item_count: int, seed: str) -> Body:
    """Generate a CASE package: items, and the associations that make them a tree.

    The same seed gives the same package.
    """
    return {
        "CFDocument": generate_document(seed),
        "CFItems": [generate_item(seed, index) for index in range(item_count)],
        "CFAssociations": list(generate_associations(seed, range(item_count))),
        "CFDefinitions": {"CFItemTypes": [ITEM_TYPE]},
    }


def generate_package_json(item_count: int, seed: str) -> bytes:
    """Generate a CASE package as JSON; the same seed gives the same bytes."""
    return orjson.dumps(generate_package(item_count, seed))


def generate_document(seed: str) -> Body:
    """Generate the CFDocument (the root) of the framework with the given seed.

    Its title begins with one of four subjects, so that filters by title match only some frameworks.
    """
    subject = SUBJECTS[crc32(seed.encode()) % len(SUBJECTS)]
    package = build_uuid(seed, "package")
    return {
        **_make_entity(build_uuid(seed, "document")),
        "caseVersion": "1.1",
        "creator": "Example State Department of Education",
        "title": f"{subject} standards, edition {seed}",
        "publisher": "Example Publisher",
        "description": generate_item_text(seed, 0),
        "subject": [subject],
        "language": "en",
        "version": "2026",
        "adoptionStatus": "Adopted",
        "CFPackageURI": {"title": "package", "identifier": package, "uri": f"{HOME}/{package}"},
    }


def generate_item(seed: str, index: int) -> Body:
    """Generate the CFItem at position ``index`` of a framework.

    Its ``humanCodingScheme`` (code) is unique in the framework.
    """
    node = build_item_link(seed, index)
    text = generate_item_text(seed, index)
    if index % RARITY == RARITY // 2:
        text += f" by the {RARE_WORDS}"
    return {
        **_make_entity(node.identifier),
        "fullStatement": text,
        "alternativeLabel": f"Standard {index}",
        "CFItemType": "Standard",
        "humanCodingScheme": node.title,
        "listEnumeration": str(index % CHILDREN + 1),
        "abbreviatedStatement": text[:60],
        "conceptKeywords": text.lower().split()[:2],
        "notes": generate_item_text(seed, index + 7919),
        "subject": ["Mathematics"],
        "language": "en" if index % FRENCH_RARITY else "fr",
        "educationLevel": [f"{index % 12 + 1:02}"],
        "CFItemTypeURI": TYPE_LINK,
        **({} if index % DATE_RARITY else {"statusStartDate": "2025-08-01"}),
    }


def generate_associations(seed: str, indexes: range) -> Iterator[Body]:
    """Generate the associations that make the items at ``indexes`` the tree of a framework."""
    root = generate_document(seed)
    nodes = [build_item_link(seed, index) for index in indexes]
    document_link = EntityLink(root["title"], root["identifier"], root["uri"])
    for number, index in enumerate(indexes):
        parent = nodes[(number - 1) // CHILDREN] if number else document_link
        yield generate_child_association(seed, index, nodes[number], parent)


def generate_child_association(
    seed: str, index: int, origin: EntityLink, destination: EntityLink
) -> Body:
    """Generate the isChildOf association that makes ``origin`` a child of ``destination``.

    ``index`` is the position of ``origin`` in the framework.
    """
    return {
        **_make_entity(build_uuid(seed, f"association/{index}")),
        "associationType": "isChildOf",
        "sequenceNumber": index % CHILDREN + 1,
        "originNodeURI": origin._asdict(),
        "destinationNodeURI": destination._asdict(),
    }


def generate_stored_items(seed: str, indexes: range) -> Iterator[Body]:
    """Generate items as the server stores them, with a link to their document.

    ``indexes`` are the positions of the items in the framework.
    """
    link = _document_link(seed)
    for index in indexes:
        yield {**generate_item(seed, index), "CFDocumentURI": link}


def generate_stored_associations(seed: str, indexes: range) -> Iterator[Body]:
    """Generate the associations of ``generate_stored_items`` as the server stores them."""
    link = _document_link(seed)
    for body in generate_associations(seed, indexes):
        yield {**body, "CFDocumentURI": link}


def _document_link(seed: str) -> dict[str, Any]:
    root = generate_document(seed)
    return {"title": root["title"], "identifier": root["identifier"], "uri": root["uri"]}


def build_item_link(seed: str, index: int) -> EntityLink:
    """Build the CASE link (title, identifier, URI) to the item at position ``index``."""
    identifier = build_uuid(seed, f"item/{index}")
    return EntityLink(f"{seed}.{index % 12 + 1}.{index}", identifier, f"{HOME}/{identifier}")


def build_uuid(seed: str, name: str) -> str:
    """Build a deterministic UUID from a framework's seed and a name such as ``item/7``."""
    return str(uuid5(NAMESPACE_URL, f"{HOME}/{seed}/{name}"))


def make_identifiers_unique(package: str, prefix: str) -> bytes:
    """Replace all UUIDs in the JSON of a package with new ones that are derived with a prefix.

    One server cannot store two frameworks that share identifiers, as real frameworks do.
    """
    renamed = UUID.sub(lambda match: str(uuid5(NAMESPACE_URL, f"{prefix}/{match[0]}")), package)
    return renamed.encode()


def generate_item_text(seed: str, index: int) -> str:
    """Generate an item's text: 24 random words, the same for the same seed and index."""
    start = crc32(seed.encode()) + index
    first, second = SENTENCES[start % 997], SENTENCES[start // 997 % 997]
    return f"{first} {second}".capitalize()


def _make_entity(identifier: str) -> Body:
    uri = f"{HOME}/{identifier}"
    return {"identifier": identifier, "uri": uri, "lastChangeDateTime": TIMESTAMP}


ITEM_TYPE: Body = {
    **_make_entity(build_uuid("all", "item type")),
    "title": "Standard",
    "description": "What learners should know and be able to do",
    "hierarchyCode": "S",
}
TYPE_LINK = {name: ITEM_TYPE[name] for name in ("title", "identifier", "uri")}
