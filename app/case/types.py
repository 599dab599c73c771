"""The primitive types of the standard, as strict as its JSON binding.

An answer never contains ``null`` (CASE 1.1 implementation guide). A request may: ``null`` in an
optional field means that the field is absent, because clients, the vendor's own example among them,
send it so. ``Maybe[T]`` is that ``T`` to pydantic and ``T | None`` to type checkers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

from ..formatting import format_timestamp
from .vocabulary import ASSOCIATION_TYPES, EXTENSION_NAME, TARGET_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias, TypeVar

    from pydantic import GetCoreSchemaHandler

    T = TypeVar("T")
    Omittable: TypeAlias = T | None


@dataclass(frozen=True)
class NullAs:
    """Annotates an optional field: null in JSON is read as the value that ``default`` makes.

    A validator function around the field would do the same, but pydantic would then validate the
    field as Python objects, in which a date may not be a string.
    """

    default: Callable[[], Any] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Return the schema of the field, extended by null."""
        nullable = core_schema.nullable_schema(handler(source))
        if self.default is None:
            return nullable
        default = self.default

        def replace_none(value: Any) -> Any:
            return default() if value is None else value

        return core_schema.no_info_after_validator_function(replace_none, nullable)


if not TYPE_CHECKING:

    class Omittable:
        """``Maybe[T]``: the type of an optional field."""

        def __class_getitem__(cls, kind: Any) -> Any:
            return Annotated[kind, NullAs()]


def without_null(hint: Any) -> Any:
    """Return the type of an optional field without its ``NullAs``; any other type as it is."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *metadata = get_args(hint)
    rest = [each for each in metadata if not isinstance(each, NullAs)]
    return Annotated[(kind, *rest)] if rest else kind


MAX_INT = 2**64 - 1
MIN_INT = -(2**63)


def _one_of(names: tuple[str, ...]) -> str:
    return f"^({'|'.join(names)}|{EXTENSION_NAME})$"


def _integral_float(value: object) -> object:
    """JSON knows one kind of number: 1.0 is the integer 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _require_iso(value: object) -> object:
    """A date, T and a time: pydantic alone would take seconds since 1970, too."""
    if not isinstance(value, str) or value[10:11] not in {"T", "t"}:
        raise PydanticCustomError("not_iso", "must be an ISO 8601 date-time with a time zone")
    return value


def _to_utc(moment: datetime) -> datetime:
    try:
        # Most are in UTC already, and being told so costs less than being converted.
        return moment.astimezone(UTC) if moment.utcoffset() else moment.replace(tzinfo=UTC)
    except OverflowError:
        message = "must lie in the years 1 to 9999 in UTC, too"
        raise PydanticCustomError("beyond_calendar", message) from None


def find_unstorable(value: Any, path: str) -> Iterator[str]:
    """Each place in a JSON value that could not be given back as it was sent."""
    match value:
        case dict():
            if any("\x00" in key for key in value):
                yield f"{path}: a name holds a NUL character, which cannot be stored"
            for key, part in value.items():
                yield from find_unstorable(part, f"{path}.{key}")
        case list():
            for index, part in enumerate(value):
                yield from find_unstorable(part, f"{path}[{index}]")
        case str() if "\x00" in value:
            yield f"{path}: a NUL character cannot be stored"
        case int() if not MIN_INT <= value <= MAX_INT:
            yield f"{path}: an integer beyond 64 bits cannot be given back exactly"
        case float() if not math.isfinite(value):
            yield f"{path}: a number beyond double precision cannot be given back"


MAX_LISTED_PLACES = 20
"""How many places in one extension are named."""


def check_extensions(value: Any) -> Iterator[str]:
    """Why extensions cannot be stored, if they cannot: one message with the first reasons."""
    if problems := list(islice(find_unstorable(value, "extensions"), MAX_LISTED_PLACES)):
        yield "; ".join(problems)


def _check_extensions(value: Any) -> Any:
    for message in check_extensions(value):
        raise PydanticCustomError("extensions", "{problems}", {"problems": message})
    return value


TEXT_PATTERN = r"^[^\x00]*$"
IDENTIFIER_PATTERN = (
    r"^(?:[^./\x00-\x1f\x7f-\x9f]|\.[^./\x00-\x1f\x7f-\x9f]|\.\.[^/\x00-\x1f\x7f-\x9f])"
    r"[^/\x00-\x1f\x7f-\x9f]*$"
)
MAX_IDENTIFIER_CHARS = 255
URI_PATTERN = r"^[A-Za-z][A-Za-z0-9+.\-]*:[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+$"
ASSOCIATION_TYPE_PATTERN = _one_of(ASSOCIATION_TYPES)
TARGET_TYPE_PATTERN = _one_of(TARGET_TYPES)

IDENTIFIER_RULE = (
    f"1 to {MAX_IDENTIFIER_CHARS} characters without / and control characters, and not . or .."
)
"""Clients resolve a path segment of one or two dots (RFC 3986 5.2.4), and so never ask for it."""

PATTERN_MESSAGES = {
    TEXT_PATTERN: "a NUL character cannot be stored",
    IDENTIFIER_PATTERN: f"must be {IDENTIFIER_RULE}",
    URI_PATTERN: "must be an absolute URI, with anything but RFC 3986 characters percent-encoded",
    ASSOCIATION_TYPE_PATTERN: f"must be one of {', '.join(ASSOCIATION_TYPES)}, or ext:name",
    TARGET_TYPE_PATTERN: f"must be {', '.join(TARGET_TYPES)} or ext:name",
}
"""What to say when a text does not match."""

Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN), WithJsonSchema({"type": "string"})]
"""Any text that Postgres can hold."""

IDENTIFIER_SCHEMA: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_IDENTIFIER_CHARS,
    "pattern": IDENTIFIER_PATTERN,
}
"""What is accepted as an identifier, as JSON Schema."""

Identifier = Annotated[
    str,
    StringConstraints(pattern=IDENTIFIER_PATTERN, max_length=MAX_IDENTIFIER_CHARS),
    WithJsonSchema(IDENTIFIER_SCHEMA),
]
"""What names an entity: usually a UUID, but real ones are not all conformant."""

Uri = Annotated[
    str,
    StringConstraints(pattern=URI_PATTERN),
    WithJsonSchema({"type": "string", "format": "uri"}),
]
"""An absolute URI in the characters of RFC 3986."""

DateTime = Annotated[
    AwareDatetime,
    Field(strict=False),  # what _iso lets through is text
    BeforeValidator(_require_iso),
    AfterValidator(_to_utc),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
]
"""ISO 8601 with a zone."""

Date = Annotated[date, WithJsonSchema({"type": "string", "format": "date"})]
"""YYYY-MM-DD."""

Integer = Annotated[
    int,
    BeforeValidator(_integral_float),
    Field(ge=-(2**31), le=2**31 - 1),
    WithJsonSchema({"type": "integer", "format": "int32"}),
]
"""A 32-bit integer."""

AssociationType = Annotated[
    str, StringConstraints(pattern=ASSOCIATION_TYPE_PATTERN, max_length=255)
]
"""One of the standard's types, or one of somebody's own: ``ext:name``."""

TargetType = Annotated[str, StringConstraints(pattern=TARGET_TYPE_PATTERN, max_length=255)]
"""``CASE``, or ``ext:name`` for a node outside CASE."""

Extensions = Annotated[dict[str, Any], AfterValidator(_check_extensions)]
"""Anything somebody wants to add, under names of their own."""
