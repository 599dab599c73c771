"""XLSX, read and written row by row, with bounds on what a file may unfold to.

Texts are written as texts, never as formulas. What XML cannot hold is escaped as Excel does it,
``_xHHHH_`` (ISO/IEC 29500-1, 22.9.2.19), and read back.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils.exceptions import InvalidFileException

from ..case.problems import refusal
from ..errors import BadRequest, Problem
from .cells import Cell, column_letter
from .rows import Grid

LARGEST = 512 * 2**20
"""Bytes that a workbook may unfold to."""
WIDEST = 256
"""Columns that are read of a sheet."""
LONGEST = 32_767
"""Characters, in UTF-16, that a cell holds in Excel."""

UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
WIDTH = 24
TEXT_FORMAT = "@"

SURROGATES = range(0xD800, 0xE000)
ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def escape(text: str) -> str:
    """A text as XML can hold it."""
    return UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)


def unescape(text: str) -> str:
    """The text that was escaped."""
    return ESCAPED.sub(lambda found: _character(int(found[1], 16)) or found[0], text)


def _character(code: int) -> str:
    """The character of a code; none for half a surrogate pair, which is no text."""
    return "" if code in SURROGATES else chr(code)


def read_grids(raw: bytes) -> list[Grid]:
    """The sheets of a workbook. Raises ``BadRequest`` when it is none, or too large."""
    _check_size(raw)
    try:
        with warnings.catch_warnings():
            # About what is not read: validations, drawings, styles.
            warnings.simplefilter("ignore", UserWarning)
            book = load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
    except BROKEN as error:
        raise BadRequest(f"the workbook cannot be read: {error}") from None
    return [Grid(sheet.title, _rows(sheet)) for sheet in book.worksheets]


BROKEN = (
    *(InvalidFileException, zipfile.BadZipFile, ParseError),
    *(KeyError, ValueError, TypeError, OSError, EOFError, IndexError, AttributeError),
)
"""What the library raises on files that are no workbooks."""


def _check_size(raw: bytes) -> None:
    """The size each part says it has is also all that is read of it."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise BadRequest(f"the file is not an XLSX workbook: {error}") from None
    if size > LARGEST:
        raise BadRequest(
            f"the workbook unfolds to {size:,} bytes; {LARGEST:,} is the most that is read"
        )


def _rows(sheet: object) -> Iterator[Sequence[Cell]]:
    try:
        sheet.reset_dimensions()  # type: ignore[attr-defined]  # of read-only sheets alone
        for row in sheet.iter_rows(values_only=True, max_col=WIDEST):  # type: ignore[attr-defined]
            yield [unescape(cell) if isinstance(cell, str) else cell for cell in row]
    except BROKEN as error:
        raise BadRequest(f"the workbook cannot be read: {error}") from None


def write_grids(
    file: BinaryIO, sheets: Iterable[tuple[str, Sequence[str], Iterable[Sequence[Cell]]]]
) -> None:
    """Write sheets, each a name, the names of its columns, and rows.

    Raises ``InvalidData`` that names every cell that is too long for Excel.
    """
    book = Workbook(write_only=True)
    problems: list[Problem] = []
    for name, header, rows in sheets:
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        for index in range(len(header)):
            column = sheet.column_dimensions[column_letter(index)]
            # What people type under a heading stays as they typed it: 3.10 is not 3.1.
            column.width, column.number_format = WIDTH, TEXT_FORMAT
        sheet.append([_cell(sheet, name) for name in header])
        for number, row in enumerate(rows, 2):
            problems += _too_long(name, number, header, row)
            if not problems:
                sheet.append([_cell(sheet, cell) for cell in row])
    # Saved in any case, for that is what removes the library's own files.
    book.save(io.BytesIO() if problems else file)
    if problems:
        raise refusal("workbook", problems)


def _too_long(
    sheet: str, number: int, header: Sequence[str], row: Sequence[Cell]
) -> Iterator[Problem]:
    """The cells of a row that Excel would cut off."""
    for index, cell in enumerate(row):
        if isinstance(cell, str) and len(cell) > LONGEST // 7:
            length = len(escape(cell).encode("utf-16-le")) // 2
            if length > LONGEST:
                yield Problem(
                    path=f"sheet {sheet}, row {number}, column {column_letter(index)} "
                    f"({header[index]})",
                    message=f"{length:,} characters, and a cell of an XLSX holds {LONGEST:,}; "
                    "write it as csv, jsonl or case-json",
                )


def _cell(sheet: Any, value: Cell) -> Any:
    if value is None:
        return None
    if isinstance(value, float) and (float(f"{value:.16g}") != value or repr(value) == "-0.0"):
        value = repr(value)  # more than the library writes of a number
    if not isinstance(value, str):
        return value
    cell = WriteOnlyCell(sheet, value=escape(value))
    cell.data_type = "s"  # also where it looks like a formula or an error
    cell.number_format = TEXT_FORMAT
    return cell
