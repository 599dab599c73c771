"""Codecs between spreadsheet cells and field values, one for each kind of value."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, TypeAlias

import orjson

from ...repair.fixes import NUMBER
from .number_format import MAX_SIGNIFICANT_DIGITS


@dataclass(frozen=True)
class FormattedNumber:
    """A number and the text that a spreadsheet program shows for it in a formatted cell.

    For example, the number 1.1 is shown as ``1.10`` in a cell with the format ``0.00``.
    """

    value: int | float
    text: str


Cell: TypeAlias = str | int | float | bool | datetime | date | time | FormattedNumber | None
"""The value of a cell. Those of a CSV file are all strings."""

SEPARATOR = "|"
"""Separates the members of a list in one cell."""

SURROUNDING_SPACE = re.compile(r"\A[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+\Z")
"""No-break spaces, too, and zero-width spaces, word joiners and byte order marks."""

INTEGER_PATTERN = re.compile(r"[+-]?\d+")

MAX_INTEGER_DIGITS = 400
"""Digits of an integer that are read. A double overflows from 310 digits on."""


@dataclass(frozen=True)
class CellCodec:
    """Converts one kind of value, such as dates, between JSON fields and spreadsheet cells.

    ``read`` converts a cell to a value, and raises ``ValueError`` if the cell is invalid. ``write``
    converts a value to a cell, and raises ``TypeError`` if the value has another type.
    """

    read: Callable[[Cell], Any]
    write: Callable[[Any], Cell]
    about: str
    """Description of valid cells, for the template and the documentation."""

    def can_round_trip(self, value: Any) -> bool:
        """Return whether a value survives being written to a cell and read back."""
        try:
            cell = self.write(value)
            parsed = None if is_blank(cell) else self.read(cell)
        except (TypeError, ValueError):
            return False
        return parsed == value and isinstance(parsed, type(value))


def strip_invisible(text: str) -> str:
    """Strip whitespace and invisible zero-width characters from both ends of a string."""
    return SURROUNDING_SPACE.sub("", text)


def is_blank(cell: Cell) -> bool:
    """Return whether a cell is empty or contains only whitespace."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def is_number(cell: Cell) -> bool:
    """Return whether a cell holds an int, a float or a FormattedNumber, but not a bool."""
    return isinstance(cell, int | float | FormattedNumber) and not isinstance(cell, bool)


