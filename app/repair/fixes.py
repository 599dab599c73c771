"""Other ways in which real files write plain values, and how the standard writes the same.

A mender looks at one value and answers with one step towards the standard: the kind of repair
and the value after it. It answers nothing when there is nothing to do, or nothing that could be
done without guessing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from math import isfinite
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from ..case.numbers import is_exact
from ..case.resources import RESOURCES
from ..case.types import (
    URI_PATTERN,
    AssociationType,
    Date,
    DateTime,
    Identifier,
    Integer,
    TargetType,
    Text,
    Uri,
)
from ..case.vocabulary import ASSOCIATION_TYPES, CASE_VERSION, TARGET_TYPES

Fix: TypeAlias = tuple[str, Any]
Fixer: TypeAlias = Callable[[Any], Fix | None]

REMOVED = object()
"""What a value becomes that is to be left out."""

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_COLLECTIONS = "|".join([*(resource.plural for resource in RESOURCES), "CFPackages"])
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
"""What stands in a uri as it is; ``%`` too, for it begins what is encoded already."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RawNumber(float):
    """A number with a fraction that remembers how it was written: 1.10 is not 1.1 in a code."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def is_uri(value: object) -> bool:
    """Whether a value is a uri to the standard."""
    return isinstance(value, str) and re.fullmatch(URI_PATTERN, value) is not None


def uuid_urn(identifier: str) -> str:
    """The uri of what has no other."""
    return f"urn:uuid:{quote(identifier, safe=URI_CHARACTERS)}"


def fix_string(value: Any) -> Fix | None:
    """A number or a truth value, as JSON writes it."""
    match value:
        case bool():
            return "number-for-text", str(value).lower()
        case RawNumber():
            return "number-for-text", value.text
        case int() | float():
            return "number-for-text", str(value)
    return None


def fix_identifier(value: Any) -> Fix | None:
    """A name with white space around it, or a number."""
    if not isinstance(value, str):
        return fix_string(value)
    bare = value.strip()
    return ("spaces-around-identifier", bare) if bare != value else _remove_if_empty(value)


def fix_uri(value: Any) -> Fix | None:
    """A uri with characters that should be encoded, or without the last slash."""
    if not isinstance(value, str):
        return None
    encoded = quote(value.strip(), safe=URI_CHARACTERS)
    if not is_uri(value) and is_uri(encoded) and not CONTROL.search(value.strip()):
        return "uri-characters", encoded
    whole = MISSING_SLASH.sub(r"\1/", value)
    return ("missing-slash", whole) if whole != value else _remove_if_empty(value)


def fix_date(value: Any) -> Fix | None:
    """A moment where a date belongs."""
    written = _date_of(DATETIME, value)
    return ("datetime-for-date", written) if written else _remove_if_empty(value)


def fix_datetime(value: Any) -> Fix | None:
    """A moment without its zone, or a date without its time."""
    if _date_of(DATETIME_WITHOUT_ZONE, value):
        return "datetime-without-zone", f"{value}Z"
    if _date_of(DATETIME, value) and value[10] == " ":
        return "datetime-with-space", value.replace(" ", "T", 1)
    if written := _date_of(DATE, value):
        return "date-for-datetime", f"{written}T00:00:00Z"
    return _remove_if_empty(value)


def _date_of(pattern: re.Pattern[str], value: Any) -> str | None:
    """The date in a text, when the text is as the pattern has it and the date exists."""
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    with suppress(ValueError):
        return found and date.fromisoformat(found[1]).isoformat()
    return None


def fix_integer(value: Any) -> Fix | None:
    """A whole number written as a text."""
    if not isinstance(value, str) or not INTEGER.fullmatch(value.strip()):
        return _remove_if_empty(value)
    number = int(value.strip().partition(".")[0])
    return ("text-for-number", number) if -INT32_LIMIT <= number < INT32_LIMIT else None


def fix_number(value: Any) -> Fix | None:
    """A number written as a text."""
    if not isinstance(value, str) or not NUMBER.fullmatch(value.strip()):
        return _remove_if_empty(value)
    number = float(value.strip())
    # One with more digits than a double holds would be another number.
    return ("text-for-number", number) if isfinite(number) and is_exact(value.strip()) else None


def fix_case_version(value: Any) -> Fix | None:
    """A version that packages cannot have."""
    if value == CASE_VERSION or isinstance(value, dict | list):
        return None
    return fix_string(value) or ("case-version", REMOVED)


def _vocabulary_fixer(kind: str, names: tuple[str, ...]) -> Fixer:
    """Mends other spellings of the names of a closed list."""
    known = {_fold_term(name): name for name in names}

    def mend(value: Any) -> Fix | None:
        name = known.get(_fold_term(value)) if isinstance(value, str) else None
        return (kind, name) if name and name != value else None

    return mend


def _fold_term(name: str) -> str:
    """A name without letter case, spaces and hyphens, and without a leading "is"."""
    return re.sub(r"[\s_-]", "", name).casefold().removeprefix("is")


def _remove_if_empty(value: Any) -> Fix | None:
    """What may not be an empty text, and is one, is not set."""
    return ("empty-text", REMOVED) if isinstance(value, str) and not value.strip() else None


def no_fix(_: Any) -> None:
    """What nothing is known about, such as extensions."""


_FIXERS: list[tuple[Any, Fixer]] = [
    (Text, fix_string),
    (Identifier, fix_identifier),
    (Uri, fix_uri),
    (DateTime, fix_datetime),
    (Date, fix_date),
    (Integer, fix_integer),
    (float, fix_number),
    (Literal["1.1"], fix_case_version),
    (AssociationType, _vocabulary_fixer("association-type", ASSOCIATION_TYPES)),
    (TargetType, _vocabulary_fixer("target-type", TARGET_TYPES)),
]


def fixer_for(kind: Any) -> Fixer:
    """The mender for a type of ``types``."""
    return next((mend for known, mend in _FIXERS if known == kind), no_fix)
