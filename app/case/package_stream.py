"""Parse a CFPackage entity by entity, so that its objects are never all in memory at once.

Parsing a large package in one piece would take a hundred megabytes and block all other threads for
half a second, and many times as long if most of it is invalid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ..exceptions import BadRequest, ContentTooLarge
from .model import CFDefinition, Entity
from .package import (
    DEFINITIONS_FIELD,
    LISTS,
    EntityListSpec,
    EntityRow,
    IdentifiedCFPackage,
    PreparedPackage,
    UploadedCFPackage,
    iter_package_rows,
    parse_package,
    prepare_package,
)
from .validation.limits import DOCUMENT_DENSITY, check_density, has_too_many_members
from .validation.parsing import FIRST_MEMBER, parse_or_collect_errors
from .validation.problems import MAX_COUNTED_PROBLEMS, Location, ProblemCollector, format_location

MEMBERS = msgspec.json.Decoder(list[msgspec.Raw])
ARRAY = re.compile(rb"\s*\[")
OBJECT = re.compile(rb"\s*\{")
EMPTY_ARRAY = msgspec.Raw(b"[]")


def parse_large_package(
    raw: bytes,
    max_problems: int = MAX_COUNTED_PROBLEMS,
    *,
    allow_dense: bool = False,
    schema: type[IdentifiedCFPackage] = IdentifiedCFPackage,
) -> PreparedPackage:
    """Parse and validate a CFPackage entity by entity, which needs less memory than at once.

    Returns and raises the same as ``parse_package``, but stops after ``max_problems`` errors.
    ``schema`` is the model class of the package. A package that exceeds the ``DensityLimit`` is
    accepted if none of its entities exceeds its own limit, or with ``allow_dense``.
    """
    parser = _PackageParser(raw, max_problems, schema, allow_dense=allow_dense)
    try:
        package, rows = parser.parse_document()
        return replace(package, rows=list(rows.parse()))
    except INVALID_JSON_ERRORS as error:
        return parser.reparse_whole(error)


def parse_package_lazily(raw: bytes) -> PreparedPackage:
    """Parse the document of an uploaded CFPackage into a ``PreparedPackage`` with lazy ``rows``.

    Each iteration over ``rows`` parses and validates the other entities, and raises their errors.
    Raises ``BadRequest`` if the body is not JSON, ``UnprocessableContent`` if the document is
    invalid, and ``ContentTooLarge`` for too many values in few bytes (see ``DensityLimit``).
    """
    parser = _PackageParser(raw, MAX_COUNTED_PROBLEMS, UploadedCFPackage)
    try:
        return parser.parse_document()[0]
    except INVALID_JSON_ERRORS as error:
        return parser.reparse_whole(error)


INVALID_JSON_ERRORS = (msgspec.DecodeError, BadRequest, UnicodeError, RecursionError)
"""Errors of entity-by-entity parsing for a body that is not JSON."""


class _PackageParser:
    """Parses the JSON of a package one entity at a time, to save memory."""

    def __init__(
        self,
        raw: bytes,
        max_problems: int,
        schema: type[IdentifiedCFPackage],
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

    def parse_document(self) -> tuple[PreparedPackage, _LazyRows]:
        """Return a ``PreparedPackage`` with the parsed document, and the package's ``_LazyRows``.

        The rows are parsed when they are iterated. If the document is invalid, raises
        ``UnprocessableContent`` with the errors of all entities. Raises one of
        ``INVALID_JSON_ERRORS`` if the body is not JSON.
        """
        split_package, problems = self._split_members(), ProblemCollector(self.max_problems)
        head = parse_or_collect_errors(
            self.schema, split_package.head, problems, split_package.location
        )
        if head is None:
            for spec in LISTS:
                for _ in _parse_list_members(spec, split_package, problems):
                    pass
            raise problems.to_exception("CFPackage")
        rows = _LazyRows(self, split_package, head)
        return prepare_package(head, rows), rows

    def reparse_whole(self, error: Exception) -> PreparedPackage:
        """Parse the body again in one piece, after ``error`` occurred while parsing it in parts.

        Returns the ``PreparedPackage``, or raises the error of the whole body, because its message
        has the right line and column. A body that is too dense to be parsed in one piece raises
        ``ContentTooLarge`` or ``BadRequest`` instead.
        """
        if self.dense is None:
            return parse_package(self.raw, allow_dense=True, schema=self.schema)
        if isinstance(error, msgspec.ValidationError):  # not a package, or one with unknown fields
            raise self.dense from None
        if isinstance(error, BadRequest):
            raise error
        raise BadRequest(f"the body is not JSON: {error}; send a JSON object") from None

    def _split_members(self) -> _SplitPackage:
        first_member, location = FIRST_MEMBER.match(self.raw), Location()
        wrapper = first_member[1].decode() if first_member else ""
        package: Any = self.raw
        if wrapper in WRAPPED:
            package, location = getattr(WRAPPED[wrapper].decode(self.raw), wrapper), (wrapper,)
        members = _decode_members(PACKAGE, package)
        definitions: dict[str, msgspec.Raw] = {}
        if has_definitions := OBJECT.match(members.get(DEFINITIONS_FIELD, b"")) is not None:
            definitions = _decode_members(DEFINITIONS_OBJECT, members[DEFINITIONS_FIELD])
        lists: dict[EntityListSpec, list[msgspec.Raw]] = {}
        for spec in LISTS:
            *parents, name = spec.path
            container = definitions if parents else members
            if ARRAY.match(container.get(name, b"")):
                lists[spec] = self._split_list(spec, container[name], location)
                container[name] = EMPTY_ARRAY
        if has_definitions:
            members[DEFINITIONS_FIELD] = msgspec.Raw(msgspec.json.encode(definitions))
        head = msgspec.json.encode(members)
        if self.dense:
            check_density(head, DOCUMENT_DENSITY, "the package without its lists")
        return _SplitPackage(location, head, lists)

    def _split_list(
        self, spec: EntityListSpec, array: msgspec.Raw, location: Location
    ) -> list[msgspec.Raw]:
        if self.dense is None:
            return MEMBERS.decode(array)
        # Each member takes 56 bytes, even if it is a digit.
        if has_too_many_members(bytes(array)):
            raise self.dense
        members = MEMBERS.decode(array)
        for index, member in enumerate(members):
            check_density(
                bytes(member), spec.density, format_location((*location, *spec.path, index))
            )
        return members


@dataclass
class _SplitPackage:
    """The JSON of a package as bytes: the members of its lists, and the rest as ``head``."""

    location: Location
    """The location of the package in the body."""
    head: bytes
    """The package as JSON with empty lists."""
    lists: Mapping[EntityListSpec, list[msgspec.Raw]]


def _decode_members(decoder: msgspec.json.Decoder[Any], raw: bytes) -> dict[str, msgspec.Raw]:
    members = msgspec.structs.asdict(decoder.decode(raw))
    return {name: value for name, value in members.items() if value is not None}


def _make_object_decoder(*names: str) -> msgspec.json.Decoder[Any]:
    """Create a msgspec decoder of JSON objects that have no members other than ``names``.

    It returns a struct with the undecoded value (``msgspec.Raw``) of each member, or None if the
    member is missing. It raises ``msgspec.ValidationError`` for any other member.
    """
    fields = [(name, msgspec.Raw, None) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Object", fields, forbid_unknown_fields=True))


PACKAGE = _make_object_decoder(*IdentifiedCFPackage.model_fields, "sourcedId")
DEFINITIONS_OBJECT = _make_object_decoder(*CFDefinition.model_fields)
WRAPPED = {wrapper: _make_object_decoder(wrapper) for wrapper in ("CFPackage", "package")}


@dataclass(frozen=True)
class _LazyRows:
    """The rows of a package in storage order, parsed anew on each iteration."""

    parser: _PackageParser
    split_package: _SplitPackage
    head: IdentifiedCFPackage

    def __iter__(self) -> Iterator[EntityRow]:
        """Parse and yield the rows.

        Raises ``BadRequest`` for invalid JSON and, after the last row, ``UnprocessableContent``
        with the errors of all entities.
        """
        try:
            yield from self.parse()
        except INVALID_JSON_ERRORS as error:
            self.parser.reparse_whole(error)
            raise

    def parse(self) -> Iterator[EntityRow]:
        """Yield an ``EntityRow`` for each entity, in storage order, parsing one at a time.

        Raises one of ``INVALID_JSON_ERRORS`` for invalid JSON, which ``__iter__`` replaces with the
        error of the whole body. After the last row, raises ``UnprocessableContent`` with the errors
        of all entities.
        """
        problems = ProblemCollector(self.parser.max_problems)

        def get_members(spec: EntityListSpec) -> Iterator[Entity]:
            return _parse_list_members(spec, self.split_package, problems)

        return iter_package_rows(self.head, get_members, problems)


def _parse_list_members(
    spec: EntityListSpec, package: _SplitPackage, problems: ProblemCollector
) -> Iterator[Entity]:
    """Yield the valid members of the list ``spec`` of a package as model instances.

    Adds the errors of invalid members to ``problems``, and stops once those have reached their
    limit.
    """
    for index, member in enumerate(package.lists.get(spec, ())):
        if problems.is_limit_reached:
            return
        entity = parse_or_collect_errors(
            spec.schema, bytes(member), problems, (*package.location, *spec.path, index)
        )
        if entity is not None:
            yield entity
