"""Numbers that would not be given back as they were sent, because a double cannot hold them.

JSON numbers with a fraction or an exponent are stored in double precision, and so are all values
of ``weight`` and ``score``. A number is kept if the shortest decimal of its double has the same
value: 0.1 and 1.10 are, 0.1000000000000000055 would become 0.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, NamedTuple

from .limits import known_field_names
from .problems import Location


def _class_of(byte: int) -> int:
    """Return the class of a byte: part of a number, exponent, sign, end of a number, or other."""
    sign = chr(byte)
    if sign in "0123456789.":
        return ord("0")
    if sign in "eE+-":
        return ord("e" if sign in "eE" else "-")
    return ord("," if sign in ",]} \t\r\n" else "x")


CLASSES = bytes(map(_class_of, range(256)))

MANY_DIGITS = b"0" * 16
"""A double holds any number of 15 digits, unless its exponent has three."""

LARGE_EXPONENT = re.compile(rb"0e-?000+(?:,|\Z)")
"""The end of a number with such an exponent, in classes. It begins with literal bytes and ends
outside of words, because hexadecimal identifiers look like exponents everywhere."""

SLICE_BYTES = 1_000_000
"""How much of a body is searched before other threads have a turn."""

FLOAT_FIELDS = frozenset({"weight", "score"})
INTEGER_FIELDS = frozenset({"sequenceNumber", "position"})
EXTENSIONS = "extensions"

SHOWN_CHARS = 60
"""How much of a number a message quotes."""


class _Number(NamedTuple):
    """A number that a double does not hold, as it was written."""

    text: str
    is_integer: bool


def may_hold_inexact_numbers(raw: bytes) -> bool:
    """Return whether a body may hold a number that double precision would change.

    Strings may look like one, too; ``changed_numbers`` tells.
    """
    start = 0
    while start < len(raw):
        # No number holds a comma, so that none is cut in two.
        comma = raw.find(b",", start + SLICE_BYTES)
        end = comma + 1 if comma >= 0 else len(raw)
        classes = raw[start:end].translate(CLASSES)
        if MANY_DIGITS in classes or LARGE_EXPONENT.search(classes):
            return True
        start = end
    return False


def find_inexact_numbers(raw: bytes) -> Iterator[tuple[Location, str]]:
    """Return where numbers are that would be changed, each with a message.

    Those that are infinite as a double are refused elsewhere, as are numbers where none belongs.
    Nothing is returned of a body that is not JSON.
    """
    if not may_hold_inexact_numbers(raw):
        return
    has_changed = False

    def read_number(text: str) -> Any:
        nonlocal has_changed
        if is_exact(text):
            return None
        has_changed = True
        return _Number(text, is_integer=False)

    def read_integer(text: str) -> Any:
        number = read_number(text)
        return number and number._replace(is_integer=True)

    try:
        tree = json.loads(raw, parse_float=read_number, parse_int=read_integer)
        if has_changed:
            yield from _changed(tree, (), "")
    except (ValueError, RecursionError):
        return


def is_exact(text: str) -> bool:
    """Return whether a JSON number has the same value once it was stored as a double."""
    number = float(text)
    if repr(number) == text or not isfinite(number):
        return True
    try:
        return Decimal(text) == Decimal(repr(number))
    except InvalidOperation:
        return False


def _changed(value: Any, place: Location, name: str) -> Iterator[tuple[Location, str]]:
    """The changed numbers in a value, which ``name`` is the nearest known field of."""
    if isinstance(value, _Number):
        in_text = name in known_field_names() and name not in {
            EXTENSIONS,
            *FLOAT_FIELDS,
            *INTEGER_FIELDS,
        }
        if not in_text and (name in FLOAT_FIELDS or not value.is_integer):
            yield place, _message(value.text)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _changed(part, (*place, key), name if name == EXTENSIONS else key)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _changed(part, (*place, index), name)


def _message(text: str) -> str:
    shown = text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
    return (
        f"{shown} cannot be kept exactly: in double precision it is {float(text)!r}; "
        "send that, or a string"
    )
