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
        package, rows = _open(raw, most)
        return replace(package, rows=list(rows.understood()))
    except UNREADABLE:
        # What is wrong with the JSON is told with its line and column in the whole.
        return read_package(raw, crowded=True)


def open_package(raw: bytes) -> Package:
    """As ``read_large_package``, but only the head of it is read at once.

    The rows are read, and the rest is refused, as they are gone through: never do all of them
    stand in memory. They can be gone through again, which reads them anew.
    """
    refuse_crowded(raw)
    try:
        package, rows = _open(raw, MOST_COUNTED)
    except UNREADABLE:
        return read_package(raw, crowded=True)
    return replace(package, rows=rows)


UNREADABLE = (msgspec.DecodeError, BadRequest, UnicodeError, RecursionError)
"""What reading by parts raises for a body that is not JSON."""


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
    first, at = FIRST_NAME.match(raw), Location()
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


def _open(raw: bytes, most: int) -> tuple[Package, _Rows]:
    """The package without its lists of many, and all rows of it. Raises ``InvalidData``."""
    split, problems = _split(raw), Problems(most)
    head = examine(NamedCFPackage, split.head, problems, split.at)
    if head is None:
        for kind, name in ((CFPckgItem, ITEMS), (CFAssociation, ASSOCIATIONS)):
            for _ in _each(kind, split, name, problems):
                pass
        raise problems.refusal("CFPackage")
    package = take_apart(head)
    return package, _Rows(raw, split, head, [*package.rows], most)


@dataclass(frozen=True)
class _Rows:
    """All rows of a package, in the order in which they are stored, read as they are asked for."""

    raw: bytes
    split: _Split
    head: NamedCFPackage
    others: list[Row]
    """Those that are of no list of many."""
    most: int

    def __iter__(self) -> Iterator[Row]:
        """Raises ``InvalidData`` and ``BadRequest``."""
        try:
            yield from self.understood()
        except UNREADABLE:
            read_package(self.raw, crowded=True)
            raise

    def understood(self) -> Iterator[Row]:
        """Raises ``InvalidData``, and any of ``UNREADABLE``."""
        problems, link = Problems(self.most), link_to(self.head.CFDocument)
        before_rubrics = sum(not one.kind.startswith("CFRubric") for one in self.others)
        yield from self.others[:before_rubrics]
        items: list[str] = []
        for item in _each(CFPckgItem, self.split, ITEMS, problems):
            if not problems:
                item.CFDocumentURI = item.CFDocumentURI or link
                items.append(item.identifier)
                yield item_row(item)
        associations: list[tuple[str, Triple]] = []
        for one in _each(CFAssociation, self.split, ASSOCIATIONS, problems):
            if not problems:
                one.CFDocumentURI = one.CFDocumentURI or link
                associations.append((one.identifier, triple_of(one)))
                yield row("CFAssociation", one)
        if problems:
            raise problems.refusal("CFPackage")
        self._refuse_contradictions(items, associations)
        yield from self.others[before_rubrics:]

    def _refuse_contradictions(
        self, items: list[str], associations: list[tuple[str, Triple]]
    ) -> None:
        """Raise ``InvalidData`` where parts that are valid do not go together."""
        found = wrong_name(self.head)
        others = [(one.kind, one.identifier) for one in self.others]
        named = [identifier for identifier, _ in associations]
        triples = [triple for _, triple in associations]
        if any(len({*several}) < len(several) for several in (others, items, named, triples)):
            lists = ([(ITEMS, items)], [(ASSOCIATIONS, named)], *groups(self.head))
            found = chain(found, repetitions(lists, associations))
        problems = Problems()
        for problem in found:
            problems.add(**problem)
        if problems:
            raise problems.refusal("CFPackage")


def _each(kind: type[Many], split: _Split, name: str, problems: Problems) -> Iterator[Many]:
    """The members of a list that are valid; what the others lack is added to ``problems``."""
    for index, one in enumerate(split.lists.get(name, ())):
        if problems.enough:
            return
        entity = examine(kind, bytes(one), problems, (*split.at, name, index))
        if entity is not None:
            yield entity
