"""Primitive types of the standard, as strict as its JSON binding.

Responses never contain ``null`` (CASE 1.1 implementation guide). Requests may: ``null`` in an
optional field means that the field is absent, because clients send it, among them TimeBack's own
example. ``Omittable[T]`` is that ``T`` for pydantic, and ``T | None`` for type checkers.
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
class NullAsDefault:
    """Annotation of a model field that accepts null and replaces it with ``default()``.

    Without ``default``, a function such as ``list``, null becomes None.
    """

    default: Callable[[], Any] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Return pydantic's schema of the field, extended to accept null."""
        # Not a wrap validator, because pydantic would then validate the field as a Python object,
        # in which a date must not be a string.
        nullable = core_schema.nullable_schema(handler(source))
        if self.default is None:
            return nullable
        default = self.default

        def replace_none(value: Any) -> Any:
            return default() if value is None else value

        return core_schema.no_info_after_validator_function(replace_none, nullable)


if not TYPE_CHECKING:

    class Omittable:
        """The type of a field that may be omitted or null, written ``Omittable[T]``."""

        def __class_getitem__(cls, kind: Any) -> Any:
            return Annotated[kind, NullAsDefault()]


def unwrap_omittable(hint: Any) -> Any:
    """Return ``T`` for the field type ``Omittable[T]``, and other types unchanged."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *metadata = get_args(hint)
    markers = [marker for marker in metadata if not isinstance(marker, NullAsDefault)]
    return Annotated[(kind, *markers)] if markers else kind


MAX_INT = 2**64 - 1
MIN_INT = -(2**63)


def _make_pattern(names: tuple[str, ...]) -> str:
    return f"^({'|'.join(names)}|{EXTENSION_NAME})$"


def _make_vocabulary_schema(names: tuple[str, ...]) -> WithJsonSchema:
    """Return a JSON Schema that accepts the given names and extensions such as ``ext:name``."""
    extension = {"type": "string", "maxLength": 255, "pattern": f"^{EXTENSION_NAME}$"}
    return WithJsonSchema({"anyOf": [{"type": "string", "enum": [*names]}, extension]})


def _convert_integral_float(value: object) -> object:
    """Convert a float such as 1.0 to an integer; return other values unchanged.

    JSON does not distinguish 1.0 from 1.
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _require_iso_date_time(value: object) -> object:
    """Return a value if it is a string such as ``2026-01-31T12:00:00Z``, for pydantic to parse.

    Raises ``PydanticCustomError`` for other values, because pydantic would accept Unix timestamps.
    """
    if not isinstance(value, str) or value[10:11] not in {"T", "t"}:
        raise PydanticCustomError("not_iso", "must be an ISO 8601 date-time with a time zone")
    return value


def _to_utc(timestamp: datetime) -> datetime:
    try:
        # Most are in UTC already; replacing the zone is faster than a conversion.
        return timestamp.astimezone(UTC) if timestamp.utcoffset() else timestamp.replace(tzinfo=UTC)
    except OverflowError:
        message = "must be in the years 1 to 9999 in UTC"
        raise PydanticCustomError("beyond_calendar", message) from None


def find_unstorable_values(value: Any, path: str) -> Iterator[str]:
    """Yield a message for each part of a JSON value that the database cannot store exactly.

    These parts are NUL characters, integers beyond 64 bits, numbers beyond double precision, and
    NaN. Each message begins with the path of the part, such as ``extensions.tags[0]``. ``path`` is
    the path of ``value``.
    """
    match value:
        case dict():
            if any("\x00" in key for key in value):
                yield f"{path}: a name contains a NUL character, which cannot be stored"
            for key, part in value.items():
                yield from find_unstorable_values(part, f"{path}.{key}")
        case list():
            for index, part in enumerate(value):
                yield from find_unstorable_values(part, f"{path}[{index}]")
        case str() if "\x00" in value:
            yield f"{path}: a NUL character cannot be stored"
        case int() if not MIN_INT <= value <= MAX_INT:
            yield f"{path}: an integer beyond 64 bits cannot be stored exactly"
        case float() if math.isnan(value):
            advice = "send null or a string"
            yield f"{path}: NaN cannot be stored, because JSON has no such value; {advice}"
        case float() if math.isinf(value):
            # The parser reads 1e999 as infinity, too.
            yield f"{path}: Infinity, or a number beyond double precision, cannot be stored"


MAX_LISTED_PLACES = 20
"""Parts of one extension that an error message lists."""


