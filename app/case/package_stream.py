"""Parse a CFPackage entity by entity, so that its objects are never all in memory at once.

Parsing a large package in one piece would take a hundred megabytes and block all other threads for
half a second, and many times as long if most of it is invalid.
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
    DOCUMENT_DENSITY,
    ENTITY_DENSITY,
    RUBRIC_DENSITY,
    DensityLimit,
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
    check_package_identifier,
    convert_to_rows,
    find_duplicates_in_package,
    get_criterion_identifiers,
    get_relation_key,
    iter_rubric_identifier_groups,
    make_association_row,
    make_document_link,
    make_entity_row,
    make_item_row,
    make_rubric_rows,
    parse_package,
)
from .parsing import FIRST_MEMBER, parse_or_collect_errors
from .problems import MAX_COUNTED_PROBLEMS, Location, Problems, format_path
from .resources import DEFINITIONS


class EntityList(NamedTuple):
    """A list of entities in a package, such as CFItems: its path and its members' class."""

    path: tuple[str, ...]
    schema: type[Entity]
    density: DensityLimit = ENTITY_DENSITY


DEFINITIONS_FIELD = "CFDefinitions"
ITEMS = EntityList(("CFItems",), CFPckgItem)
ASSOCIATIONS = EntityList(("CFAssociations",), CFAssociation)
RUBRICS = EntityList(("CFRubrics",), CFRubric, RUBRIC_DENSITY)
LISTS = (
    *(EntityList((DEFINITIONS_FIELD, kind.collection), kind.schema) for kind in DEFINITIONS),
    ITEMS,
    ASSOCIATIONS,
    RUBRICS,
)
"""All lists of entities, in the order of their rows."""

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
    """Parse a large package as ``parse_package`` does, but entity by entity, to save memory.

    The search for errors ends after ``max_problems``. Raises ``ContentTooLarge`` if an entity has
    more values than its size allows, unless ``allow_dense``.
    """
    parser = _PackageParser(raw, max_problems, schema, allow_dense=allow_dense)
    try:
        package, rows = parser.parse_document()
        return replace(package, rows=list(rows.parse()))
    except INVALID_JSON_ERRORS as error:
        return parser.parse_whole(error)


def parse_package_lazily(raw: bytes) -> Package:
    """Parse an uploaded package's document now, and the other entities while iterating its rows.

    Errors of these entities are therefore raised during the iteration. A second iteration parses
    them again.
    """
    parser = _PackageParser(raw, MAX_COUNTED_PROBLEMS, UploadedCFPackage)
    try:
        package, rows = parser.parse_document()
    except INVALID_JSON_ERRORS as error:
        return parser.parse_whole(error)
    return replace(package, rows=rows)


INVALID_JSON_ERRORS = (msgspec.DecodeError, BadRequest, UnicodeError, RecursionError)
"""Errors of entity-by-entity parsing for a body that is not JSON."""


class _PackageParser:
    """Parses the JSON of a package one entity at a time, to save memory."""

    def __init__(
        self,
        raw: bytes,
        max_problems: int,
        schema: type[NamedCFPackage],
        *,
        allow_dense: bool = False,
    ) -> None:
        self.raw, self.max_problems, self.schema = raw, max_problems, schema
        self.dense: ContentTooLarge | None = None
        """Set if the body is too dense to be parsed as a whole; each entity is then checked."""
        if not allow_dense:
            try:
                check_density(raw)
            except ContentTooLarge as error:
                self.dense = error

    def parse_document(self) -> tuple[Package, _LazyRows]:
        """Parse the document; return a package of it alone, and the rows of all entities.

        The rows are parsed as they are iterated. Raises ``UnprocessableContent`` if the document is
        invalid, with the errors of all entities.
        """
        split, problems = self._split(), Problems(self.max_problems)
        head = parse_or_collect_errors(self.schema, split.head, problems, split.at)
        if head is None:
            for each in LISTS:
                for _ in _parse_members(each, split, problems):
                    pass
            raise problems.to_exception("CFPackage")
        package = convert_to_rows(head)
        return package, _LazyRows(self, split, head, [*package.rows])

    def parse_whole(self, error: Exception) -> Package:
        """Parse the package in one piece, after parsing entity by entity failed with ``error``.

        The errors then have a line and column. A body with more values than its size allows is
        rejected instead.
        """
        if self.dense is None:
            return parse_package(self.raw, allow_dense=True, schema=self.schema)
        if isinstance(error, msgspec.ValidationError):  # not a package, or one with unknown fields
            raise self.dense from None
        if isinstance(error, BadRequest):
            raise error
        raise BadRequest(f"the body is not JSON: {error}; send a JSON object") from None

    def _split(self) -> _SplitPackage:
        first, at = FIRST_MEMBER.match(self.raw), Location()
        wrapper = first[1].decode() if first else ""
        package: Any = self.raw
        if wrapper in WRAPPED:
            package, at = getattr(WRAPPED[wrapper].decode(self.raw), wrapper), (wrapper,)
        members = _decode_members(PACKAGE, package)
        definitions_json = members.get(DEFINITIONS_FIELD, b"")
        values: dict[tuple[str, ...], msgspec.Raw] = {
            (name,): value for name, value in members.items()
        }
        if OBJECT.match(definitions_json):
            definitions = _decode_members(DEFINITIONS_OBJECT, definitions_json)
            values |= {(DEFINITIONS_FIELD, name): value for name, value in definitions.items()}
        lists = {
            each: self._split_list(each, values[each.path], at)
            for each in LISTS
            if ARRAY.match(values.get(each.path, b""))
        }
        empty = msgspec.Raw(b"[]")
        if OBJECT.match(definitions_json):
            emptied = definitions | {
                each.path[1]: empty for each in lists if each.path[0] == DEFINITIONS_FIELD
            }
            members[DEFINITIONS_FIELD] = msgspec.Raw(msgspec.json.encode(emptied))
        head = msgspec.json.encode(
            members | {each.path[0]: empty for each in lists if len(each.path) == 1}
        )
        if self.dense:
            check_density(head, DOCUMENT_DENSITY, "the package without its lists")
        return _SplitPackage(at, head, lists)

    def _split_list(self, each: EntityList, array: msgspec.Raw, at: Location) -> list[msgspec.Raw]:
        if self.dense is None:
            return MEMBERS.decode(array)
        # Each member takes 56 bytes, even if it is a digit.
        if has_many_members(bytes(array)):
            raise self.dense
        members = MEMBERS.decode(array)
        for index, member in enumerate(members):
            check_density(bytes(member), each.density, format_path((*at, *each.path, index)))
        return members


