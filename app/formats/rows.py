"""Rows: an entity written into the cells of one, and read from them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from ..exceptions import Problem
from .cells import (
    STRING,
    Cell,
    column_letter,
    fill_missing,
    format_cell,
    get_path,
    is_empty,
    set_path,
    to_json,
)
from .columns import ITEM, LAYOUTS, OVERFLOW, Column, Layout, find_layout, fold_heading

JsonObject: TypeAlias = dict[str, Any]
RowCells: TypeAlias = dict[str, Cell]
"""The cells of a row by the names of their columns."""

COLUMN_NAMES = {name for layout in LAYOUTS for name in layout.columns}

CLASS_COLUMN = "class"
"""The column that says what a row of a table of everything is."""


class Sheet(NamedTuple):
    """Cells as a file has them: a sheet, or all of a CSV, which has no name."""

    name: str | None
    rows: Iterable[tuple[int, Sequence[Cell]]]
    """Each with its number; rows without cells may be left out."""
    beyond: Sequence[str] = ()
    """The cells that hold a value right of all columns that are read, once the rows were read."""


@dataclass(frozen=True)
class Location:
    """Where a row stands, in words for a person."""

    where: str
    columns: dict[str, str] = field(default_factory=dict)
    """The letter of each column by its name."""

    def describe(self, name: str = "") -> str:
        """Where the cell of a field stands."""
        letter = next(
            (self.columns[one] for one in _iter_path_prefixes(name) if one in self.columns), None
        )
        column = f", column {letter}" if letter else ""
        return f"{self.where}{column}{f' ({name})' if name else ''}"


def _iter_path_prefixes(name: str) -> Iterator[str]:
    """A field's path, then those of what it is part of."""
    while name:
        yield name
        name = name.rpartition(".")[0]


@dataclass
class Row:
    """What one row says."""

    layout: Layout
    place: Location
    entity: JsonObject = field(default_factory=dict)
    metadata: JsonObject = field(default_factory=dict)
    """What it says that is no field of the entity."""


def to_cells(layout: Layout, entity: JsonObject, metadata: JsonObject | None = None) -> RowCells:
    """The cells that say an entity; what no cell can say exactly goes into ``more``."""
    line: RowCells = {}
    more: JsonObject = {}
    fields = {column.path[0] for column in layout.columns.values() if not column.metadata}
    for name in entity.keys() - fields:
        more[name] = entity[name]
    for column in layout.columns.values():
        value = None if column.metadata else get_path(entity, column.path)
        if value is not None and column.codec.fits(value):
            line[column.name] = column.codec.write(value)
        elif value is not None:
            set_path(more, column.path, value)
    line |= metadata or {}
    return line | {OVERFLOW.name: to_json(more)} if more else line


class RowReader:
    """Reads the rows of one grid, and remembers what cannot be read."""

    def __init__(self, grid: Sheet, layout: Layout | None, problems: list[Problem]) -> None:
        self.where = f"sheet {grid.name}, " if grid.name else ""
        self.problems = problems
        self.layout = layout
        self.number = 0
        self._rows = iter(grid.rows)
        self._columns: dict[str, list[tuple[int, Column]]] = {}

    def __iter__(self) -> Iterator[Row]:
        header = next(self._filled(), ())
        self.headings = [format_cell(cell).strip() for cell in header]
        self.header_number = self.number
        kinds = [
            index for index, name in enumerate(self.headings) if fold_heading(name) == CLASS_COLUMN
        ]
        self.mixed = bool(kinds)
        for cells in self._filled():
            layout = self._layout(cells, kinds[0] if kinds else None)
            if layout:
                yield self._row(layout, cells)

    def _filled(self) -> Iterator[Sequence[Cell]]:
        for number, cells in self._rows:
            self.number = number
            if not all(is_empty(cell) for cell in cells):
                yield cells

    def _layout(self, cells: Sequence[Cell], index: int | None) -> Layout | None:
        if self.layout or index is None:
            return self.layout or ITEM
        written = format_cell(cells[index]).strip() if index < len(cells) else ""
        layout = find_layout(written) if written else ITEM
        if not layout:
            place = Location(f"{self.where}row {self.number}", {CLASS_COLUMN: column_letter(index)})
            self._problem(place.describe(CLASS_COLUMN), f"{written!r} is no class of the standard")
        return layout

    def _row(self, layout: Layout, cells: Sequence[Cell]) -> Row:
        columns = self._columns_of(layout)
        known = {column.name: column_letter(index) for index, column in columns}
        row = Row(layout, Location(f"{self.where}row {self.number}", known))
        for index, column in columns:
            cell = cells[index] if index < len(cells) else None
            if not is_empty(cell):
                self._read(row, column, cell)
        self._read_more(row)
        if extra := next(
            (i for i, c in _iter_unnamed_cells(cells, self.headings) if not is_empty(c)), None
        ):
            where = f"{row.place.where}, column {column_letter(extra)}"
            self._problem(where, "this column has no heading; give it one, or empty the cell")
        return row

    def _columns_of(self, layout: Layout) -> list[tuple[int, Column]]:
        """The columns as a class has them; a heading it does not know is a field of its own."""
        if layout.kind in self._columns:
            return self._columns[layout.kind]
        found: dict[str, tuple[int, Column]] = {}
        for index, heading in enumerate(self.headings):
            if not heading or fold_heading(heading) == CLASS_COLUMN:
                continue
            column = self._column(layout, heading)
            if column.name in found:
                first = column_letter(found[column.name][0])
                where = f"{self.where}row {self.header_number}, column {column_letter(index)}"
                self._problem(where, f"{heading!r} is {column.name}, which column {first} is, too")
            else:
                found[column.name] = (index, column)
        self._columns[layout.kind] = list(found.values())
        return self._columns[layout.kind]

    def _column(self, layout: Layout, heading: str) -> Column:
        """The column that a heading is to a class; a field of its own where it is none."""
        # In a table of everything, the name of another class's column is no nickname of metadata.
        others = self.mixed and heading in COLUMN_NAMES and heading not in layout.columns
        known = None if others else layout.find(heading)
        return known or Column(heading, (heading,), STRING)

    def _read(self, row: Row, column: Column, cell: Cell) -> None:
        try:
            set_path(
                row.metadata if column.metadata else row.entity,
                column.path,
                column.codec.read(cell),
            )
        except ValueError as error:
            self._problem(row.place.describe(column.name), str(error))

    def _read_more(self, row: Row) -> None:
        more = row.metadata.pop(OVERFLOW.name, {})
        if isinstance(more, dict):
            fill_missing(row.entity, more)
        else:
            self._problem(row.place.describe(OVERFLOW.name), "must be a JSON object")

    def _problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path=path, message=message))


def _iter_unnamed_cells(cells: Sequence[Cell], headings: list[str]) -> Iterator[tuple[int, Cell]]:
    """The cells that no heading stands over."""
    named = {index for index, heading in enumerate(headings) if heading}
    return ((index, cell) for index, cell in enumerate(cells) if index not in named)
