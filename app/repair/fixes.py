"""Fixes for values that real files spell differently from the standard.

A fixer takes one value and returns a fix: the kind of repair and the new value. It returns None if
the value is right, or if it cannot be fixed without guessing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from math import isfinite
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from ..case.entity_urls import URI_CHARACTERS
from ..case.numbers import is_exact_as_double
from ..case.resources import RESOURCES
from ..case.types import (
    URI_PATTERN,
    AssociationType,
    Date,
    DateTime,
    Identifier,
    Integer,
    Number,
    TargetType,
    Text,
    Uri,
)
from ..case.vocabulary import ASSOCIATION_TYPES, CASE_VERSION, TARGET_TYPES

Fix: TypeAlias = tuple[str, Any]
Fixer: TypeAlias = Callable[[Any], Fix | None]

REMOVED = object()
"""The new value of a fix that removes the field."""

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_COLLECTIONS = "|".join([*(resource.collection for resource in RESOURCES), "CFPackages"])
MISSING_SLASH = re.compile(rf"(/(?:{_COLLECTIONS}))(?={UUID.pattern})")

_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"[Tt ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_ZONE = r"(?:[Zz]|[+-]\d{2}:?\d{2})"
DATETIME = re.compile(rf"({_DATE}){_TIME}{_ZONE}?")
DATETIME_WITHOUT_ZONE = re.compile(rf"({_DATE}){_TIME}")
DATE = re.compile(f"({_DATE})")

INTEGER = re.compile(r"[+-]?\d{1,10}(?:\.0*)?")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
INT32_LIMIT = 2**31

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RawNumber(float):
    """A float that keeps its notation in the JSON file, so that a code 1.10 stays 1.10."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def is_uri(value: object) -> bool:
    """Return whether a value is a string that matches the CASE standard's pattern for URIs."""
    return isinstance(value, str) and re.fullmatch(URI_PATTERN, value) is not None


def make_uuid_urn(identifier: str) -> str:
    """Return ``urn:uuid:{identifier}``, the fallback URI of an entity that has no other."""
    return f"urn:uuid:{quote(identifier, safe=URI_CHARACTERS)}"


def fix_string(value: Any) -> Fix | None:
    """Return a fix that converts a number or boolean to its JSON text, or None for other values."""
    match value:
        case bool():
            return "number-for-string", str(value).lower()
        case RawNumber():
            return "number-for-string", value.text
        case int() | float():
            return "number-for-string", str(value)
    return None


def fix_identifier(value: Any) -> Fix | None:
    """Return a fix that strips whitespace or converts a number to a string, or None."""
    if not isinstance(value, str):
        return fix_string(value)
    stripped = value.strip()
    return ("spaces-around-identifier", stripped) if stripped != value else _remove_if_empty(value)


def fix_uri(value: Any) -> Fix | None:
    """Return a fix that encodes invalid characters or adds the slash before the UUID, or None."""
    if not isinstance(value, str):
        return None
    encoded = quote(value.strip(), safe=URI_CHARACTERS)
    if not is_uri(value) and is_uri(encoded) and not CONTROL.search(value.strip()):
        return "uri-characters", encoded
    completed = MISSING_SLASH.sub(r"\1/", value)
    return ("missing-slash", completed) if completed != value else _remove_if_empty(value)


def fix_date(value: Any) -> Fix | None:
    """Return a fix that truncates a timestamp to its date, or None for other values."""
    date_ = _parse_date(DATETIME, value)
    return ("datetime-for-date", date_) if date_ else _remove_if_empty(value)


def fix_datetime(value: Any) -> Fix | None:
    """Return a fix that adds the missing time, time zone or T to a timestamp, or None."""
    if _parse_date(DATETIME_WITHOUT_ZONE, value):
        return "datetime-without-zone", f"{value}Z"
    if _parse_date(DATETIME, value) and value[10] == " ":
        return "datetime-with-space", value.replace(" ", "T", 1)
    if date_ := _parse_date(DATE, value):
        return "date-for-datetime", f"{date_}T00:00:00Z"
    return _remove_if_empty(value)


def _parse_date(pattern: re.Pattern[str], value: Any) -> str | None:
    """Return the date in a string, which is group 1 of ``pattern``, or None if it is invalid."""
    match = pattern.fullmatch(value) if isinstance(value, str) else None
    with suppress(ValueError):
        return match and date.fromisoformat(match[1]).isoformat()
    return None


def fix_integer(value: Any) -> Fix | None:
    """Return a fix that converts a string to the 32-bit integer it contains, or None."""
    if not isinstance(value, str) or not INTEGER.fullmatch(value.strip()):
        return _remove_if_empty(value)
    number = int(value.strip().partition(".")[0])
    return ("string-for-number", number) if -INT32_LIMIT <= number < INT32_LIMIT else None


def fix_number(value: Any) -> Fix | None:
    """Return a fix that converts a string to a number, or None if no float holds it exactly."""
    if not isinstance(value, str) or not NUMBER.fullmatch(value.strip()):
        return _remove_if_empty(value)
    number = float(value.strip())
    # A double cannot hold more digits, so the result would be another number.
    return (
        ("string-for-number", number)
        if isfinite(number) and is_exact_as_double(value.strip())
        else None
    )


def fix_case_version(value: Any) -> Fix | None:
    """Return a fix that converts a number to a string or removes another version, or None."""
    if value == CASE_VERSION or isinstance(value, dict | list):
        return None
    return fix_string(value) or ("case-version", REMOVED)


def _make_vocabulary_fixer(kind: str, names: tuple[str, ...]) -> Fixer:
    """Return a fixer that corrects the spelling of terms, such as Is_Child_Of to isChildOf."""
    known = {_normalize_term(name): name for name in names}

    def fix(value: Any) -> Fix | None:
        name = known.get(_normalize_term(value)) if isinstance(value, str) else None
        return (kind, name) if name and name != value else None

    return fix


def _normalize_term(name: str) -> str:
    """Normalize a vocabulary term: ignore case, spaces, hyphens, underscores and a leading "is"."""
    return re.sub(r"[\s_-]", "", name).casefold().removeprefix("is")


def _remove_if_empty(value: Any) -> Fix | None:
    """Return a fix that removes the field if its value is an empty string, or None otherwise."""
    return ("empty-string", REMOVED) if isinstance(value, str) and not value.strip() else None


def no_fix(_: Any) -> None:
    """Return None for any value, as the fixer of types that need no repair, such as extensions."""


_FIXERS: list[tuple[Any, Fixer]] = [
    (Text, fix_string),
    (Identifier, fix_identifier),
    (Uri, fix_uri),
    (DateTime, fix_datetime),
    (Date, fix_date),
    (Integer, fix_integer),
    (Number, fix_number),
    (Literal["1.1"], fix_case_version),
    (AssociationType, _make_vocabulary_fixer("association-type", ASSOCIATION_TYPES)),
    (TargetType, _make_vocabulary_fixer("target-type", TARGET_TYPES)),
]


def get_fixer(kind: Any) -> Fixer:
    """Return the function that repairs values of a field type, such as ``fix_uri`` for ``Uri``."""
    return next((fixer for known, fixer in _FIXERS if known == kind), no_fix)
