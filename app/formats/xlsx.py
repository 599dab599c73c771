"""Read and write XLSX row by row, within limits on the size of an unpacked file.

Strings are written as strings, never as formulas. Characters that XML cannot hold are escaped as
Excel does it, ``_xHHHH_`` (ISO/IEC 29500-1, 22.9.2.19).
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet._reader import FORMULA_TAG, VALUE_TAG, WorkSheetParser

from ..case.validation.problems import create_validation_error
from ..exceptions import BadRequest, Problem
from .tabular.cells import Cell, FormattedNumber, format_cell, get_column_letters
from .tabular.number_format import parse_number_format
from .tabular.rows import Sheet, UnreadCells

MAX_UNPACKED_BYTES = 512 * 2**20
"""Limit of the unpacked size of all parts of a workbook."""

MAX_CELLS = 2_000_000
"""Limit of the cells of a workbook, empty ones with a format included."""

MAX_SHARED_STRINGS = 2_000_000
MAX_TAGS = 4 * MAX_CELLS
"""Limit of the tags of one part: a cell with a value has four, a shared string four or more. An
element takes 56 bytes of memory until its row has been read."""

MAX_COLUMNS = 256
"""Maximum number of columns of a sheet that are read."""

CHUNK_BYTES = 2**20
MAX_CELL_CHARS = 32_767
"""Excel's limit on the length of a cell, in UTF-16 code units."""

UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
COLUMN_WIDTH = 24
TEXT_FORMAT = "@"

ESCAPED = re.compile(r"_x(?![Dd][89A-Fa-f])([0-9A-Fa-f]{4})_")
"""An escaped character. Surrogates (D800 to DFFF) are no characters."""


def escape_cell_text(text: str) -> str:
    """Escape characters that XML cannot contain, as Excel does: NUL becomes ``_x0000_``."""
    return UNWRITABLE.sub(lambda match: f"_x{ord(match[0]):04X}_", text)


def unescape_cell_text(text: str) -> str:
    """Replace escapes such as ``_x0000_`` in the text of a cell with their characters."""
    return ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def read_workbook(raw: bytes) -> list[Sheet]:
    """Open an XLSX workbook and return a ``Sheet`` for each of its worksheets.

    The rows are parsed later, when a sheet is iterated. Raises ``BadRequest`` if the workbook is
    invalid, or too large when unpacked.
    """
    _reject_large_workbook(raw)
    try:
        with warnings.catch_warnings():
            # About what is not read: validations, drawings, styles.
            warnings.simplefilter("ignore", UserWarning)
            book = load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
    except READ_ERRORS as error:
        raise BadRequest(f"the workbook cannot be read: {error}") from None
    budget = _CellBudget(MAX_CELLS)
    sheets = []
    for sheet in book.worksheets:
        unread = UnreadCells()
        sheets.append(Sheet(sheet.title, _iter_rows(sheet, budget, unread), unread))
    return sheets


READ_ERRORS = (
    *(InvalidFileException, zipfile.BadZipFile, zlib.error, ParseError, RuntimeError),
    *(KeyError, ValueError, TypeError, OSError, EOFError, IndexError, AttributeError),
    OverflowError,
)
"""Exceptions of openpyxl and zipfile for damaged files. ``RuntimeError`` is for encrypted parts."""