@dataclass
class _SplitPackage:
    """The JSON of a package in two parts: the package with its lists emptied, and these lists."""

    at: Location
    """The location of the package in the body."""
    head: bytes
    """The package as JSON with empty lists."""
    lists: Mapping[EntityList, list[msgspec.Raw]]


def _decode_members(decoder: msgspec.json.Decoder[Any], raw: bytes) -> dict[str, msgspec.Raw]:
    """Return the fields of a JSON object with their values as undecoded JSON."""
    fields = msgspec.structs.asdict(decoder.decode(raw))
    return {name: value for name, value in fields.items() if value is not None}


def _make_object_decoder(*names: str) -> msgspec.json.Decoder[Any]:
    """Create a decoder for JSON objects that have only the fields in ``names``.

    It raises an error at any other field, without storing that field's value.
    """
    fields = [(name, msgspec.Raw, None) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Object", fields, forbid_unknown_fields=True))


PACKAGE = _make_object_decoder(*NamedCFPackage.model_fields, "sourcedId")
DEFINITIONS_OBJECT = _make_object_decoder(*CFDefinition.model_fields)
WRAPPED = {wrapper: _make_object_decoder(wrapper) for wrapper in ("CFPackage", "package")}


@dataclass(frozen=True)
class _LazyRows:
    """The rows of a package in the order in which they are stored; each iteration parses them."""

    parser: _PackageParser
    split: _SplitPackage
    head: NamedCFPackage
    document: list[EntityRow]

    def __iter__(self) -> Iterator[EntityRow]:
        """Parse and yield the rows. Raises ``UnprocessableContent`` or ``BadRequest``."""
        try:
            yield from self.parse()
        except INVALID_JSON_ERRORS as error:
            self.parser.parse_whole(error)
            raise

    def parse(self) -> Iterator[EntityRow]:
        """Parse and yield the rows, without translating JSON errors.

        Raises ``UnprocessableContent``, and any of ``INVALID_JSON_ERRORS``.
        """
        problems, link = (
            Problems(self.parser.max_problems),
            make_document_link(self.head.CFDocument),
        )
        yield from self.document
        namespaces: list[IdentifierLists] = []
        keys: list[tuple[str, RelationKey]] = []
        rubrics: list[CriterionIdentifiers] = []
        for each in LISTS:
            identifiers: list[str] = []
            namespaces.append([(format_path(each.path), identifiers)])
            for entity in _parse_members(each, self.split, problems):
                if problems:
                    continue
                identifiers.append(entity.identifier)
                match entity:
                    case CFPckgItem():
                        yield make_item_row(entity, link)
                    case CFAssociation():
                        keys.append((entity.identifier, get_relation_key(entity)))
                        yield make_association_row(entity, link)
                    case CFRubric():
                        rubrics.append(get_criterion_identifiers(entity))
                        yield from make_rubric_rows(entity)
                    case _:
                        yield make_entity_row(KINDS[type(entity)], entity)
        if problems:
            raise problems.to_exception("CFPackage")
        self._reject_duplicates([*namespaces, *iter_rubric_identifier_groups(rubrics)], keys)

    def _reject_duplicates(
        self, namespaces: list[IdentifierLists], keys: list[tuple[str, RelationKey]]
    ) -> None:
        """Raise ``UnprocessableContent`` if entities share an identifier, or associations a key.

        The key of an association is its (origin, destination, type).
        """
        errors = check_package_identifier(self.head)
        # Sets first, because most packages have no duplicates, and sets show that fastest.
        merged = [[name for _, names in lists for name in names] for lists in namespaces]
        has_duplicates = any(len({*names}) < len(names) for names in merged)
        if has_duplicates or len({key for _, key in keys}) < len(keys):
            errors = chain(errors, find_duplicates_in_package(namespaces, keys))
        problems = Problems()
        for problem in errors:
            problems.add(**problem)
        if problems:
            raise problems.to_exception("CFPackage")


def _parse_members(each: EntityList, split: _SplitPackage, problems: Problems) -> Iterator[Entity]:
    """Yield the valid members of a list, and add the errors of the others to ``problems``."""
    for index, member in enumerate(split.lists.get(each, ())):
        if problems.limit_reached:
            return
        entity = parse_or_collect_errors(
            each.schema, bytes(member), problems, (*split.at, *each.path, index)
        )
        if entity is not None:
            yield entity
