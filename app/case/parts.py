"""A package read entity by entity: never does the whole of it stand in memory as objects.

Reading it in one piece would take a hundred megabytes, keep every other thread from running for
half a second, and many times as much where most of it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar

import msgspec

from ..errors import BadRequest
from .bounds import refuse_crowded
from .model import CFAssociation, CFPckgItem, Entity
from .package import (
    NamedCFPackage,
    Package,
    Row,
    Triple,
    groups,
    item_row,
    link_to,
    read_package,
    repetitions,
    row,
    take_apart,
    triple_of,
    wrong_name,
)
from .problems import MOST_COUNTED, Location, Problems
from .reading import FIRST_NAME, examine

Many = TypeVar("Many", bound=Entity)

LIST = msgspec.json.Decoder(list[msgspec.Raw])
ITEMS, ASSOCIATIONS = "CFItems", "CFAssociations"
"""The lists that grow with a framework."""

A_LIST = re.compile(rb"\s*\[")


def read_large_package(raw: bytes, most: int = MOST_COUNTED) -> Package:
    """As ``package.read_package``; after so many problems no more are looked for."""
    refuse_crowded(raw)
    return read_accepted(raw, most)


def read_accepted(raw: bytes, most: int = MOST_COUNTED) -> Package:
    """As ``read_large_package``, of a body whose density is known to be right."""
    try:
        return _read(_split(raw), most)
    except (msgspec.DecodeError, BadRequest, UnicodeError, RecursionError):
        # What is wrong with the JSON is told with its line and column in the whole.
        return read_package(raw, crowded=True)


@dataclass
class _Split:
    """A body, its lists of many taken out of it."""

    at: Location
    """Where the package stands in it."""
    head: bytes
    """The package with empty lists in their places."""
    lists: dict[str, list[msgspec.Raw]]


def _object_of(*names: str) -> msgspec.json.Decoder[Any]:
    """Reads objects that have no other fields, without holding the others of those that have."""
    fields = [(name, msgspec.Raw, None) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Object", fields, forbid_unknown_fields=True))


PACKAGE = _object_of(*NamedCFPackage.model_fields, "sourcedId")
WRAPPED = {wrapper: _object_of(wrapper) for wrapper in ("CFPackage", "package")}


def _split(raw: bytes) -> _Split:
    first, at = FIRST_NAME.match(raw), ()
    wrapper = first[1].decode() if first else ""
    package: Any = raw
    if wrapper in WRAPPED:
        package, at = getattr(WRAPPED[wrapper].decode(raw), wrapper), (wrapper,)
    found = msgspec.structs.asdict(PACKAGE.decode(package))
    members = {name: value for name, value in found.items() if value is not None}
    lists = {
        name: LIST.decode(members[name])
        for name in (ITEMS, ASSOCIATIONS)
        if A_LIST.match(members.get(name, b""))
    }
    head = msgspec.json.encode(members | {name: msgspec.Raw(b"[]") for name in lists})
    return _Split(at, head, lists)


def _read(split: _Split, most: int) -> Package:
    """All parts, in the order in which they are stored. Raises ``InvalidData``."""
    problems = Problems(most)
    head = examine(NamedCFPackage, split.head, problems, split.at)
    package, link = (take_apart(head), link_to(head.CFDocument)) if head else (None, None)
    items: list[Row] = []
    for item in _each(CFPckgItem, split, ITEMS, problems):
        if not problems:
            item.CFDocumentURI = item.CFDocumentURI or link
            items.append(item_row(item))
    associations: list[Row] = []
    triples: list[Triple] = []
    for one in _each(CFAssociation, split, ASSOCIATIONS, problems):
        if not problems:
            one.CFDocumentURI = one.CFDocumentURI or link
            triples.append(triple_of(one))
            associations.append(row("CFAssociation", one))
    if head is None or package is None or problems:
        raise problems.refusal("CFPackage")
    _refuse_contradictions(head, package.rows, items, associations, triples)
    rows = package.rows
    before_rubrics = len(rows) - sum(one.kind.startswith("CFRubric") for one in rows)
    rows = [*rows[:before_rubrics], *items, *associations, *rows[before_rubrics:]]
    return replace(package, rows=rows)


def _each(kind: type[Many], split: _Split, name: str, problems: Problems) -> Iterator[Many]:
    """The members of a list that are valid; what the others lack is added to ``problems``."""
    for index, one in enumerate(split.lists.get(name, ())):
        if problems.enough:
            return
        entity = examine(kind, bytes(one), problems, (*split.at, name, index))
        if entity is not None:
            yield entity


def _refuse_contradictions(
    head: NamedCFPackage,
    others: list[Row],
    items: list[Row],
    associations: list[Row],
    triples: list[Triple],
) -> None:
    """Raise ``InvalidData`` where parts that are valid do not go together."""
    parts = (*others, *items, *associations)
    repeated = len({(one.kind, one.identifier) for one in parts}) < len(parts)
    found = wrong_name(head)
    if repeated or len({*triples}) < len(triples):
        named = [[one.identifier for one in many] for many in (items, associations)]
        lists = ([(ITEMS, named[0])], [(ASSOCIATIONS, named[1])], *groups(head))
        found = chain(found, repetitions(lists, zip(named[1], triples, strict=True)))
    problems = Problems()
    for problem in found:
        problems.add(**problem)
    if problems:
        raise problems.refusal("CFPackage")