def _reject_large_workbook(raw: bytes) -> None:
    """Raise ``BadRequest`` if a file is not a workbook, or would be too large when unpacked.

    The sizes are read from the ZIP directory. They can be relied on, because zipfile never unpacks
    more.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            parts = archive.infolist()
            size = sum(part.file_size for part in parts)
            if size > MAX_UNPACKED_BYTES:
                raise BadRequest(
                    f"the workbook unpacks to {size:,} bytes, and at most {MAX_UNPACKED_BYTES:,} "
                    "are read: remove pictures and unused sheets, or save each sheet as CSV"
                )
            for part in parts:
                if part.filename.endswith(".xml"):
                    _reject_many_tags(archive, part)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise BadRequest(f"the file is not an XLSX workbook: {error}") from None


def _reject_many_tags(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    if part.file_size <= MAX_TAGS * len("<c/>"):
        return
    tags = 0
    with archive.open(part) as file:
        while chunk := file.read(CHUNK_BYTES):
            tags += chunk.count(b"<")
            if tags > MAX_TAGS:
                if "sharedStrings" not in part.filename:
                    raise _make_cell_limit_error()
                raise BadRequest(
                    f"the workbook holds more than {MAX_SHARED_STRINGS:,} shared strings: remove "
                    "unused sheets, or save each sheet as CSV"
                )


@dataclass
class _CellBudget:
    """The number of cells that may still be read from a workbook."""

    left: int

    def consume_cells(self, count: int) -> None:
        """Subtract the cells of one row from the number of cells left.

        An empty row counts as one cell. Raises ``BadRequest`` if no cells are left.
        """
        self.left -= max(1, count)
        if self.left < 0:
            raise _make_cell_limit_error()


def _make_cell_limit_error() -> BadRequest:
    return BadRequest(
        f"the workbook holds more than {MAX_CELLS:,} cells, empty ones with a format included: "
        "delete unused rows and columns, or save each sheet as CSV"
    )


def _iter_rows(
    sheet: Any, budget: _CellBudget, unread: UnreadCells
) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Yield (row number, cell values) for each row of an openpyxl sheet that has cells.

    ``budget`` limits the cells of the workbook. ``unread`` collects names of lost cells: merged
    cells, formulas without a cached result, and cells beyond ``MAX_COLUMNS``. Raises ``BadRequest``
    above the limit and for an invalid sheet.
    """
    # Not openpyxl's own iteration, which also yields all empty rows above a cell: a million rows
    # for a cell in the last row that Excel allows.
    book = sheet.parent
    try:
        with sheet._get_source() as source:  # noqa: SLF001  as the library's own iteration
            parser = _FormulaCollectingParser(
                source,
                sheet._shared_strings,  # noqa: SLF001  as above
                data_only=True,
                epoch=book.epoch,
                date_formats=book._date_formats,  # noqa: SLF001  as above
                timedelta_formats=book._timedelta_formats,  # noqa: SLF001  as above
            )
            for number, cells in parser.parse():
                budget.consume_cells(len(cells))
                yield number, _read_values(number, cells, unread.beyond, book)
            unread.formulas += parser.formulas
            merged_ranges = parser.merged_cells.mergeCell if parser.merged_cells else ()
            unread.merged += [
                cell_range.ref for cell_range in merged_ranges if cell_range.size["rows"] > 1
            ]
    except READ_ERRORS as error:
        raise BadRequest(f"the workbook cannot be read: {error}") from None


