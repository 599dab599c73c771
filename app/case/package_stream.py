"""A package read entity by entity: never does the whole of it stand in memory as objects.

Reading it in one piece would take a hundred megabytes, keep every other thread from running for
half a second, and many times as much where most of it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from ..exceptions import BadRequest, ContentTooLarge
from .limits import (
    ENTITY_DENSITY,
    HEADER_DENSITY,
    RUBRIC_DENSITY,
    Density,
    check_density,
    has_many_members,
)
from .model import CFAssociation, CFDefinition, CFPckgItem, CFRubric, Entity
from .package import (
    CriterionIdentifiers,
    EntityRow,
    IdentifierLists,
    NamedCFPackage,
    Package,
    RelationKey,
    UploadedCFPackage,
    association_row,
    check_package_identifier,
    criterion_identifiers,
    document_link,
    entity_row,
    find_duplicates,
    item_row,
    parse_package,
    relation_key,
    rubric_identifier_lists,
    rubric_rows,
    to_rows,
)
from .parsing import FIRST_MEMBER, parse_collecting
from .problems import MAX_COUNTED_PROBLEMS, Location, Problems, format_path
from .resources import DEFINITIONS


class EntityList(NamedTuple):
    """A list of entities in a package: where it is, and what its members are."""

    at: tuple[str, ...]
    schema: type[Entity]
    density: Density = ENTITY_DENSITY


DEFINED = "CFDefinitions"
ITEMS = EntityList(("CFItems",), CFPckgItem)
ASSOCIATIONS = EntityList(("CFAssociations",), CFAssociation)
RUBRICS = EntityList(("CFRubrics",), CFRubric, RUBRIC_DENSITY)
LISTS = (
    *(EntityList((DEFINED, kind.plural), kind.schema) for kind in DEFINITIONS),
    ITEMS,
    ASSOCIATIONS,
    RUBRICS,
)
"""All lists of entities, in the order in which their rows are stored."""

KINDS = {kind.schema: kind.name for kind in DEFINITIONS}

MEMBERS = msgspec.json.Decoder(list[msgspec.Raw])
ARRAY = re.compile(rb"\s*\[")
OBJECT = re.compile(rb"\s*\{")


def parse_large_package(
    raw: bytes,
    max_problems: int = MAX_COUNTED_PROBLEMS,
    *,
    allow_dense: bool = False,
    schema: type[NamedCFPackage] = NamedCFPackage,
) -> Package:
    """As ``package.read_package``; after so many problems no more are looked for.

    Raises ``TooLarge`` for a package of which an entity is denser than one may be, unless
    ``allow_dense``.
    """
    reading = _Reading(raw, max_problems, schema, allow_dense=allow_dense)
    try:
        package, rows = reading.open()
        return replace(package, rows=list(rows.understood()))
    except INVALID_JSON_ERRORS as error:
        return reading.read_whole(error)


def parse_package_lazily(raw: bytes) -> Package:
    """Read the body of a request to CFPackages, but only its head at once.

    The rows are read, and the rest is refused, as they are gone through: never do all of them
    stand in memory. They can be gone through again, which reads them anew.
    """
    reading = _Reading(raw, MAX_COUNTED_PROBLEMS, UploadedCFPackage)
    try:
        package, rows = reading.open()
    except INVALID_JSON_ERRORS as error:
        return reading.read_whole(error)
    return replace(package, rows=rows)


INVALID_JSON_ERRORS = (msgspec.DecodeError, BadRequest, UnicodeError, RecursionError)
"""What reading by parts raises for a body that is not JSON."""


class _Reading:
    """A body that is read as a package."""

    def __init__(
        self, raw: bytes, most: int, schema: type[NamedCFPackage], *, allow_dense: bool = False
    ) -> None:
        self.raw, self.most, self.schema = raw, most, schema
        self.dense: ContentTooLarge | None = None
        """Why the body may be read by parts only, and only as long as each of them is not dense."""
        if not allow_dense:
            try:
                check_density(raw)
            except ContentTooLarge as error:
                self.dense = error

    def open(self) -> tuple[Package, _Rows]:
        """The package without its lists, and all rows of it. Raises ``InvalidData``."""
        split, problems = self._split(), Problems(self.most)
        head = parse_collecting(self.schema, split.head, problems, split.at)
        if head is None:
            for each in LISTS:
                for _ in _entities(each, split, problems):
                    pass
            raise problems.to_exception("CFPackage")
        package = to_rows(head)
        return package, _Rows(self, split, head, [*package.rows])

    def read_whole(self, error: Exception) -> Package:
        """The package read in one piece, where reading it by parts raised an error.

        What is wrong with the JSON is told with its line and column in the whole.
        """
        if self.dense is None:
            return parse_package(self.raw, allow_dense=True, schema=self.schema)
        if isinstance(error, msgspec.ValidationError):  # not a package, or with unknown fields
            raise self.dense from None
        if isinstance(error, BadRequest):
            raise error
        raise BadRequest(f"the body is not JSON: {error}") from None

    def _split(self) -> _Split:
        first, at = FIRST_MEMBER.match(self.raw), Location()
        wrapper = first[1].decode() if first else ""
        package: Any = self.raw
        if wrapper in WRAPPED:
            package, at = getattr(WRAPPED[wrapper].decode(self.raw), wrapper), (wrapper,)
        members = _members(PACKAGE, package)
        defined = members.get(DEFINED, b"")
        held: dict[tuple[str, ...], msgspec.Raw] = {
            (name,): value for name, value in members.items()
        }
        if OBJECT.match(defined):
            definitions = _members(DEFINITIONS_OBJECT, defined)
            held |= {(DEFINED, name): value for name, value in definitions.items()}
        lists = {
            each: self._list(each, held[each.at], at)
            for each in LISTS
            if ARRAY.match(held.get(each.at, b""))
        }
        empty = msgspec.Raw(b"[]")
        if OBJECT.match(defined):
            left = definitions | {each.at[1]: empty for each in lists if each.at[0] == DEFINED}
            members[DEFINED] = msgspec.Raw(msgspec.json.encode(left))
        head = msgspec.json.encode(
            members | {each.at[0]: empty for each in lists if len(each.at) == 1}
        )
        if self.dense:
            check_density(head, HEADER_DENSITY, "the package without its lists")
        return _Split(at, head, lists)

    def _list(self, each: EntityList, array: msgspec.Raw, at: Location) -> list[msgspec.Raw]:
        if self.dense is None:
            return MEMBERS.decode(array)
        # Each member takes 56 bytes, even if it is a digit.
        if has_many_members(bytes(array)):
            raise self.dense
        members = MEMBERS.decode(array)
        for index, member in enumerate(members):
            check_density(bytes(member), each.density, format_path((*at, *each.at, index)))
        return members


@dataclass
class _Split:
    """A body, its lists of entities taken out of it."""

    at: Location
    """Where the package stands in it."""
    head: bytes
    """The package with empty lists in their places."""
    lists: Mapping[EntityList, list[msgspec.Raw]]


def _members(decoder: msgspec.json.Decoder[Any], raw: bytes) -> dict[str, msgspec.Raw]:
    """The fields of an object that it has."""
    fields = msgspec.structs.asdict(decoder.decode(raw))
    return {name: value for name, value in fields.items() if value is not None}


def _object_of(*names: str) -> msgspec.json.Decoder[Any]:
    """Reads objects that have no other fields, without holding the others of those that have."""
    fields = [(name, msgspec.Raw, None) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Object", fields, forbid_unknown_fields=True))


PACKAGE = _object_of(*NamedCFPackage.model_fields, "sourcedId")
DEFINITIONS_OBJECT = _object_of(*CFDefinition.model_fields)
WRAPPED = {wrapper: _object_of(wrapper) for wrapper in ("CFPackage", "package")}


@dataclass(frozen=True)
class _Rows:
    """All rows of a package, in the order in which they are stored, read as they are asked for."""

    reading: _Reading
    split: _Split
    head: NamedCFPackage
    document: list[EntityRow]

    def __iter__(self) -> Iterator[EntityRow]:
        """Raises ``InvalidData`` and ``BadRequest``."""
        try:
            yield from self.understood()
        except INVALID_JSON_ERRORS as error:
            self.reading.read_whole(error)
            raise

    def understood(self) -> Iterator[EntityRow]:
        """Raises ``InvalidData``, and any of ``UNREADABLE``."""
        problems, link = Problems(self.reading.most), document_link(self.head.CFDocument)
        yield from self.document
        names: list[IdentifierLists] = []
        triples: list[tuple[str, RelationKey]] = []
        rubrics: list[CriterionIdentifiers] = []
        for each in LISTS:
            named: list[str] = []
            names.append([(format_path(each.at), named)])
            for entity in _entities(each, self.split, problems):
                if problems:
                    continue
                named.append(entity.identifier)
                match entity:
                    case CFPckgItem():
                        yield item_row(entity, link)
                    case CFAssociation():
                        triples.append((entity.identifier, relation_key(entity)))
                        yield association_row(entity, link)
                    case CFRubric():
                        rubrics.append(criterion_identifiers(entity))
                        yield from rubric_rows(entity)
                    case _:
                        yield entity_row(KINDS[type(entity)], entity)
        if problems:
            raise problems.to_exception("CFPackage")
        self._refuse_contradictions([*names, *rubric_identifier_lists(rubrics)], triples)

    def _refuse_contradictions(
        self, names: list[IdentifierLists], triples: list[tuple[str, RelationKey]]
    ) -> None:
        """Raise ``InvalidData`` where parts that are valid do not go together."""
        found = check_package_identifier(self.head)
        several = [[name for _, named in group for name in named] for group in names]
        is_repeated = any(len({*each}) < len(each) for each in several)
        if is_repeated or len({triple for _, triple in triples}) < len(triples):
            found = chain(found, find_duplicates(names, triples))
        problems = Problems()
        for problem in found:
            problems.add(**problem)
        if problems:
            raise problems.to_exception("CFPackage")


def _entities(each: EntityList, split: _Split, problems: Problems) -> Iterator[Entity]:
    """The members of a list that are valid; what the others lack is added to ``problems``."""
    for index, one in enumerate(split.lists.get(each, ())):
        if problems.limit_reached:
            return
        entity = parse_collecting(each.schema, bytes(one), problems, (*split.at, *each.at, index))
        if entity is not None:
            yield entity
