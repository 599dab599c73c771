"""What stands in a cell, and the value of a field that it says: one codec for each kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, TypeAlias

import orjson

Cell: TypeAlias = str | int | float | bool | datetime | date | time | None
"""A cell as spreadsheets have it; those of a CSV are all texts."""

SEPARATOR = "|"
"""What stands between the members of a list in one cell."""

NUMBER_PATTERN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
INTEGER_PATTERN = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Codec:
    """How one kind of value is written into a cell and read from it.

    ``read`` raises ``ValueError``, in words for a person, where a cell cannot be meant.
    """

    read: Callable[[Cell], Any]
    write: Callable[[Any], Cell]
    about: str
    """What a person writes into such a cell."""

    def fits(self, value: Any) -> bool:
        """Whether a cell can say this value, so that reading gives exactly it again."""
        try:
            cell = self.write(value)
            read = None if is_empty(cell) else self.read(cell)
        except (TypeError, ValueError):
            return False
        return read == value and isinstance(read, type(value))


def is_empty(cell: Cell) -> bool:
    """A cell that says nothing."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def format_cell(cell: Cell) -> str:
    """What a person sees in a cell."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return "" if cell is None else str(cell)


def _day(cell: Cell) -> str:
    return cell.date().isoformat() if isinstance(cell, datetime) else format_cell(cell)


def _moment(cell: Cell) -> str:
    """A spreadsheet's moment has no zone: it is taken for UTC."""
    if isinstance(cell, datetime):
        return cell.isoformat() + ("" if cell.tzinfo else "Z")
    return format_cell(cell)


def _number(cell: Cell) -> Any:
    """A number, or the text that is none, for the reader of packages to refuse."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return cell
    written = format_cell(cell).strip()
    if INTEGER_PATTERN.fullmatch(written):
        return int(written)
    return float(written) if NUMBER_PATTERN.fullmatch(written) else written


def _members(separators: str) -> Callable[[Cell], list[str]]:
    pattern = re.compile(f"[{re.escape(separators)}]")

    def read(cell: Cell) -> list[str]:
        return [part.strip() for part in pattern.split(format_cell(cell)) if part.strip()]

    return read


def _object(cell: Cell) -> Any:
    try:
        return orjson.loads(format_cell(cell))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"must be JSON, such as {{}}: {error}") from None


def _links(cell: Cell) -> Any:
    """Links as JSON, or the names of what is linked to."""
    written = format_cell(cell).strip()
    return _object(written) if written[0] in "[{" else _members(SEPARATOR)(written)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _plain_number(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def to_json(value: Any) -> str:
    """A value as JSON in one line."""
    return orjson.dumps(value).decode()


STRING = Codec(format_cell, _text, "text")
DATE = Codec(_day, _text, "a date, as 2026-08-01")
DATE_TIME = Codec(_moment, _text, "a date and time, as 2026-08-01T09:30:00Z")
NUMERIC = Codec(_number, _plain_number, "a number")
STRING_LIST = Codec(_members(SEPARATOR), SEPARATOR.join, f"texts with {SEPARATOR} between them")
LEVEL_LIST = Codec(
    _members(SEPARATOR + ","), SEPARATOR.join, f"texts with {SEPARATOR} or a comma between them"
)
LINKS = Codec(_links, to_json, f"names with {SEPARATOR} between them, or links as JSON")
JSON_VALUE = Codec(_object, to_json, "JSON")


def get_path(entity: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What stands at the end of a path; None where there is nothing."""
    value: Any = entity
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def set_path(entity: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value at the end of a path. Raises ``ValueError`` where another way there is said."""
    *way, last = path
    for name in way:
        entity = entity.setdefault(name, {})
        if not isinstance(entity, dict):
            raise ValueError(f"{name} is said in another column, too")  # noqa: TRY004  a person's
    entity[last] = value


def fill_missing(under: dict[str, Any], over: dict[str, Any]) -> None:
    """Fill in from ``over`` what ``under`` does not say."""
    for name, value in over.items():
        here = under.setdefault(name, value)
        if here is not value and isinstance(here, dict) and isinstance(value, dict):
            fill_missing(here, value)


def column_letter(index: int) -> str:
    """What spreadsheets call a column, counted from 0."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