class _FormulaCollectingParser(WorkSheetParser):
    """A sheet parser that collects the names of formula cells that have no cached result."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.formulas: list[str] = []

    def parse_cell(self, element: Any) -> dict[str, Any]:
        """Parse a cell as openpyxl does; collect its name if it is a formula without a result."""
        cell: dict[str, Any] = super().parse_cell(element)
        # Programs write an empty string as the result with the type str.
        has_result = element.findtext(VALUE_TAG) or element.get("t") == "str"
        if not has_result and element.find(FORMULA_TAG) is not None:
            self.formulas.append(f"{get_column_letters(cell['column'] - 1)}{cell['row']}")
        return cell


def _read_values(
    row_number: int, cells: Sequence[dict[str, Any]], extra_cells: list[str], workbook: Any
) -> list[Cell]:
    """Return the values of a row of openpyxl cells, by 0-based column, None if empty.

    The openpyxl ``workbook`` supplies the number formats of the cells. The names of cells beyond
    ``MAX_COLUMNS``, such as ``XFD7``, are appended to ``extra_cells``.
    """
    values: list[Cell] = []
    for cell in cells:
        index, value = cell["column"] - 1, cell["value"]
        if value is None:
            continue
        if index >= MAX_COLUMNS:
            extra_cells.append(f"{get_column_letters(index)}{row_number}")
            continue
        values += [None] * (index + 1 - len(values))
        if isinstance(value, str):
            value = unescape_cell_text(value)
        elif cell["data_type"] == "n" and cell["style_id"]:
            value = _apply_number_format(value, _get_number_format(workbook, cell["style_id"]))
        values[index] = value
    return values


def _get_number_format(book: Any, style_id: int) -> str:
    number: int = book._cell_styles[style_id].numFmtId  # noqa: SLF001  as ReadOnlyCell does
    if number < BUILTIN_FORMATS_MAX_SIZE:
        return BUILTIN_FORMATS.get(number, "General")
    return str(book._number_formats[number - BUILTIN_FORMATS_MAX_SIZE])  # noqa: SLF001  as above


def _apply_number_format(value: float, code: str) -> Cell:
    """Return a number, as a ``FormattedNumber`` if the format changes the digits shown.

    ``code`` is the number format code of the cell, such as ``0.00``.
    """
    digits = parse_number_format(code)
    text = digits.format(value) if digits else None
    if digits is None or text is None or (digits.decimals == 0 and text == format_cell(value)):
        return value
    return FormattedNumber(value, text)


def write_workbook(
    file: BinaryIO, sheets: Iterable[tuple[str, Sequence[str], Iterable[Sequence[Cell]]]]
) -> None:
    """Write an XLSX workbook with sheets given as (name, column names, rows).

    If a cell is longer than Excel's limit, ``file`` is left untouched, and ``UnprocessableContent``
    is raised with a list of all such cells.
    """
    book = Workbook(write_only=True)
    problems: list[Problem] = []
    for name, header, rows in sheets:
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        for index in range(len(header)):
            column = sheet.column_dimensions[get_column_letters(index)]
            # Text columns, because Excel would turn an entered 3.10 into 3.1 otherwise.
            column.width, column.number_format = COLUMN_WIDTH, TEXT_FORMAT
        sheet.append([_make_cell(sheet, name) for name in header])
        for number, row in enumerate(rows, 2):
            problems += _iter_long_cell_problems(name, number, header, row)
            if not problems:
                sheet.append([_make_cell(sheet, cell) for cell in row])
    # Saved in any case, because that removes the temporary files of openpyxl.
    book.save(io.BytesIO() if problems else file)
    if problems:
        raise create_validation_error("workbook", problems)


def _iter_long_cell_problems(
    sheet: str, row_number: int, header: Sequence[str], row: Sequence[Cell]
) -> Iterator[Problem]:
    for index, cell in enumerate(row):
        if isinstance(cell, str) and len(cell) > MAX_CELL_CHARS // 7:
            length = len(escape_cell_text(cell).encode("utf-16-le")) // 2
            if length > MAX_CELL_CHARS:
                yield Problem(
                    path=f"sheet {sheet}, row {row_number}, column {get_column_letters(index)} "
                    f"({header[index]})",
                    message=f"{length:,} characters; a cell of an XLSX holds {MAX_CELL_CHARS:,}: "
                    "write it as csv, jsonl or case-json",
                )


def _make_cell(sheet: Any, value: Cell) -> Any:
    if value is None:
        return None
    if isinstance(value, float) and (float(f"{value:.16g}") != value or repr(value) == "-0.0"):
        value = repr(value)  # openpyxl writes only 16 digits of a number
    if not isinstance(value, str):
        return value
    cell = WriteOnlyCell(sheet, value=escape_cell_text(value))
    cell.data_type = "s"  # a string, even if it looks like a formula or an error
    cell.number_format = TEXT_FORMAT
    return cell
