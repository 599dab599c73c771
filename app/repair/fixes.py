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

URI_CHARACTERS = "!#$%&'()*+,-./:;=?@[]_~"
"""Characters that stay unencoded in a uri; ``%`` is one, as it starts encoded ones."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RawNumber(float):
    """A float that keeps its notation in the JSON file, because a code 1.10 would become 1.1."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def is_uri(value: object) -> bool:
    """Return whether a value is a string that matches the standard's pattern of a uri."""
    return isinstance(value, str) and re.fullmatch(URI_PATTERN, value) is not None


def make_uuid_urn(identifier: str) -> str:
    """Return ``urn:uuid:`` and the identifier, which is the uri of an entity that has no other."""
    return f"urn:uuid:{quote(identifier, safe=URI_CHARACTERS)}"


def fix_string(value: Any) -> Fix | None:
    """Fix a number or boolean in a string field: turn it into a string with its JSON text."""
    match value:
        case bool():
            return "number-for-string", str(value).lower()
        case RawNumber():
            return "number-for-string", value.text
        case int() | float():
            return "number-for-string", str(value)
    return None


def fix_identifier(value: Any) -> Fix | None:
    """Fix an identifier that has whitespace around it, or that is a number instead of a string."""
    if not isinstance(value, str):
        return fix_string(value)
    stripped = value.strip()
    return ("spaces-around-identifier", stripped) if stripped != value else _remove_if_empty(value)


def fix_uri(value: Any) -> Fix | None:
    """Fix a uri that has invalid characters, or that lacks the slash before its UUID."""
    if not isinstance(value, str):
        return None
    encoded = quote(value.strip(), safe=URI_CHARACTERS)
    if not is_uri(value) and is_uri(encoded) and not CONTROL.search(value.strip()):
        return "uri-characters", encoded
    completed = MISSING_SLASH.sub(r"\1/", value)
    return ("missing-slash", completed) if completed != value else _remove_if_empty(value)


def fix_date(value: Any) -> Fix | None:
    """Fix a timestamp in a date field: keep only its date."""
    date_ = _match_date(DATETIME, value)
    return ("datetime-for-date", date_) if date_ else _remove_if_empty(value)


def fix_datetime(value: Any) -> Fix | None:
    """Fix a timestamp that lacks its time zone or time, or has a space instead of the T."""
    if _match_date(DATETIME_WITHOUT_ZONE, value):
        return "datetime-without-zone", f"{value}Z"
    if _match_date(DATETIME, value) and value[10] == " ":
        return "datetime-with-space", value.replace(" ", "T", 1)
    if date_ := _match_date(DATE, value):
        return "date-for-datetime", f"{date_}T00:00:00Z"
    return _remove_if_empty(value)


def _match_date(pattern: re.Pattern[str], value: Any) -> str | None:
    """Return the date in a string that matches ``pattern``, or None if that date does not exist."""
    match = pattern.fullmatch(value) if isinstance(value, str) else None
    with suppress(ValueError):
        return match and date.fromisoformat(match[1]).isoformat()
    return None


def fix_integer(value: Any) -> Fix | None:
    """Fix a 32-bit integer that is written as a string."""
    if not isinstance(value, str) or not INTEGER.fullmatch(value.strip()):
        return _remove_if_empty(value)
    number = int(value.strip().partition(".")[0])
    return ("string-for-number", number) if -INT32_LIMIT <= number < INT32_LIMIT else None


def fix_number(value: Any) -> Fix | None:
    """Fix a number that is written as a string, if a float can hold it exactly."""
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
    """Fix a caseVersion: turn a number into a string, and remove any other invalid value."""
    if value == CASE_VERSION or isinstance(value, dict | list):
        return None
    return fix_string(value) or ("case-version", REMOVED)


def _make_vocabulary_fixer(kind: str, names: tuple[str, ...]) -> Fixer:
    """Return a fixer that corrects the spelling of a vocabulary's terms, such as Is_Child_Of."""
    known = {_fold_term(name): name for name in names}

    def fix(value: Any) -> Fix | None:
        name = known.get(_fold_term(value)) if isinstance(value, str) else None
        return (kind, name) if name and name != value else None

    return fix


def _fold_term(name: str) -> str:
    """Return a term without case, spaces, hyphens, underscores and a leading "is".

    Two spellings of the same term become equal in this way.
    """
    return re.sub(r"[\s_-]", "", name).casefold().removeprefix("is")


def _remove_if_empty(value: Any) -> Fix | None:
    """Fix an empty string by removing the field; return None for any other value."""
    return ("empty-string", REMOVED) if isinstance(value, str) and not value.strip() else None


def no_fix(_: Any) -> None:
    """Return None for any value: the fixer for types that need no repair, such as extensions."""


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
    """Return the function that fixes values of a field type, such as ``fix_uri`` for ``Uri``."""
    return next((fixer for known, fixer in _FIXERS if known == kind), no_fix)
