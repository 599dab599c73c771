"""Find JSON numbers that would change if stored in double precision.

Numbers with a fraction or an exponent are stored in double precision, and so are all values of
``weight`` and ``score``. A number is exact if the shortest decimal notation of its double has the
same value: 0.1 and 1.10 are exact, but 0.1000000000000000055 would become 0.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import partial
from math import isfinite
from typing import Any, NamedTuple

from ...formatting import truncate
from .limits import SLICE_BYTES, list_model_field_names
from .problems import Location


def _classify_byte(byte: int) -> int:
    """Return the class of a byte of JSON: the ASCII code of ``0``, ``e``, ``-``, ``,`` or ``x``.

    The search for long numbers uses these classes. They stand for digits and points (``0``),
    exponents (``e``), signs (``-``), the ends of numbers (``,``), and all other bytes (``x``).
    """
    sign = chr(byte)
    if sign in "0123456789.":
        return ord("0")
    if sign in "eE+-":
        return ord("e" if sign in "eE" else "-")
    return ord("," if sign in ",]} \t\r\n" else "x")


CLASSES = bytes(map(_classify_byte, range(256)))

MANY_DIGITS = b"0" * 16
"""Digits in a row, in classes. A double is exact to 15 digits, unless its exponent has three."""

LARGE_EXPONENT = re.compile(rb"0e-?000+(?:,|\Z)")
"""The end of a number with an exponent of three digits, in classes. The pattern begins with literal
bytes and ends at the end of a number, because hexadecimal identifiers look like exponents."""

FLOAT_FIELDS = frozenset({"weight", "score"})
INTEGER_FIELDS = frozenset({"sequenceNumber", "position"})
EXTENSIONS = "extensions"

MAX_QUOTED_CHARS = 60
"""Length of a number in a message."""


class _InexactNumber(NamedTuple):
    """A JSON number that double precision would round, with its text in the body."""

    text: str
    is_integer: bool


def may_contain_inexact_numbers(raw: bytes) -> bool:
    """Return whether JSON may contain a number that double precision would round.

    False is certain. True may be wrong, for example if a string contains many digits. This fast
    search of the bytes saves most bodies the slower ``find_inexact_numbers``.
    """
    start = 0
    while start < len(raw):
        # Slices end after a comma, because no number contains one.
        comma = raw.find(b",", start + SLICE_BYTES)
        end = comma + 1 if comma >= 0 else len(raw)
        classes = raw[start:end].translate(CLASSES)
        if MANY_DIGITS in classes or LARGE_EXPONENT.search(classes):
            return True
        start = end
    return False


def find_inexact_numbers(raw: bytes) -> Iterator[tuple[Location, str]]:
    """Yield (location, message) for each number of a JSON body that a double would round.

    A location is a tuple such as ``("CFItems", 3, "extensions", "ratio")``. Skips numbers that
    validation rejects: those that overflow a double, and those in fields that are not numeric.
    Yields nothing if the body is not JSON.
    """
    if not may_contain_inexact_numbers(raw):
        return
    has_inexact = False

    def read_number(text: str, *, is_integer: bool = False) -> _InexactNumber | None:
        nonlocal has_inexact
        if is_exact_as_double(text):
            return None
        has_inexact = True
        return _InexactNumber(text, is_integer)

    read_integer = partial(read_number, is_integer=True)
    try:
        tree = json.loads(raw, parse_float=read_number, parse_int=read_integer)
        if has_inexact:
            yield from _find_inexact_numbers(tree, (), "")
    except (ValueError, RecursionError):
        return


def is_exact_as_double(text: str) -> bool:
    """Return whether a JSON number, given as text, keeps its value in double precision.

    ``0.1`` and ``1.10`` do; ``0.1000000000000000055`` would become 0.1.
    """
    number = float(text)
    if repr(number) == text or not isfinite(number):
        return True
    try:
        return Decimal(text) == Decimal(repr(number))
    except InvalidOperation:
        return False


def _find_inexact_numbers(
    value: Any, location: Location, field: str
) -> Iterator[tuple[Location, str]]:
    """Yield (location, message) for each ``_InexactNumber`` in a parsed JSON value.

    Locations are tuples such as ``("CFItems", 3, "extensions", "ratio")`` that begin with
    ``location``, the path of ``value``. ``field`` is the name of the field that contains the value,
    or ``extensions`` for everything inside ``extensions``, where any field may be a number.
    """
    if isinstance(value, _InexactNumber):
        is_numeric = field in {EXTENSIONS, *FLOAT_FIELDS, *INTEGER_FIELDS}
        is_ignored = field in list_model_field_names() and not is_numeric
        if not is_ignored and (field in FLOAT_FIELDS or not value.is_integer):
            number = truncate(value.text, MAX_QUOTED_CHARS)
            message = (
                f"{number} cannot be stored exactly: in double precision it is "
                f"{float(value.text)!r}; send that, or a string"
            )
            yield location, message
    elif isinstance(value, dict):
        for key, part in value.items():
            inner = field if field == EXTENSIONS else key
            yield from _find_inexact_numbers(part, (*location, key), inner)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _find_inexact_numbers(part, (*location, index), field)
