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

from ..case.numbers import is_kept
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

Step: TypeAlias = tuple[str, Any]
Mender: TypeAlias = Callable[[Any], Step | None]

REMOVED = object()
"""What a value becomes that is to be left out."""

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_COLLECTIONS = "|".join([*(resource.plural for resource in RESOURCES), "CFPackages"])
MISSING_SLASH = re.compile(rf"(/(?:{_COLLECTIONS}))(?={UUID.pattern})")

_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"[Tt ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_ZONE = r"(?:[Zz]|[+-]\d{2}:?\d{2})"
MOMENT = re.compile(rf"({_DATE}){_TIME}{_ZONE}?")
MOMENT_WITHOUT_ZONE = re.compile(rf"({_DATE}){_TIME}")
DAY = re.compile(f"({_DATE})")

INTEGER = re.compile(r"[+-]?\d{1,10}(?:\.0*)?")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
LARGEST_INT32 = 2**31

URI_CHARACTERS = "!#$%&'()*+,-./:;=?@[]_~"
"""What stands in a uri as it is; ``%`` too, for it begins what is encoded already."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Written(float):
    """A number with a fraction that remembers how it was written: 1.10 is not 1.1 in a code."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def is_uri(value: object) -> bool:
    """Whether a value is a uri to the standard."""
    return isinstance(value, str) and re.fullmatch(URI_PATTERN, value) is not None


def urn(identifier: str) -> str:
    """The uri of what has no other."""
    return f"urn:uuid:{quote(identifier, safe=URI_CHARACTERS)}"


def text(value: Any) -> Step | None:
    """A number or a truth value, as JSON writes it."""
    match value:
        case bool():
            return "number-for-text", str(value).lower()
        case Written():
            return "number-for-text", value.text
        case int() | float():
            return "number-for-text", str(value)
    return None


def identifier(value: Any) -> Step | None:
    """A name with white space around it, or a number."""
    if not isinstance(value, str):
        return text(value)
    bare = value.strip()
    return ("spaces-around-identifier", bare) if bare != value else _unset(value)


def uri(value: Any) -> Step | None:
    """A uri with characters that should be encoded, or without the last slash."""
    if not isinstance(value, str):
        return None
    encoded = quote(value.strip(), safe=URI_CHARACTERS)
    if not is_uri(value) and is_uri(encoded) and not CONTROL.search(value.strip()):
        return "uri-characters", encoded
    whole = MISSING_SLASH.sub(r"\1/", value)
    return ("missing-slash", whole) if whole != value else _unset(value)


def day(value: Any) -> Step | None:
    """A moment where a date belongs."""
    written = _date_of(MOMENT, value)
    return ("datetime-for-date", written) if written else _unset(value)


def moment(value: Any) -> Step | None:
    """A moment without its zone, or a date without its time."""
    if _date_of(MOMENT_WITHOUT_ZONE, value):
        return "datetime-without-zone", f"{value}Z"
    if _date_of(MOMENT, value) and value[10] == " ":
        return "datetime-with-space", value.replace(" ", "T", 1)
    if written := _date_of(DAY, value):
        return "date-for-datetime", f"{written}T00:00:00Z"
    return _unset(value)


def _date_of(pattern: re.Pattern[str], value: Any) -> str | None:
    """The date in a text, when the text is as the pattern has it and the date exists."""
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    with suppress(ValueError):
        return found and date.fromisoformat(found[1]).isoformat()
    return None


def integer(value: Any) -> Step | None:
    """A whole number written as a text."""
    if not isinstance(value, str) or not INTEGER.fullmatch(value.strip()):
        return _unset(value)
    number = int(value.strip().partition(".")[0])
    return ("text-for-number", number) if -LARGEST_INT32 <= number < LARGEST_INT32 else None


def number(value: Any) -> Step | None:
    """A number written as a text."""
    if not isinstance(value, str) or not NUMBER.fullmatch(value.strip()):
        return _unset(value)
    number = float(value.strip())
    # One with more digits than a double holds would be another number.
    return ("text-for-number", number) if isfinite(number) and is_kept(value.strip()) else None


def case_version(value: Any) -> Step | None:
    """A version that packages cannot have."""
    if value == CASE_VERSION or isinstance(value, dict | list):
        return None
    return text(value) or ("case-version", REMOVED)


def _one_of(kind: str, names: tuple[str, ...]) -> Mender:
    """Mends other spellings of the names of a closed list."""
    known = {_folded(name): name for name in names}

    def mend(value: Any) -> Step | None:
        name = known.get(_folded(value)) if isinstance(value, str) else None
        return (kind, name) if name and name != value else None

    return mend


def _folded(name: str) -> str:
    """A name without letter case, spaces and hyphens, and without a leading "is"."""
    return re.sub(r"[\s_-]", "", name).casefold().removeprefix("is")


def _unset(value: Any) -> Step | None:
    """What may not be an empty text, and is one, is not set."""
    return ("empty-text", REMOVED) if isinstance(value, str) and not value.strip() else None


def as_it_is(_: Any) -> None:
    """What nothing is known about, such as extensions."""


_MENDERS: list[tuple[Any, Mender]] = [
    (Text, text),
    (Identifier, identifier),
    (Uri, uri),
    (DateTime, moment),
    (Date, day),
    (Integer, integer),
    (float, number),
    (Literal["1.1"], case_version),
    (AssociationType, _one_of("association-type", ASSOCIATION_TYPES)),
    (TargetType, _one_of("target-type", TARGET_TYPES)),
]


def mender(kind: Any) -> Mender:
    """The mender for a type of ``types``."""
    return next((mend for known, mend in _MENDERS if known == kind), as_it_is)
