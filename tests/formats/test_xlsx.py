"""Limits on the cells, tags and size of workbooks, and the messages about them."""

import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pytest
from openpyxl import Workbook
from support.tables import save_workbook

from case_server.exceptions import BadRequest
from case_server.formats import xlsx
from case_server.formats.reader import read_framework
from case_server.formats.xlsx import read_workbook
from case_server.repair.metadata_options import MetadataOptions

LAST_ROW, LAST_COLUMN = 1_048_576, 16_384


def written(cells: dict[tuple[int, int], Any], sheets: int = 1) -> bytes:
    book = Workbook()
    for number in range(sheets):
        sheet = book.worksheets[0] if number == 0 else book.create_sheet()
        for (row, column), value in cells.items():
            sheet.cell(row, column, value)
    return save_workbook(book)


def rows(raw: bytes) -> list[tuple[int, list[Any]]]:
    return [(number, list(cells)) for grid in read_workbook(raw) for number, cells in grid.rows]


def refusal(raw: bytes) -> str:
    with pytest.raises(BadRequest) as exc_info:
        rows(raw)
    return exc_info.value.description


def test_rows_without_cells_are_skipped() -> None:
    raw = written({(1, 1): "a", (1, 3): "c", (7, 2): "b", (LAST_ROW, 1): "z"})
    assert rows(raw) == [(1, ["a", None, "c"]), (7, [None, "b"]), (LAST_ROW, ["z"])]


def test_empty_cell_in_the_last_column_costs_nothing() -> None:
    book = Workbook()
    book.worksheets[0].cell(1, 1, "a")
    book.worksheets[0].cell(2, LAST_COLUMN).number_format = "@"
    assert rows(save_workbook(book)) == [(1, ["a"]), (2, [])]


def test_value_beyond_the_columns_that_are_read_is_reported() -> None:
    raw = written(
        {(1, 1): "code", (1, 2): "statement", (2, 1): "A", (2, 2): "B", (2, LAST_COLUMN): "x"}
    )
    metadata = MetadataOptions(title="a title", creator="a creator", changed=datetime.now(UTC))
    package, repairs = read_framework(raw, "xlsx", metadata)
    assert package.count_entities("CFItem") == 1
    (repair,) = [repair for repair in repairs if repair.kind == "cell-beyond-columns"]
    assert (repair.count, repair.path) == (1, "sheet Sheet, cell XFD2")


def test_cells_of_all_sheets_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {(row, column): 1 for row in range(1, 6) for column in range(1, 5)}
    monkeypatch.setattr(xlsx, "MAX_CELLS", 40)
    assert len(rows(written(cells, sheets=2))) == 10
    message = refusal(written(cells, sheets=3))
    assert "more than 40 cells" in message
    assert "save each sheet as CSV" in message


def test_tags_are_counted_before_any_part_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = written({(1, 1): "a"})
    monkeypatch.setattr(xlsx, "MAX_TAGS", 500)
    monkeypatch.setattr(xlsx, "load_workbook", pytest.fail)
    # One row whose cells would all be in memory before it is read.
    many = b"<row>" + b"<c/>" * 1_000 + b"</row>"
    assert "cells" in refusal(with_part(raw, "xl/worksheets/sheet1.xml", many))
    assert "shared strings" in refusal(with_part(raw, "xl/sharedStrings.xml", b"<si/>" * 1_000))


def test_unpacked_size_is_checked_before_unpacking(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = with_part(written({(1, 1): "a"}), "xl/media/image1.png", bytes(10_000_000))
    assert len(raw) < 100_000
    assert rows(raw)
    monkeypatch.setattr(xlsx, "MAX_UNPACKED_BYTES", 10_000_000)
    message = refusal(raw)
    assert "unpacks to 10,0" in message
    assert "remove pictures" in message


def with_part(raw: bytes, name: str, content: bytes) -> bytes:
    """A workbook with another part, or another content of one."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(raw)) as source,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for part in source.infolist():
            if part.filename != name:
                target.writestr(part, source.read(part))
        target.writestr(name, content)
    return file.getvalue()


def with_header_field(raw: bytes, name: str, offset: int, value: int) -> bytes:
    """Return a ZIP file with a byte of the central directory's entry of a part changed."""
    entry = raw.rindex(name.encode()) - 46
    return raw[: entry + offset] + bytes([value]) + raw[entry + offset + 1 :]


def with_invalid_stream(raw: bytes, name: str) -> bytes:
    """Return a ZIP file in which the compressed data of a part begin with an invalid block."""
    start = raw.index(name.encode()) + len(name)
    return raw[:start] + b"\xff" + raw[start + 1 :]


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (with_invalid_stream, "while decompressing"),
        (partial(with_header_field, offset=10, value=99), "compression method"),
        (partial(with_header_field, offset=8, value=1), "encrypted"),
    ],
)
def test_damaged_part_is_refused(
    part: str, damage: Callable[[bytes, str], bytes], reason: str
) -> None:
    assert reason in refusal(damage(written({(1, 1): "code"}), part))


def test_number_beyond_the_range_of_styles_is_refused() -> None:
    raw = written({(1, 1): date(2026, 1, 1)})
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        styles = archive.read("xl/styles.xml")
    content = re.sub(rb'numFmtId="[1-9]\d*"', b'numFmtId="99999999999"', styles)
    assert "the workbook cannot be read" in refusal(with_part(raw, "xl/styles.xml", content))
