"""Find the row of headings of a sheet, and explain headings that do not suffice.

People put titles above their headings, or leave the headings out. One message then says which
headings are known, which are not, what is missing and what it could be called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...formatting import join_first
from .cells import Cell, format_cell, get_column_letters, is_blank, is_number, strip_invisible
from .columns import ASSOCIATION, ITEM, Column, SheetLayout

MAX_ROWS_SEARCHED = 20
"""Number of rows with cells that are searched for headings."""

MIN_KNOWN_HEADINGS = 2
"""Known headings that a row below the first must have, because one word can be a value."""

MAX_LISTED_HEADINGS = 30


class NumberedRow(NamedTuple):
    """A row of a spreadsheet: its cells, and its row number in the sheet for use in messages."""

    number: int
    cells: Sequence[Cell]


def find_heading_row(rows: Sequence[NumberedRow], is_known: Callable[[str], bool]) -> int:
    """Return the 0-based index of the row of headings among the first rows of a sheet.

    This is the first row that has at least two known headings and more cells than each row above
    it, because rows above the headings are titles or notes. The index is 0 if there is no such row.
    ``is_known`` returns whether a string is a known heading.
    """
    max_cells = 0
    for index, row in enumerate(rows):
        texts = [format_cell(cell) for cell in row.cells if not is_blank(cell)]
        known_count = sum(map(is_known, texts))
        if known_count >= MIN_KNOWN_HEADINGS and len(texts) > max_cells:
            return index
        max_cells = max(max_cells, len(texts))
    return 0


METADATA_KEY = re.compile(r"#\s*(\w.*)", re.DOTALL)


def find_metadata_key(cells: Sequence[Cell], is_known: Callable[[str], bool]) -> str | None:
    """Return the key of a metadata row, or None if the row is not one.

    A metadata row describes the document: ``#title,Mathematics`` has the key ``title``.
    ``is_known`` returns whether a string is a known heading; a row with two or more known headings
    is a heading row instead.
    """
    match = METADATA_KEY.fullmatch(strip_invisible(format_cell(cells[0]))) if cells else None
    known_count = sum(is_known(format_cell(cell)) for cell in cells[1:])
    return match[1] if match and known_count < MIN_KNOWN_HEADINGS else None


class RequiredColumn(NamedTuple):
    """A column that a sheet must have, and the headings that an error message suggests for it.

    ``fields`` are alternatives: a column for any one of these fields suffices.
    """

    fields: tuple[str, ...]
    """The names of fields of which one suffices, the usual one first."""
    names: str
    """Headings that people can use."""


REQUIRED_FIELDS = {
    ITEM: (
        RequiredColumn(
            ("fullStatement", "abbreviatedStatement", "alternativeLabel", "title"),
            "Statement, Full Statement, Text or Standard",
        ),
    ),
    ASSOCIATION: (
        RequiredColumn(("originNodeURI",), "Origin"),
        RequiredColumn(("associationType",), "Association Type"),
        RequiredColumn(("destinationNodeURI",), "Destination"),
    ),
}


def explain_missing_headings(
    layout: SheetLayout,
    headings: Sequence[str],
    columns: Sequence[tuple[int, Column]],
    sample: Sequence[NumberedRow],
) -> str | None:
    """Return a message that names the missing required headings of a table, or None.

    ``columns`` contains an (index, column) pair for each heading, known or not. ``sample`` contains
    the first rows below the headings, from which the message guesses what unknown columns contain.
    """
    fields = {column.path[0] for _, column in columns}
    missing = [
        required_column
        for required_column in REQUIRED_FIELDS.get(layout, ())
        if fields.isdisjoint(required_column.fields)
    ]
    if not missing or "more" in fields:
        return None
    known_names = {
        index: column.name for index, column in columns if layout.find_column(headings[index])
    }
    recognized = [f"{headings[index]!r} ({name})" for index, name in known_names.items()]
    unknown_headings = [
        f"{heading!r} (column {get_column_letters(index)}{_suggest_column(layout, heading)})"
        for index, heading in enumerate(headings)
        if heading and index not in known_names
    ]
    names = " and ".join(required_column.names for required_column in missing)
    field_names = " and ".join(required_column.fields[0] for required_column in missing)
    parts = [f"no heading stands for {field_names}"]
    if recognized:
        parts.append(f"recognized: {join_first(recognized, MAX_LISTED_HEADINGS)}")
    if unknown_headings:
        parts.append(f"not recognized: {join_first(unknown_headings, MAX_LISTED_HEADINGS)}")
    if layout is ITEM:
        parts += _suggest_headings(headings, known_names, sample)
    if recognized:
        parts.append(f"rename a heading to {names}")
    else:
        parts.append("name the columns in a row of headings, for example Code, Parent, Statement")
    return "; ".join(parts)


def _suggest_column(layout: SheetLayout, heading: str) -> str:
    similar_column = layout.find_similar_column(heading)
    return f", did you mean {similar_column.name!r}?" if similar_column else ""


def _suggest_headings(
    headings: Sequence[str], known_names: dict[int, str], sample: Sequence[NumberedRow]
) -> list[str]:
    """Guess from sample rows which columns hold the statements and the codes of items.

    Considers only columns with unknown headings. Returns a phrase for each guess: "column B seems
    to hold the text".
    """
    values: dict[int, list[Cell]] = {}
    for row in sample:
        for index, cell in enumerate(row.cells):
            if index not in known_names and not is_blank(cell):
                values.setdefault(index, []).append(cell)
    texts = {
        index: _get_mean_words_and_length(cells)
        for index, cells in values.items()
        if not all(map(is_number, cells))
    }
    guesses = []
    statement = max(texts, key=lambda index: texts[index], default=None)
    if statement is not None:
        guesses.append(f"{_describe_column(headings, statement)} seems to hold the text")
    has_codes = "humanCodingScheme" in known_names.values()
    code = next((index for index in sorted(values) if index != statement), None)
    if code is not None and not has_codes and _look_like_codes(values[code]):
        guesses.append(f"{_describe_column(headings, code)} seems to hold the codes")
    return guesses


def _get_mean_words_and_length(cells: Sequence[Cell]) -> tuple[float, float]:
    texts = [strip_invisible(format_cell(cell)) for cell in cells]
    words, chars = sum(len(text.split()) for text in texts), sum(map(len, texts))
    return words / len(texts), chars / len(texts)


def _look_like_codes(cells: Sequence[Cell]) -> bool:
    """Return whether most of the cells contain a digit and no space, as codes do."""
    texts = [strip_invisible(format_cell(cell)) for cell in cells]
    codes = [text for text in texts if any(map(str.isdigit, text)) and " " not in text]
    return len(codes) > len(texts) / 2


def _describe_column(headings: Sequence[str], index: int) -> str:
    heading = headings[index] if index < len(headings) else ""
    return f"column {get_column_letters(index)}{f' ({heading!r})' if heading else ''}"
