"""Read and write CSV as spreadsheet programs do, with any usual delimiter and encoding.

A string that a spreadsheet could read as a formula is written with an apostrophe before it, which
reading removes.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from ..exceptions import BadRequest
from .tabular.cells import Cell, format_cell, get_column_letters
from .tabular.rows import Sheet

DELIMITERS = ",;\t"
FORMULA_GUARD = "'"
# East Asian spreadsheets also read full-width signs as the start of a formula, and others ignore
# spaces, line feeds, no-break spaces, byte order marks and zero-width spaces before one.
FORMULA = re.compile("'|[ \n'\u00a0\ufeff\u200b]*[=+@＝＋－＠\t\r-]")  # noqa: RUF001
"""Beginnings of cells that are written with a guard."""


END_LINE = "\udcff"
"""A line that no file has, because decoding yields no lone surrogates."""

NOT_ASCII = re.compile(r"[^\0-\x7f]")
REPLACEMENT_CHARACTER = "\ufffd"
"""What decoding puts in place of bytes that are not UTF-8."""


def read_csv(raw: bytes) -> Sheet:
    """Return the rows of a CSV file as a ``Sheet`` without a name.

    Detects the encoding and the delimiter. The rows are parsed as the sheet is iterated. Raises
    ``BadRequest`` if the file is not text.
    """
    text, delimiter = _decode_and_detect_delimiter(raw)
    return Sheet(None, enumerate(_iter_rows(text, delimiter), 1))


def find_row_line_numbers(raw: bytes) -> list[int]:
    """Return the 1-based line number at which each row of a valid CSV file begins.

    A row has more than one line if a cell contains a line break.
    """
    text, delimiter = _decode_and_detect_delimiter(raw)
    offset = 1 + _decode(raw).count("\n") - text.count("\n")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [offset, *(offset + reader.line_num for _ in reader)]


def _decode_and_detect_delimiter(raw: bytes) -> tuple[str, str]:
    """Decode a CSV file, drop a first line such as ``sep=;``, and return (text, delimiter)."""
    text = _decode(raw)
    first_line, _, rest = text.partition("\n")
    if first_line.strip().lower().startswith("sep=") and len(first_line.strip()) == len("sep=;"):
        return rest, first_line.strip()[-1]
    # Rows above the headings may be sentences with other delimiters.
    headings = next((line for line in io.StringIO(text) if not line.startswith("#")), first_line)
    unquoted = "".join(headings.split('"')[::2])  # only delimiters between cells count
    return text, max(DELIMITERS, key=unquoted.count)


def _iter_rows(text: str, delimiter: str) -> Iterator[list[Cell]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    # A line after the last one, because a quotation mark that is not closed would take it as well.
    lines = itertools.chain(io.StringIO(text, newline=""), [END_LINE])
    try:
        for number, row in enumerate(csv.reader(lines, delimiter=delimiter), 1):
            if row and row[-1].endswith(END_LINE):
                if row != [END_LINE]:
                    raise BadRequest(
                        f"row {number}, column {get_column_letters(len(row) - 1)}: the quotation "
                        "mark at the start of the cell is not closed, so all that follows would be "
                        "its text; close or remove it"
                    )
                return
            yield [_remove_formula_guard(cell) for cell in row]
    except csv.Error as error:
        raise BadRequest(f"the CSV cannot be read: {error}") from None


def _decode(raw: bytes) -> str:
    """Decode a file in UTF-8, UTF-16 with a byte order mark, or Windows-1252 (older Excel).

    Raises ``BadRequest`` for bytes in none of these encodings, and for damaged UTF-8.
    """
    try:
        if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            return raw.decode("utf-16")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            _reject_damaged_utf8(raw, error.start)
            return raw.decode("cp1252")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"the CSV is neither UTF-8 nor Windows-1252: {error.reason} at byte {error.start:,}; "
            "save it as CSV UTF-8"
        ) from None


def _reject_damaged_utf8(raw: bytes, offset: int) -> None:
    """Raise ``BadRequest`` if a file seems to be damaged UTF-8 instead of Windows-1252.

    It is UTF-8 if most of its non-ASCII characters are valid, and decoding it as Windows-1252 would
    change these to two or three wrong characters each. ``offset`` is the position of the first
    invalid byte.
    """
    characters = NOT_ASCII.findall(raw.decode(errors="replace"))
    if 2 * characters.count(REPLACEMENT_CHARACTER) < len(characters):
        line = raw.count(b"\n", 0, offset) + 1
        raise BadRequest(
            f"the CSV is UTF-8, except for byte 0x{raw[offset]:02x} in line {line}: correct that "
            "line, or save the file as CSV UTF-8"
        )


def _remove_formula_guard(cell: str) -> str:
    return cell[1:] if cell.startswith(FORMULA_GUARD) and FORMULA.match(cell[1:]) else cell


def _escape_formula(cell: Cell) -> str:
    """Return a cell as text, with an apostrophe before a string that looks like a formula."""
    text = format_cell(cell) if not isinstance(cell, float) else repr(cell)
    return f"{FORMULA_GUARD}{text}" if isinstance(cell, str) and FORMULA.match(text) else text


def write_csv(file: BinaryIO, rows: Iterable[Sequence[Cell]]) -> None:
    """Write rows as CSV that Excel reads: UTF-8 with a byte order mark, commas and CRLF."""
    file.write(BOM_UTF8)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        writer = csv.writer(text)
        for row in rows:
            writer.writerow([_escape_formula(cell) for cell in row])
    finally:
        text.flush()
        text.detach()
