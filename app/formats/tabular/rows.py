"""Convert between entities and the rows of a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from itertools import chain, islice
from typing import Any, NamedTuple, TypeAlias

from ...case.vocabulary import IS_CHILD_OF
from ...exceptions import BadRequest, Problem
from ...repair.repair_log import RepairLog, iter_ancestor_paths
from .cells import (
    DATE,
    DATE_TIME,
    LEVEL_LIST,
    SEMICOLON_LIST,
    SEPARATOR,
    STRING,
    STRING_LIST,
    Cell,
    FormattedNumber,
    fill_missing_fields,
    format_cell,
    get_column_letters,
    get_nested,
    is_blank,
    is_number,
    set_nested,
    strip_invisible,
    to_json_cell,
)
from .columns import (
    ASSOCIATION,
    ASSOCIATION_COLUMNS,
    CASE_IDENTIFIER,
    DEPTH,
    DEPTH_HEADINGS,
    DEPTH_OR_GRADE_HEADING,
    DOCUMENT,
    ITEM,
    KNOWLEDGE_GRAPH_HEADINGS,
    KNOWLEDGE_GRAPH_IDENTIFIER,
    LAYOUTS,
    OVERFLOW,
    PARENT_CODE,
    PARENT_CODE_HEADING,
    PARENT_HEADING,
    Column,
    SheetLayout,
    find_layout,
    normalize_heading,
)
from .dates import normalize_date
from .headings import (
    MAX_ROWS_SEARCHED,
    NumberedRow,
    explain_missing_headings,
    find_heading_row,
    find_metadata_key,
)
from .other_formats import (
    CANVAS_CSV,
    INDENTED,
    is_canvas_table,
    is_indented_by_columns,
    is_indented_by_spaces,
    measure_indentation,
)

JsonObject: TypeAlias = dict[str, Any]
RowCells: TypeAlias = dict[str, Cell]
"""The cells of a row by column name."""

COLUMN_NAMES = {name for layout in LAYOUTS for name in layout.columns}

STATEMENT = ITEM.columns["fullStatement"]
EDUCATION_LEVEL = ITEM.columns["educationLevel"]
CODE_COLUMN = "humanCodingScheme"
KEYWORDS_COLUMN = "conceptKeywords"

PARENT_ASSOCIATION = "parentAssociation"
HIERARCHY_COLUMNS = {"parent", "smartLevel", PARENT_ASSOCIATION, DEPTH.name}

CLASS_COLUMN = "class"
"""The column with the class of each row, in a table of all classes."""


@dataclass
class UnreadCells:
    """The cells of a sheet that import ignores, such as A2, grouped by reason."""

    beyond: list[str] = field(default_factory=list)
    """Cells with a value beyond the columns that are read."""
    merged: list[str] = field(default_factory=list)
    """Ranges of cells that are merged over several rows, of which the first is read."""
    formulas: list[str] = field(default_factory=list)
    """Formulas without a stored result."""


class MisspelledHeading(NamedTuple):
    """An unknown heading that may be a misspelling of the heading of a missing column."""

    location: str
    """Its cell, for messages."""
    heading: str
    column: str
    """The name of the column that may be meant."""


class Sheet(NamedTuple):
    """The rows of a sheet of a workbook, or of a CSV file (a sheet without a name)."""

    name: str | None
    rows: Iterable[tuple[int, Sequence[Cell]]]
    """(row number, cells); rows without cells may be missing."""
    unread: UnreadCells | None = None
    """Cells that are not read; filled while the rows are read."""


@dataclass(frozen=True)
class RowLocation:
    """The location of a row in a file, and the letters of its columns, for use in messages."""

    text: str
    columns: dict[str, str] = field(default_factory=dict)
    """Column letters by column name."""

    def describe(self, name: str = "") -> str:
        """Return the location of the row, or of the cell that holds the field ``name``, as text.

        For example: ``sheet CFItems, row 5, column B (fullStatement)``.
        """
        paths = chain((name,), iter_ancestor_paths(name))
        letter = next((self.columns[path] for path in paths if path in self.columns), None)
        column = f", column {letter}" if letter else ""
        return f"{self.text}{column}{f' ({name})' if name else ''}"


@dataclass
class Row:
    """A row of a spreadsheet: its location, its entity as JSON, and its other cells."""

    layout: SheetLayout
    location: RowLocation
    entity: JsonObject = field(default_factory=dict)
    metadata: JsonObject = field(default_factory=dict)
    """The cells that are not fields of the entity, such as the parent of an item."""


def make_cells(
    layout: SheetLayout, entity: JsonObject, metadata: JsonObject | None = None
) -> RowCells:
    """Return an entity's cells by column name, for one row of its sheet.

    ``layout`` is the sheet layout of the entity's class. ``metadata`` contains the row's cells that
    are not fields of the entity, such as the item's parent. Values that no cell can represent
    exactly go to the column ``more`` as JSON.
    """
    cells: RowCells = {}
    overflow: JsonObject = {}
    fields = {column.path[0] for column in layout.columns.values() if not column.metadata}
    for name in entity.keys() - fields:
        overflow[name] = entity[name]
    for column in layout.columns.values():
        value = None if column.metadata else get_nested(entity, column.path)
        if value is not None and column.codec.can_round_trip(value):
            cells[column.name] = column.codec.write(value)
        elif value is not None:
            set_nested(overflow, column.path, value)
    cells |= metadata or {}
    return cells | {OVERFLOW.name: to_json_cell(overflow)} if overflow else cells


class RowReader:
    """Reads the rows of a sheet as entities, and collects their problems and repairs.

    The row of headings is read immediately; the other rows are read as the reader is iterated.
    """

    can_repair = True
    """True if values may be repaired: not in strict mode, and not in a file of ``export``."""

    def __init__(
        self, sheet: Sheet, layout: SheetLayout | None, problems: list[Problem], repairs: RepairLog
    ) -> None:
        self.location_prefix = f"sheet {sheet.name}, " if sheet.name else ""
        self.problems = problems
        self.repairs = repairs
        self.numeric_codes: set[str] = set()
        """Codes that were read from cells with a number."""
        self.misspelled_headings: list[MisspelledHeading] = []
        self.layout = layout
        self.number = 0
        self._rows = (
            NumberedRow(number, cells)
            for number, cells in sheet.rows
            if not all(map(is_blank, cells))
        )
        self._unnamed: dict[int, tuple[str, int]] = {}
        """For each column without a heading its first row with a value, and their count."""
        self._indents: list[int] = []
        """The columns of white space before each statement."""
        self._is_complete: dict[str, bool] = {}
        self._columns: dict[str, list[tuple[int, Column]]] = {}
        self._read_header()

    def _read_header(self) -> None:
        is_of_items = self.layout in {None, ITEM}
        self._metadata_rows: list[tuple[str, NumberedRow]] = []
        first_rows: list[NumberedRow] = []
        for row in self._rows:
            key = find_metadata_key(row.cells, self._is_known_heading) if is_of_items else None
            if key is None:
                first_rows = [row, *islice(self._rows, MAX_ROWS_SEARCHED - 1)]
                break
            self._metadata_rows.append((key, row))
        index = find_heading_row(first_rows, self._is_known_heading)
        for row in first_rows[:index]:
            text = " | ".join(format_cell(cell) for cell in row.cells if not is_blank(cell))
            self.repairs.record(
                "row-above-headings", f"{self.location_prefix}row {row.number}", text
            )
        header = first_rows[index] if first_rows else NumberedRow(0, ())
        self.headings_as_read = header.cells
        self.headings = [strip_invisible(format_cell(cell)) for cell in header.cells]
        self.header_number = header.number
        names = [normalize_heading(heading) for heading in self.headings]
        if is_canvas_table(self.headings):
            raise BadRequest(CANVAS_CSV)
        self._is_knowledge_graph = not KNOWLEDGE_GRAPH_HEADINGS.isdisjoint(names)
        grades = [
            heading for heading in self.headings if ITEM.find_column(heading) is EDUCATION_LEVEL
        ]
        self._depth_headings = {*DEPTH_HEADINGS}
        """Headings, such as "indent", of the depth of items in the tree."""
        if len(grades) > 1:
            self._depth_headings.add(DEPTH_OR_GRADE_HEADING)
        self._has_depths = not self._depth_headings.isdisjoint(names)
        self._has_case_identifiers = CASE_IDENTIFIER in names
        self.class_index = names.index(CLASS_COLUMN) if CLASS_COLUMN in names else None
        self._first_rows = first_rows[index + 1 :]

    def _is_known_heading(self, text: str) -> bool:
        layouts = (self.layout,) if self.layout else (ITEM, ASSOCIATION, DOCUMENT)
        return normalize_heading(text) == CLASS_COLUMN or any(
            layout.find_column(text) for layout in layouts
        )

    def _iter_metadata_document(self) -> Iterator[Row]:
        """Yield one row for the document if there are metadata rows above the headings.

        A metadata row such as ``#title,Mathematics`` sets a field of the document; the CASE editor
        compeito writes them. A row with an unknown key is recorded as a repair.
        """
        document = Row(DOCUMENT, RowLocation(""))
        rows_by_column: dict[str, int] = {}
        for key, (number, cells) in self._metadata_rows:
            location = RowLocation(f"{self.location_prefix}row {number}")
            values = [cell for cell in cells[1:] if not is_blank(cell)]
            column = DOCUMENT.find_column(key)
            if column is None:
                text = " | ".join(map(format_cell, [cells[0], *values]))
                self.repairs.record("row-above-headings", location.text, text)
            elif column.name in rows_by_column:
                message = f"#{key} is also in row {rows_by_column[column.name]}; remove one"
                self._add_problem(location.text, message)
            elif values:
                rows_by_column[column.name] = number
                separator = SEPARATOR if column.codec is STRING_LIST else ", "
                cell = values[0] if len(values) == 1 else separator.join(map(format_cell, values))
                row = Row(DOCUMENT, location, document.entity, document.metadata)
                self._read_cell(row, column, cell)
        if rows_by_column and self.header_number:
            first, last = (self._metadata_rows[index][1].number for index in (0, -1))
            yield replace(
                document, location=RowLocation(f"{self.location_prefix}rows {first} to {last}")
            )

    def __iter__(self) -> Iterator[Row]:
        yield from self._iter_metadata_document()
        for number, cells in chain(self._first_rows, self._rows):
            self.number = number
            layout = self._get_row_layout(cells)
            if layout and self._check_required_headings(layout):
                yield self._read_row(layout, cells)
        if self._shows_hierarchy_by_spaces():
            self._add_problem(f"{self.location_prefix}row {self.header_number}", INDENTED)
        for index, (location, count) in self._unnamed.items():
            rows = "a row" if count == 1 else f"{count:,} rows"
            self._add_problem(
                f"{location}, column {get_column_letters(index)}",
                f"this column has no heading, but a value in {rows}; give it one, or empty it",
            )

    def _check_required_headings(self, layout: SheetLayout) -> bool:
        """Return whether the headings include all required columns of a layout.

        Missing columns are reported as a problem, but only once per layout.
        """
        if layout.kind not in self._is_complete:
            columns = self._get_columns(layout)
            message = explain_missing_headings(layout, self.headings, columns, self._first_rows)
            if layout is ITEM and self._is_indented(has_headings=message is None):
                message = INDENTED
            self._is_complete[layout.kind] = message is None
            if message:
                self._add_problem(f"{self.location_prefix}row {self.header_number}", message)
        return self._is_complete[layout.kind]

    def _is_indented(self, *, has_headings: bool) -> bool:
        """Return whether the first rows are a list whose hierarchy is shown by indentation.

        If ``has_headings`` is false, the row of headings is counted as the first row of the list,
        because it lacks required headings.
        """
        rows = [row.cells for row in self._first_rows]
        if not has_headings:
            rows.insert(0, self.headings_as_read)
        first_cells = [next((cell for cell in row if not is_blank(cell)), None) for row in rows]
        statements = [index for index, column in self._get_columns(ITEM) if column is STATEMENT]
        has_gaps = not statements or any(is_blank(_get_cell(row, statements[0])) for row in rows)
        return (has_gaps and is_indented_by_columns(rows)) or (
            not has_headings
            and all(len(row) == 1 for row in rows)
            and is_indented_by_spaces([measure_indentation(cell) for cell in first_cells])
        )

    def _get_row_layout(self, cells: Sequence[Cell]) -> SheetLayout | None:
        if self.layout or self.class_index is None:
            return self.layout or ITEM
        class_name = format_cell(_get_cell(cells, self.class_index)).strip()
        layout = find_layout(class_name) if class_name else ITEM
        if not layout:
            location = f"{self._locate_cell(self.number, self.class_index)} ({CLASS_COLUMN})"
            self._add_problem(location, f"{class_name!r} is not a class of the standard")
        return layout

    def _read_row(self, layout: SheetLayout, cells: Sequence[Cell]) -> Row:
        columns = self._get_columns(layout)
        letters = {column.name: get_column_letters(index) for index, column in columns}
        row = Row(layout, RowLocation(f"{self.location_prefix}row {self.number}", letters))
        for index, column in columns:
            if not is_blank(cell := _get_cell(cells, index)):
                self._read_cell(row, column, cell)
        self._read_overflow(row)
        if layout is ITEM and self._has_case_identifiers:
            self._apply_knowledge_graph_identifier(row)
        for index, cell in enumerate(cells):
            has_heading = index < len(self.headings) and self.headings[index]
            if not has_heading and not is_blank(cell):
                location, count = self._unnamed.get(index, (row.location.text, 0))
                self._unnamed[index] = (location, count + 1)
        return row

    def _apply_knowledge_graph_identifier(self, row: Row) -> None:
        """Set an item's missing identifier to the one in its Learning Commons column, if any.

        Tables of the Learning Commons knowledge graph identify each item by a column of their own.
        If the row has a CASE identifier as well, the other one stays in the item's ``extensions``,
        which is recorded as a repair.
        """
        source_identifier = get_nested(row.entity, KNOWLEDGE_GRAPH_IDENTIFIER.path)
        if source_identifier is None:
            return
        if "identifier" not in row.entity:
            row.entity["identifier"] = row.entity["extensions"].pop("identifier")
            if not row.entity["extensions"]:
                del row.entity["extensions"]
        else:
            name = KNOWLEDGE_GRAPH_IDENTIFIER.name
            self.repairs.record(
                "unknown-field", row.location.describe(name), source_identifier, name
            )
            self.repairs.count_repaired_field("unknown-field", "identifier")

    def _get_columns(self, layout: SheetLayout) -> list[tuple[int, Column]]:
        """Return a list of (0-based index, column) pairs for the headings of the sheet.

        A heading that ``layout`` does not know gives a column for a field of that name. If two
        headings mean the same column, the second one is left out and added to ``problems``.
        """
        if layout.kind in self._columns:
            return self._columns[layout.kind]
        columns: dict[str, tuple[int, Column]] = {}
        for index, heading in enumerate(self.headings):
            if not heading or normalize_heading(heading) == CLASS_COLUMN:
                continue
            column = self._get_column(layout, heading)
            if layout is ITEM and normalize_heading(heading) in self._depth_headings:
                column = DEPTH
            elif self._has_depths and column.codec in {LEVEL_LIST, STRING_LIST}:
                column = replace(column, codec=SEMICOLON_LIST)
            elif heading == PARENT_CODE_HEADING and PARENT_HEADING in self.headings:
                column = PARENT_CODE
            if column.name in columns:
                first_letters = get_column_letters(columns[column.name][0])
                message = (
                    f"{heading!r} means {column.name}, as column {first_letters} does; remove one"
                )
                self._add_problem(self._locate_cell(self.header_number, index), message)
            else:
                columns[column.name] = (index, column)
        self._columns[layout.kind] = list(columns.values())
        if self.can_repair and self.class_index is None:
            self._find_misspelled_headings(layout, columns)
        return self._columns[layout.kind]

    def _find_misspelled_headings(
        self, layout: SheetLayout, columns: Mapping[str, tuple[int, Column]]
    ) -> None:
        for index, column in columns.values():
            similar_column = layout.find_similar_column(column.name)
            if similar_column is None or similar_column.name in columns:
                continue
            location = self._locate_cell(self.header_number, index)
            self.misspelled_headings.append(
                MisspelledHeading(location, column.name, similar_column.name)
            )

    def _get_column(self, layout: SheetLayout, heading: str) -> Column:
        """Return the column that a heading refers to, or a new column if it is unknown.

        A new column contains strings, the values of a field that has the heading as its name.
        """
        # In a table of all classes, the column of another class is not taken as an alias.
        is_foreign = heading in COLUMN_NAMES and heading not in layout.columns
        is_known = self.class_index is None or not is_foreign
        column = layout.find_column(heading) if is_known else None
        if layout is ITEM and self._is_knowledge_graph:
            normalized = normalize_heading(heading)
            if normalized == "identifier" and self._has_case_identifiers:
                return KNOWLEDGE_GRAPH_IDENTIFIER
            has_statement = STATEMENT in map(ITEM.find_column, self.headings)
            if normalized == "description" and not has_statement:
                return STATEMENT
        if column and column.name == KEYWORDS_COLUMN and self._has_opensalt_headings():
            return replace(column, codec=LEVEL_LIST)
        return column or Column(heading, (heading,), STRING)

    def _shows_hierarchy_by_spaces(self) -> bool:
        names = {column.name for _, column in self._columns.get(ITEM.kind, ())}
        has_hierarchy = not names.isdisjoint(HIERARCHY_COLUMNS)
        return self.can_repair and not has_hierarchy and is_indented_by_spaces(self._indents)

    def _has_opensalt_headings(self) -> bool:
        """Return whether the sheet comes from the CASE editor OpenSALT, judging by its headings.

        OpenSALT separates the values in a cell by commas.
        """
        if self.class_index is not None or PARENT_ASSOCIATION in self.headings:
            return False
        normalized = {normalize_heading(heading) for heading in self.headings}
        names = (*ASSOCIATION_COLUMNS, IS_CHILD_OF, "smartLevel")
        return not normalized.isdisjoint(map(normalize_heading, names))

    def _read_cell(self, row: Row, column: Column, cell: Cell) -> None:
        if column is STATEMENT:
            self._indents.append(measure_indentation(cell))
        if self.can_repair and isinstance(cell, str):
            text = strip_invisible(cell)
            if text != cell:
                location = row.location.describe(column.name)
                self.repairs.record("surrounding-space", location, cell, text)
            cell = text
            if not cell:
                return
        if column.name == CODE_COLUMN and (is_number(cell) or isinstance(cell, date | time)):
            self._report_numeric_code(row, cell)
        try:
            is_text = isinstance(cell, str) or is_number(cell)
            if self.can_repair and is_text and column.codec in {DATE, DATE_TIME}:
                cell = self._normalize_date(row, column, format_cell(cell))
            holder = row.metadata if column.metadata else row.entity
            set_nested(holder, column.path, column.codec.read(cell))
        except ValueError as error:
            self._add_problem(row.location.describe(column.name), str(error))

    def _normalize_date(self, row: Row, column: Column, text: str) -> str:
        normalized = normalize_date(text)
        if normalized is None or normalized == text:
            return text
        self.repairs.record("date-form", row.location.describe(column.name), text, normalized)
        return normalized

    def _report_numeric_code(self, row: Row, cell: Cell) -> None:
        """Record a repair for a code in a cell that Excel may have changed to a date or a number.

        For example, Excel reads the code 1-2 as a date and 1.10 as the number 1.1. A number in a
        cell with a format such as ``0.00`` needs no repair. Adds the code to ``numeric_codes`` in
        each case.
        """
        code = format_cell(cell)
        self.numeric_codes.add(code)
        location = row.location.describe(CODE_COLUMN)
        if isinstance(cell, date | time):
            self.repairs.record("code-from-date", location, None, code)
        elif not isinstance(cell, FormattedNumber):
            self.repairs.record("code-from-number", location, cell, code)

    def _read_overflow(self, row: Row) -> None:
        overflow = row.metadata.pop(OVERFLOW.name, {})
        if isinstance(overflow, dict):
            fill_missing_fields(row.entity, overflow)
        else:
            self._add_problem(row.location.describe(OVERFLOW.name), "must be a JSON object")

    def _locate_cell(self, row_number: int, index: int) -> str:
        return f"{self.location_prefix}row {row_number}, column {get_column_letters(index)}"

    def _add_problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path=path, message=message))


def _get_cell(cells: Sequence[Cell], index: int) -> Cell:
    return cells[index] if index < len(cells) else None
