"""A large package read entity by entity: what is valid never stands in memory as a whole.

Reading it in one piece would take a hundred megabytes of objects, and keep every other thread from
running for half a second. What is not valid is left to ``package.read_package``, which reads the
whole of it and names every problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import msgspec
from pydantic import ValidationError

from .bounds import refuse_crowded
from .model import CFAssociation, CFPckgItem, Entity
from .package import (
    NamedCFPackage,
    Package,
    item_row,
    link_to,
    read_package,
    row,
    take_apart,
    wrong_name,
)
from .reading import FIRST_NAME

Many = TypeVar("Many", bound=Entity)

OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
LIST = msgspec.json.Decoder(list[msgspec.Raw])

WRAPPERS = ("CFPackage", "package")
MANY = ("CFItems", "CFAssociations")
"""The lists that grow with a framework."""


def read_large_package(raw: bytes) -> Package:
    """As ``package.read_package``."""
    refuse_crowded(raw)
    return _by_parts(raw) or read_package(raw)


def _by_parts(raw: bytes) -> Package | None:
    """The rows of a valid package, bare or wrapped; None when it is not valid."""
    try:
        members = OBJECT.decode(raw)
        first = FIRST_NAME.match(raw)
        wrapper = first[1].decode() if first else ""
        if wrapper in WRAPPERS and len(members) == 1:
            members = OBJECT.decode(members[wrapper])
        few = {name: value for name, value in members.items() if name not in MANY}
        head = NamedCFPackage.model_validate_json(
            msgspec.json.encode({**few, **{name: [] for name in MANY if name in members}})
        )
        lists = [LIST.decode(members.get(name, b"[]")) for name in MANY]
        if any(wrong_name(head)):
            return None
        return _whole(head, *lists)
    except (msgspec.DecodeError, ValidationError, UnicodeError, RecursionError):
        return None


def _whole(
    head: NamedCFPackage, items: list[msgspec.Raw], associations: list[msgspec.Raw]
) -> Package | None:
    """The rows of all parts, in the order in which they are stored; None when one is repeated."""
    package, link = take_apart(head), link_to(head.CFDocument)
    first_rubric = len(package.rows) - sum(one.kind.startswith("CFRubric") for one in package.rows)
    rows, rubrics = package.rows[:first_rubric], package.rows[first_rubric:]
    for item in _each(CFPckgItem, items):
        item.CFDocumentURI = item.CFDocumentURI or link
        rows.append(item_row(item))
    triples: set[tuple[str, str, str]] = set()
    for one in _each(CFAssociation, associations):
        one.CFDocumentURI = one.CFDocumentURI or link
        ends = (one.originNodeURI.identifier, one.destinationNodeURI.identifier)
        triples.add((*ends, one.associationType))
        rows.append(row("CFAssociation", one))
    rows += rubrics
    repeated = len({(one.kind, one.identifier) for one in rows}) < len(rows)
    if repeated or len(triples) < len(associations):
        return None
    return replace(package, rows=rows)


def _each(kind: type[Many], raw: list[msgspec.Raw]) -> Iterator[Many]:
    for one in raw:
        yield kind.model_validate_json(bytes(one))