def format_cell(cell: Cell) -> str:
    """Return the text that a spreadsheet program shows for a cell, such as 1.10 or 2026-08-01."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, FormattedNumber):
        return cell.text
    if isinstance(cell, float):
        return _format_float(cell)
    if isinstance(cell, datetime | date | time):
        is_day = isinstance(cell, datetime) and cell.time() == time() and cell.tzinfo is None
        return cell.isoformat().removesuffix("T00:00:00") if is_day else cell.isoformat()
    return "" if cell is None else str(cell)


def _format_float(number: float) -> str:
    if number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    # Excel shows 15 digits; the sum of 1.1 and 0.1 is 1.2000000000000002 in the file.
    text = f"{number:.{MAX_SIGNIFICANT_DIGITS}g}"
    return str(number) if "e" in text else text


def _read_date(cell: Cell) -> str:
    return cell.date().isoformat() if isinstance(cell, datetime) else format_cell(cell)


def _read_date_time(cell: Cell) -> str:
    """Convert a cell to a date-time string such as 2026-08-01T09:00:00Z.

    An Excel date-time has no zone and is taken as UTC. Text is returned as it is, because the
    validation of the package checks it later.
    """
    if isinstance(cell, datetime):
        return cell.isoformat() + ("" if cell.tzinfo else "Z")
    return format_cell(cell)


def _read_number(cell: Cell) -> Any:
    """Convert a cell to an int or float, or else to its text if it is not a number.

    Validation of the package later reports the text as an invalid value.
    """
    if is_number(cell):
        return cell.value if isinstance(cell, FormattedNumber) else cell
    text = format_cell(cell).strip()
    if INTEGER_PATTERN.fullmatch(text):
        return _parse_integer(text)
    return float(text) if NUMBER.fullmatch(text) else text


def _parse_integer(text: str) -> int:
    """Convert a string of digits with an optional sign to an int, however long it is.

    Digits after the first ``MAX_INTEGER_DIGITS`` are cut off, because ``int`` raises ``ValueError``
    for more than 4,300. Validation rejects such a number anyway: it is out of the range of every
    field.
    """
    digits = text.lstrip("+-").lstrip("0") or "0"
    number = int(digits[:MAX_INTEGER_DIGITS])
    return -number if text.startswith("-") else number


JSON_STRINGS = re.compile(r'\[\s*("(?:[^"\\]|\\.)*"\s*(,\s*(?=")|(?=\])))*\]')
"""An array of strings as JSON, as Learning Commons writes lists."""


def _make_list_reader(separators: str) -> Callable[[Cell], list[str]]:
    pattern = re.compile(f"[{re.escape(separators)}]")

    def read(cell: Cell) -> list[str]:
        text = format_cell(cell).strip()
        if JSON_STRINGS.fullmatch(text):
            with suppress(orjson.JSONDecodeError):
                return [part for part in map(strip_invisible, orjson.loads(text)) if part]
        return [part.strip() for part in pattern.split(format_cell(cell)) if part.strip()]

    return read


def _read_json(cell: Cell) -> Any:
    try:
        return orjson.loads(format_cell(cell))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"must be JSON, such as {{}}: {error}") from None


def _parse_links(cell: Cell) -> Any:
    """Return the links in a cell: parsed JSON, or a list of titles for any other text.

    The text is JSON if it begins with [ or {. Titles are separated by ``|``, as in
    "Algebra|Geometry".
    """
    text = format_cell(cell).strip()
    return _read_json(text) if text[0] in "[{" else _make_list_reader(SEPARATOR)(text)


def _write_string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _write_number(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def to_json_cell(value: Any) -> str:
    """Serialize a value as JSON on one line, to store it in a cell."""
    return orjson.dumps(value).decode()


STRING = CellCodec(format_cell, _write_string, "text")
DATE = CellCodec(_read_date, _write_string, "a date, for example 2026-08-01")
DATE_TIME = CellCodec(
    _read_date_time, _write_string, "a date-time, for example 2026-08-01T09:30:00Z"
)
NUMERIC = CellCodec(_read_number, _write_number, "a number")
STRING_LIST = CellCodec(
    _make_list_reader(SEPARATOR), SEPARATOR.join, f"strings separated by {SEPARATOR}"
)
LEVEL_LIST = CellCodec(
    _make_list_reader(SEPARATOR + ","),
    SEPARATOR.join,
    f"strings separated by {SEPARATOR} or commas",
)
SEMICOLON_LIST = CellCodec(
    _make_list_reader(SEPARATOR + ",;"), SEPARATOR.join, "strings separated by semicolons"
)
LINKS = CellCodec(_parse_links, to_json_cell, f"titles separated by {SEPARATOR}, or links as JSON")
JSON_VALUE = CellCodec(_read_json, to_json_cell, "JSON")


def get_nested(entity: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Return the value at a path of field names, such as ("licenseURI", "title"), or None."""
    value: Any = entity
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def set_nested(entity: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set the value at a path of field names, creating missing objects along the path.

    Raises ``ValueError`` if a value along the path is not an object.
    """
    *parents, leaf = path
    for name in parents:
        entity = entity.setdefault(name, {})
        if not isinstance(entity, dict):
            raise ValueError(f"{name} is also set by another column")  # noqa: TRY004  reported as a problem
    entity[leaf] = value


def fill_missing_fields(target: dict[str, Any], source: dict[str, Any]) -> None:
    """Copy the fields that ``target`` lacks from ``source``, also within nested objects."""
    for name, value in source.items():
        current = target.setdefault(name, value)
        if current is not value and isinstance(current, dict) and isinstance(value, dict):
            fill_missing_fields(current, value)


def get_column_letters(index: int) -> str:
    """Return the letters of a spreadsheet column from its 0-based index: 27 gives AB."""
    letters = ""
    index += 1
    while index:
        index, remainder = divmod(index - 1, 26)
        letters = chr(ord("A") + remainder) + letters
    return letters


def get_column_number(letters: str) -> int:
    """Return the 1-based number of a spreadsheet column from its letters: AB gives 28."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number