def describe_unstorable_extensions(value: Any) -> str:
    """Return a message that names the parts of ``extensions`` that cannot be stored, or ""."""
    return "; ".join(islice(find_unstorable_values(value, "extensions"), MAX_LISTED_PLACES))


def _require_storable(value: Any) -> Any:
    if message := describe_unstorable_extensions(value):
        raise PydanticCustomError("extensions", "{problems}", {"problems": message})
    return value


TEXT_PATTERN = r"^[^\x00]*$"
IDENTIFIER_PATTERN = (
    r"^(?:[^./\x00-\x1f\x7f-\x9f]|\.[^./\x00-\x1f\x7f-\x9f]|\.\.[^/\x00-\x1f\x7f-\x9f])"
    r"[^/\x00-\x1f\x7f-\x9f]*$"
)
MAX_IDENTIFIER_CHARS = 255
URI_PATTERN = r"^[A-Za-z][A-Za-z0-9+.\-]*:[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+$"
ASSOCIATION_TYPE_PATTERN = _make_pattern(ASSOCIATION_TYPES)
TARGET_TYPE_PATTERN = _make_pattern(TARGET_TYPES)

IDENTIFIER_RULE = (
    f"1 to {MAX_IDENTIFIER_CHARS} characters without / and control characters, and not . or .."
)
"""The rule for identifiers. Clients resolve the path segments . and .. (RFC 3986, section 5.2.4),
so they cannot request an entity with such an identifier."""

PATTERN_MESSAGES = {
    TEXT_PATTERN: "a NUL character cannot be stored",
    IDENTIFIER_PATTERN: f"must be {IDENTIFIER_RULE}",
    URI_PATTERN: "must be an absolute URI, with anything but RFC 3986 characters percent-encoded",
    ASSOCIATION_TYPE_PATTERN: f"must be one of {', '.join(ASSOCIATION_TYPES)}, or ext:name",
    TARGET_TYPE_PATTERN: f"must be {', '.join(TARGET_TYPES)} or ext:name",
}
"""Error messages for strings that do not match a pattern."""

Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN), WithJsonSchema({"type": "string"})]
"""A string that Postgres can store."""

IDENTIFIER_SCHEMA: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_IDENTIFIER_CHARS,
    "pattern": IDENTIFIER_PATTERN,
    "examples": ["e5f6a7b8-c9d0-4e1f-aa3b-4c5d6e7f8091"],
}
"""The JSON Schema of identifiers."""

Identifier = Annotated[
    str,
    StringConstraints(pattern=IDENTIFIER_PATTERN, max_length=MAX_IDENTIFIER_CHARS),
    WithJsonSchema(IDENTIFIER_SCHEMA),
]
"""The identifier of an entity: usually a UUID, but not all real identifiers are."""

Uri = Annotated[
    str, StringConstraints(pattern=URI_PATTERN), WithJsonSchema({"type": "string", "format": "uri"})
]
"""An absolute URI in the characters of RFC 3986."""

DateTime = Annotated[
    AwareDatetime,
    Field(strict=False),  # _require_iso_date_time accepts strings only
    BeforeValidator(_require_iso_date_time),
    AfterValidator(_to_utc),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
]
"""An ISO 8601 date-time with a time zone."""

Date = Annotated[date, WithJsonSchema({"type": "string", "format": "date"})]
"""A date, YYYY-MM-DD."""

Integer = Annotated[
    int,
    BeforeValidator(_convert_integral_float),
    Field(ge=-(2**31), le=2**31 - 1),
    WithJsonSchema({"type": "integer", "format": "int32"}),
]
"""A 32-bit integer."""

Number = Annotated[float, WithJsonSchema({"type": "number", "format": "float"})]
"""A number of a rubric."""

AssociationType = Annotated[
    str,
    StringConstraints(pattern=ASSOCIATION_TYPE_PATTERN, max_length=255),
    _make_vocabulary_schema(ASSOCIATION_TYPES),
]
"""A type of the standard, or an extension: ``ext:name``."""

TargetType = Annotated[
    str,
    StringConstraints(pattern=TARGET_TYPE_PATTERN, max_length=255),
    _make_vocabulary_schema(TARGET_TYPES),
]
"""``CASE``, or ``ext:name`` for a node outside CASE."""

Extensions = Annotated[dict[str, Any], AfterValidator(_require_storable)]
"""Additional data under names that the standard does not define."""
