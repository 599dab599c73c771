"""Fields that filters, sorting and selections can name, derived from the model classes.

A field is named by its dotted path. The parts of a link are fields too
(``CFPackageURI.identifier``); below ``extensions``, any path is a field. ``sourcedId``, TimeBack's
name for ``identifier``, is accepted in its place everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, PlainSerializer
from pydantic.fields import FieldInfo

from ..formatting import truncate


class FieldType(StrEnum):
    """The type of a field's value, which decides how filters compare it.

    The value of each member names the type in error messages, such as "a number" for NUMBER.
    """

    STRING = "a string"
    NUMBER = "a number"
    DATE = "a date"
    DATETIME = "a date-time"
    STRINGS = "an array of strings"
    LINK = "an object"
    LINKS = "an array of objects"
    LINK_LIST_PART = "a field of each object in an array"
    EXTENSION = "an extension"


ARRAYS = frozenset({FieldType.STRINGS, FieldType.LINK_LIST_PART})
SCALARS = frozenset({FieldType.STRING, FieldType.NUMBER, FieldType.DATE, FieldType.DATETIME})

EXPECTED_VALUES = {
    FieldType.NUMBER: "a number such as '3' or '0.75'",
    FieldType.DATE: "a date such as '2026-01-31'",
    FieldType.DATETIME: "an ISO 8601 date or date-time such as '2026-01-31T08:00:00Z'",
}
"""Descriptions of valid values, for the types that do not accept every string."""

# Within the ranges of Postgres' double precision and numeric, which fail on overflow.
NUMBER_PATTERN = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")

MAX_QUOTED_CHARS = 40

TYPES = {
    str: FieldType.STRING,
    int: FieldType.NUMBER,
    float: FieldType.NUMBER,
    date: FieldType.DATE,
    AwareDatetime: FieldType.DATETIME,
}
ARRAY_TYPES = {
    FieldType.STRING: FieldType.STRINGS,
    FieldType.LINK: FieldType.LINKS,
    FieldType.EXTENSION: FieldType.EXTENSION,
}
"""The type of an array, by the type of its members."""


@dataclass(frozen=True)
class QueryableField:
    """A field of a JSON entity by which clients can filter, sort or select: its path and type."""

    path: tuple[str, ...]
    type: FieldType

    @property
    def name(self) -> str:
        """The dotted name of the field, such as ``CFItemTypeURI.title``."""
        return ".".join(self.path)

    @property
    def is_comparable(self) -> bool:
        """True if filters can compare the field.

        Filters cannot compare a whole link or all ``extensions``, only a part of them, such as
        ``licenseURI.title``.
        """
        if self.type is FieldType.EXTENSION:
            return len(self.path) > 1
        return self.type in SCALARS | ARRAYS

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators with which filters can compare the field, such as ``=`` and ``~``."""
        if self.type in ARRAYS:
            return ("=", "!=", "~")
        if self.type is FieldType.DATETIME:
            return ("=", "!=", ">", ">=", "<", "<=")
        return ("=", "!=", ">", ">=", "<", "<=", "~")

    def parse_value(self, text: str) -> str | datetime | None:
        """Parse a filter's operand for the field.

        A timestamp becomes a datetime in UTC; any other operand stays a string. Returns None if
        ``text`` is not a value of the field's type.
        """
        match self.type:
            case FieldType.NUMBER:
                return text if is_storable_number(text) else None
            case FieldType.DATE:
                return text if _is_date(text) else None
            case FieldType.DATETIME:
                return _parse_timestamp(text)
        return text


Fields: TypeAlias = "Mapping[str, QueryableField]"


@cache
def list_fields(model: type[BaseModel], exclude: frozenset[str] = frozenset()) -> Fields:
    """Return the queryable fields of a model class as a mapping by dotted name, in model order.

    They include the fields of links, such as ``CFItemTypeURI.title``. ``exclude`` names the fields
    that the API profile does not have.
    """
    fields = [
        field
        for name, info in model.model_fields.items()
        if name not in exclude
        for field in _iter_field_and_parts(name, info)
    ]
    return MappingProxyType({field.name: field for field in fields})


def resolve_field(fields: Fields, name: str) -> QueryableField | None:
    """Return the ``QueryableField`` with the dotted name that a client sent, or None.

    ``fields`` contains the known fields by name. ``sourcedId`` is an alias of ``identifier``, and
    any path below ``extensions`` is a field.
    """
    path = tuple(name.split("."))
    field = fields.get(path[0])
    if field and field.type is FieldType.EXTENSION:
        return QueryableField(path, FieldType.EXTENSION) if all(path) else None
    return fields.get(".".join("identifier" if part == "sourcedId" else part for part in path))


def is_storable_number(text: str) -> bool:
    """Return whether a string such as ``-1.5e3`` is within the range of Postgres' numeric types.

    It may have 30 digits on each side of the decimal point, and 2 in the exponent.
    """
    return NUMBER_PATTERN.fullmatch(text) is not None


def format_choices(names: Iterable[str]) -> str:
    """Format the allowed names for the end of an error message: "one of title, uri"."""
    return f"one of {', '.join(names)}"


def truncate_for_message(text: str) -> str:
    """Shorten client input to 40 characters, for quoting it in an error message."""
    return truncate(text, MAX_QUOTED_CHARS)


def _is_date(text: str) -> bool:
    try:
        # Python also reads 20260131 and 2026-W05-6, which do not sort as strings.
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _parse_timestamp(text: str) -> datetime | None:
    try:
        timestamp = datetime.fromisoformat(text)
        # Converted here, because the offset may lead out of the years that a datetime can hold.
        return timestamp.astimezone(UTC) if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _iter_field_and_parts(name: str, info: FieldInfo) -> Iterator[QueryableField]:
    """Yield a ``QueryableField`` for a model field, and for each string field of its links.

    For example, ``licenseURI`` also yields ``licenseURI.title``. ``info`` is pydantic's description
    of the model field ``name``.
    """
    field_type = _get_field_type(info.annotation)
    has_serializer = any(isinstance(marker, PlainSerializer) for marker in info.metadata)
    # An array of links with its own serializer (conceptKeywordsURI) is serialized as one link.
    if field_type is FieldType.LINKS and has_serializer:
        field_type = FieldType.LINK
    yield QueryableField((name,), field_type)
    if field_type in (FieldType.LINK, FieldType.LINKS):
        is_link = field_type is FieldType.LINK
        part_type = FieldType.STRING if is_link else FieldType.LINK_LIST_PART
        (link_model,) = get_args(info.annotation) or (info.annotation,)
        for part, part_info in link_model.model_fields.items():
            if _get_field_type(part_info.annotation) is FieldType.STRING:
                yield QueryableField((name, part), part_type)


def _get_field_type(annotation: Any) -> FieldType:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _get_field_type(get_args(annotation)[0])
    if origin is Literal:
        return FieldType.STRING
    if origin is dict:
        return FieldType.EXTENSION
    if origin is list:
        return ARRAY_TYPES[_get_field_type(get_args(annotation)[0])]
    return FieldType.LINK if issubclass(annotation, BaseModel) else TYPES[annotation]
