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
from typing import Any, Literal, TypeAlias, TypeGuard
from urllib.parse import quote

from ..case.entity_urls import URI_CHARACTERS
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
from ..case.validation.numbers import is_exact_as_double
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


class FloatWithNotation(float):
    """A float with its notation in the JSON file, so that the code 1.10 does not become 1.1."""

    __slots__ = ("notation",)

    def __init__(self, notation: str) -> None:
        self.notation = notation


def is_uri(value: object) -> TypeGuard[str]:
    """Return whether a value is a string that validation accepts as a URI (``URI_PATTERN``)."""
    return isinstance(value, str) and re.fullmatch(URI_PATTERN, value) is not None


def suggest_string_fix(value: Any) -> Fix | None:
    """Suggest a string for a number or boolean: ``("number-for-string", "1.10")`` for 1.10.

    Returns (repair kind, string), or None for any other value.
    """
    match value:
        case bool():
            return "number-for-string", str(value).lower()
        case FloatWithNotation():
            return "number-for-string", value.notation
        case int() | float():
            return "number-for-string", str(value)
    return None


def suggest_identifier_fix(value: Any) -> Fix | None:
    """Suggest an identifier for a number or for a string with surrounding white space.

    Returns (repair kind, identifier), or ("empty-string", ``REMOVED``) for an empty string. Returns
    None if there is no fix.
    """
    if not isinstance(value, str):
        return suggest_string_fix(value)
    text = value.strip()
    return ("spaces-around-identifier", text) if text != value else _suggest_removal(value)


def suggest_uri_fix(value: Any) -> Fix | None:
    """Suggest a URI with percent-encoded invalid characters, or with a missing slash added.

    A slash is missing in ``/CFItemsUUID``, for example. Returns (repair kind, URI), or
    ("empty-string", ``REMOVED``) for a blank string. Returns None if there is no fix.
    """
    if not isinstance(value, str):
        return None
    encoded = quote(value.strip(), safe=URI_CHARACTERS)
    if not is_uri(value) and is_uri(encoded) and not CONTROL.search(value.strip()):
        return "uri-characters", encoded
    completed = MISSING_SLASH.sub(r"\1/", value)
    return ("missing-slash", completed) if completed != value else _suggest_removal(value)


def suggest_date_fix(value: Any) -> Fix | None:
    """Suggest the date for a timestamp in a date field: 2024-05-01 for 2024-05-01T09:00:00Z.

    Returns (repair kind, date), or ("empty-string", ``REMOVED``) for a blank string. Returns None
    if there is no fix.
    """
    date_ = _parse_date(DATETIME, value)
    return ("datetime-for-date", date_) if date_ else _suggest_removal(value)


def suggest_datetime_fix(value: Any) -> Fix | None:
    """Suggest a timestamp for a date, or for a timestamp that lacks a zone or the T.

    The time of a date is midnight, and a missing zone is UTC. Returns (repair kind, timestamp), or
    ("empty-string", ``REMOVED``) for a blank string. Returns None if there is no fix.
    """
    if _parse_date(DATETIME_WITHOUT_ZONE, value):
        return "datetime-without-zone", f"{value}Z"
    if _parse_date(DATETIME, value) and value[10] == " ":
        return "datetime-with-space", value.replace(" ", "T", 1)
    if date_ := _parse_date(DATE, value):
        return "date-for-datetime", f"{date_}T00:00:00Z"
    return _suggest_removal(value)


def _parse_date(pattern: re.Pattern[str], value: Any) -> str | None:
    """Return the valid date in ``value`` as ``YYYY-MM-DD``, or None if there is none.

    ``pattern`` must match the whole value; its group 1 captures the date.
    """
    match = pattern.fullmatch(value) if isinstance(value, str) else None
    with suppress(ValueError):
        return match and date.fromisoformat(match[1]).isoformat()
    return None


def suggest_integer_fix(value: Any) -> Fix | None:
    """Suggest the integer that a string represents: ``("string-for-number", 5)`` for "5".

    Returns (repair kind, integer), or ("empty-string", ``REMOVED``) for a blank string. Returns
    None if there is no fix, for example because the integer has more than 32 bits.
    """
    if not isinstance(value, str) or not INTEGER.fullmatch(value.strip()):
        return _suggest_removal(value)
    number = int(value.strip().partition(".")[0])
    return ("string-for-number", number) if -INT32_LIMIT <= number < INT32_LIMIT else None


def suggest_number_fix(value: Any) -> Fix | None:
    """Suggest the number that a string represents: ``("string-for-number", 1.5)`` for "1.5".

    Returns (repair kind, number), or ("empty-string", ``REMOVED``) for a blank string. Returns None
    if there is no fix, for example because a float cannot represent the number exactly.
    """
    if not isinstance(value, str) or not NUMBER.fullmatch(value.strip()):
        return _suggest_removal(value)
    number = float(value.strip())
    # A double cannot hold more digits, so the result would be another number.
    is_exact = isfinite(number) and is_exact_as_double(value.strip())
    return ("string-for-number", number) if is_exact else None


def suggest_case_version_fix(value: Any) -> Fix | None:
    """Suggest a fix for a ``caseVersion``, whose only valid value is "1.1".

    A number becomes a string; any other string removes the field. Returns None for the valid value,
    objects and arrays.
    """
    if value == CASE_VERSION or isinstance(value, dict | list):
        return None
    return suggest_string_fix(value) or ("case-version", REMOVED)


def _make_spelling_fixer(repair_kind: str, terms: tuple[str, ...]) -> Fixer:
    """Return a fixer that corrects the spelling of ``terms``, such as Is_Child_Of to isChildOf.

    The fixer is a function from a value to (``repair_kind``, term). It returns None if the value is
    correct or resembles none of the terms.
    """
    terms_by_key = {_normalize_term(term): term for term in terms}

    def fix(value: Any) -> Fix | None:
        term = terms_by_key.get(_normalize_term(value)) if isinstance(value, str) else None
        return (repair_kind, term) if term and term != value else None

    return fix


def _normalize_term(name: str) -> str:
    """Return a vocabulary term in a form to compare: "is Child_Of" and "childof" give "childof"."""
    return re.sub(r"[\s_-]", "", name).casefold().removeprefix("is")


def _suggest_removal(value: Any) -> Fix | None:
    """Return ("empty-string", REMOVED) for a string that is empty or blank, else None."""
    return ("empty-string", REMOVED) if isinstance(value, str) and not value.strip() else None


def suggest_nothing(_: Any) -> None:
    """Return None, because fields that take any value, such as ``extensions``, need no repair."""


_FIXERS: list[tuple[Any, Fixer]] = [
    (Text, suggest_string_fix),
    (Identifier, suggest_identifier_fix),
    (Uri, suggest_uri_fix),
    (DateTime, suggest_datetime_fix),
    (Date, suggest_date_fix),
    (Integer, suggest_integer_fix),
    (Number, suggest_number_fix),
    (Literal["1.1"], suggest_case_version_fix),
    (AssociationType, _make_spelling_fixer("association-type", ASSOCIATION_TYPES)),
    (TargetType, _make_spelling_fixer("target-type", TARGET_TYPES)),
]


def get_fixer(field_type: Any) -> Fixer:
    """Return the function that fixes values of a field type: ``suggest_uri_fix`` for ``Uri``."""
    return next(
        (fixer for fixed_type, fixer in _FIXERS if fixed_type == field_type), suggest_nothing
    )
