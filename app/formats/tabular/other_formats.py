"""Recognize frameworks in formats of other programs that are not read, and say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from .cells import Cell, format_cell, is_blank
from .columns import normalize_heading

CANVAS_HEADINGS = {"vendorguid", "objecttype"}
CANVAS_FIELDS = {"calculation_method", "mastery_points", "ratings"}
CANVAS_CSV = (
    "the file is an outcomes export of Canvas, which is not read: import the framework that the "
    "outcomes were made from, or rename vendor_guid to Identifier, parent_guids to Parent and "
    "title to Statement, and delete the other columns"
)
CANVAS_JSON = (
    "is an answer of Canvas's outcomes API, which is not read: import the framework that the "
    "outcomes were made from, or make a table of them with the headings Identifier, Parent and "
    "Statement"
)

STANDARDS_PROJECT_FIELDS = {"asnIdentifier", "statementNotation", "ancestorIds"}
STANDARDS_PROJECT_JSON = (
    "is a standard set of the Common Standards Project, which is not read: import the CASE package "
    "of its publisher, or make a table of its standards with the headings Identifier (id), Parent "
    "(parentId), Code (statementNotation) and Statement (description)"
)

INDENTED = (
    "the rows are an indented list, which is not read: put all statements into one column "
    "Statement, and number the rows 1, 1.1, 1.2, 2 and so on in a column smartLevel, or name their "
    "parents in a column Parent"
)
MIN_INDENTED_ROWS = 2
MIN_INDENT = 2
"""Columns of the smallest indentation, because a single space is often a mistake."""

MAX_CELLS_OF_ENTRY = 2
"""A row of an indented list has a statement, and a code at most."""

LEADING_SPACE = re.compile(r"[\s\u200b\u2060\ufeff]*")
TAB_COLUMNS = 2


def diagnose_foreign_json(value: Any) -> str | None:
    """Recognize JSON of another program, and return a message on what to import instead.

    Knows Canvas outcomes and the Common Standards Project; returns None for any other JSON.
    """
    for obj in _iter_sample_objects(value):
        if "vendor_guid" in obj and CANVAS_FIELDS & obj.keys():
            return CANVAS_JSON
        if STANDARDS_PROJECT_FIELDS & obj.keys() and "fullStatement" not in obj:
            return STANDARDS_PROJECT_JSON
    return None


def _iter_sample_objects(value: Any) -> Iterable[dict[str, Any]]:
    """Yield the outermost object of a JSON value, then up to three objects nested in it.

    Their field names show which program wrote the file. Of an array, only the first element is
    read.
    """
    for _ in range(4):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, dict):
            return
        yield value
        names = ("data", "standards", "outcome", "outcomes", "outcome_links", "learning_outcomes")
        inner = next((value[name] for name in names if name in value), None)
        if inner is None and all(isinstance(part, dict) for part in value.values()):
            inner = next(iter(value.values()), None)
        value = inner


def is_canvas_table(headings: Iterable[str]) -> bool:
    """Return whether the headings are those of a Canvas outcomes CSV export."""
    return CANVAS_HEADINGS.issubset(normalize_heading(heading) for heading in headings)


def is_indented_by_columns(rows: Sequence[Sequence[Cell]]) -> bool:
    """Return whether the rows are a list in which leading empty cells express the hierarchy.

    Each row of such a list has one filled cell, or two adjacent ones.
    """
    filled_cells = [
        [index for index, cell in enumerate(row) if not is_blank(cell)] for row in rows if row
    ]
    starts = [indexes[0] for indexes in filled_cells if indexes]
    sizes = {len(indexes) for indexes in filled_cells}
    is_contiguous = all(
        indexes[-1] - indexes[0] == len(indexes) - 1 for indexes in filled_cells if indexes
    )
    return (
        len(sizes) == 1
        and max(sizes) <= MAX_CELLS_OF_ENTRY
        and is_contiguous
        and len(set(starts)) > 1
        and starts[0] == 0
        and all(after - before <= max(sizes) for before, after in pairwise(starts))
    )


def measure_indentation(cell: Cell) -> int:
    """Return the width of the whitespace before the text in a cell, with 2 columns per tab."""
    space = LEADING_SPACE.match(format_cell(cell))
    return len(space[0].replace("\t", " " * TAB_COLUMNS)) if space else 0


def is_indented_by_spaces(indents: Sequence[int]) -> bool:
    """Return whether a list of statements expresses its hierarchy with leading spaces.

    ``indents`` contains the width of the whitespace before each statement. The result is True if at
    least two statements are indented, each by at least two columns, and the first is not.
    """
    positive_indents = [indent for indent in indents if indent]
    return (
        len(positive_indents) >= MIN_INDENTED_ROWS
        and min(positive_indents) >= MIN_INDENT
        and not indents[0]
    )
