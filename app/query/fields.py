"""What a list may be asked about: every field of a class of the model, by its dotted name.

Links are asked about through their parts (``CFPackageURI.identifier``), extensions through any
path below them. ``sourcedId`` is TimeBack's name for ``identifier`` and means it everywhere.
A field knows how it may be compared and reads the value it is compared with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, PlainSerializer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic.fields import FieldInfo


class FieldType(StrEnum):
    """What a field holds, as far as comparing and sorting are concerned."""

    STRING = "a text"
    NUMBER = "a number"
    DATE = "a date"
    DATETIME = "a date-time"
    STRINGS = "a list of texts"
    LINK = "an object"
    LINKS = "a list of objects"
    LINK_LIST_PART = "a part of every object of a list"
    EXTENSION = "an extension"


ARRAYS = frozenset({FieldType.STRINGS, FieldType.LINK_LIST_PART})
SCALARS = frozenset({FieldType.STRING, FieldType.NUMBER, FieldType.DATE, FieldType.DATETIME})

EXPECTED = {
    FieldType.NUMBER: "a number such as '3' or '0.75'",
    FieldType.DATE: "a date such as '2026-01-31'",
    FieldType.DATETIME: "an ISO 8601 date or date-time such as '2026-01-31T08:00:00Z'",
}
"""What a value must look like where not every text will do."""

# Within the range of Postgres' double precision and numeric, which refuse what overflows them.
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")

_LONGEST_QUOTE = 40

_SIMPLE = {
    str: FieldType.STRING,
    int: FieldType.NUMBER,
    float: FieldType.NUMBER,
    date: FieldType.DATE,
    AwareDatetime: FieldType.DATETIME,
}
_MANY = {
    FieldType.STRING: FieldType.STRINGS,
    FieldType.LINK: FieldType.LINKS,
    FieldType.EXTENSION: FieldType.EXTENSION,
}


@dataclass(frozen=True)
class Field:
    """A place in a body and the kind of value that stands there."""

    path: tuple[str, ...]
    type: FieldType

    @property
    def name(self) -> str:
        """The dotted name of the field."""
        return ".".join(self.path)

    @property
    def is_comparable(self) -> bool:
        """Whether a filter may compare it: objects only have parts that can be compared."""
        if self.type is FieldType.EXTENSION:
            return len(self.path) > 1
        return self.type in SCALARS | ARRAYS

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators that make sense of such a value."""
        if self.type in ARRAYS:
            return ("=", "!=", "~")
        if self.type is FieldType.DATETIME:
            return ("=", "!=", ">", ">=", "<", "<=")
        return ("=", "!=", ">", ">=", "<", "<=", "~")

    def parse_value(self, text: str) -> str | datetime | None:
        """The value that a text stands for here, or None if it is of another kind."""
        match self.type:
            case FieldType.NUMBER:
                return text if is_number(text) else None
            case FieldType.DATE:
                return text if _is_date(text) else None
            case FieldType.DATETIME:
                return _moment(text)
        return text


Fields: TypeAlias = "Mapping[str, Field]"


@cache
def fields_of(model: type[BaseModel], without: frozenset[str] = frozenset()) -> Fields:
    """Return every field of a class and every part of its links, by dotted name, in model order.

    The fields named by ``without`` are left out, because the caller's profile does not have them.
    """
    fields = [
        field
        for name, info in model.model_fields.items()
        if name not in without
        for field in _derive(name, info)
    ]
    return MappingProxyType({field.name: field for field in fields})


def resolve_field(fields: Fields, name: str) -> Field | None:
    """The field that a client's name means, if there is one."""
    path = tuple(name.split("."))
    top = fields.get(path[0])
    if top and top.type is FieldType.EXTENSION:
        return Field(path, FieldType.EXTENSION) if all(path) else None
    return fields.get(".".join("identifier" if part == "sourcedId" else part for part in path))


def is_number(text: str) -> bool:
    """Whether a text is a decimal number."""
    return _NUMBER.fullmatch(text) is not None


def one_of(names: Iterable[str]) -> str:
    """The end of a message that says what was allowed."""
    return f"one of {', '.join(names)}"


def truncate(text: str) -> str:
    """As much of a client's words as a message needs to quote."""
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def _is_date(text: str) -> bool:
    try:
        # Python also reads 20260131 and 2026-W05-6, which do not sort as text.
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        # In UTC, because a zone may lead out of the years that a datetime can hold.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _derive(name: str, info: FieldInfo) -> Iterator[Field]:
    kind = _kind(info.annotation)
    # A list of links with a serializer of its own (conceptKeywordsURI) is answered as one link.
    if kind is FieldType.LINKS and any(isinstance(each, PlainSerializer) for each in info.metadata):
        kind = FieldType.LINK
    yield Field((name,), kind)
    if kind in (FieldType.LINK, FieldType.LINKS):
        for part in _texts(info.annotation):
            yield Field(
                (name, part),
                FieldType.STRING if kind is FieldType.LINK else FieldType.LINK_LIST_PART,
            )


def _kind(annotation: Any) -> FieldType:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin is Literal:
        return FieldType.STRING
    if origin is dict:
        return FieldType.EXTENSION
    if origin is list:
        return _MANY[_kind(get_args(annotation)[0])]
    return FieldType.LINK if issubclass(annotation, BaseModel) else _SIMPLE[annotation]


def _texts(annotation: Any) -> Iterator[str]:
    """The text fields of the class of an object, or of the objects of a list."""
    (linked,) = get_args(annotation) or (annotation,)
    for name, info in linked.model_fields.items():
        if _kind(info.annotation) is FieldType.STRING:
            yield name
