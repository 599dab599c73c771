"""Cells as users type them: numbers used as codes, and whitespace around strings."""

import json
from typing import Any

import pytest
from openpyxl import Workbook
from support import factories
from support.factories import Body
from support.packages import list_entities
from support.tables import METADATA, read_items, save_workbook, write_package

from case_server.case.package import parse_package
from case_server.formats.file_format import FileFormat
from case_server.formats.reader import read_framework
from case_server.formats.tabular.cells import get_column_letters, get_column_number
from case_server.formats.tabular.number_format import parse_number_format
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.repair_log import RepairSummary


def read(rows: list[list[Any]], formats: dict[str, str]) -> tuple[list[Body], list[RepairSummary]]:
    """Read a workbook with one sheet, whose cells have the given number formats."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for cell, code in formats.items():
        sheet[cell].number_format = code
    return read_items(save_workbook(book), "xlsx")


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        *(("0.00", 1.1, "1.10"), ("0.00", 1, "1.00"), ("000", 7, "007"), ("00.0", 3.5, "03.5")),
        *(("#,##0.00", 1234.5, "1234.50"), ('"M-"0.00', 3.1, "M-3.10"), ("0.0", -2, "-2.0")),
        *((r"0\.00_)", 1, None), ("General", 1.1, None), ("0%", 0.5, None), ("0.00E+00", 5, None)),
        *(("0", 1.5, None), ("0.0", 1.25, None), ("@", 1.1, None), ("0.00", 0.1 + 0.2, "0.30")),
        ("0.00;[Red]-0.00", 1.1, "1.10"),
    ],
)
def test_number_format_fixes_the_digits(code: str, value: float, text: str | None) -> None:
    parsed = parse_number_format(code)
    assert (parsed.format(value) if parsed else None) == text


def test_code_with_a_number_format_keeps_its_zeros() -> None:
    rows: list[list[Any]] = [["code", "statement", "sequence"], [1.1, "one", 1], [1.1, "ten", 2]]
    items, repairs = read(rows, {"A3": "0.00", "C3": "0.00"})
    assert [item["humanCodingScheme"] for item in items] == ["1.1", "1.10"]
    assert [(repair.kind, repair.count) for repair in repairs] == [("code-from-number", 1)]
    assert "sheet Sheet, row 2, column A (humanCodingScheme): 1.1 → " in str(repairs[0])


def test_equal_codes_that_were_numbers_are_named() -> None:
    rows: list[list[Any]] = [
        ["code", "statement"],
        [1.1, "one"],
        ["1.1", "text"],
        [2, "two"],
        [1.1, "ten"],
    ]
    _, repairs = read(rows, {})
    equal, numeric = repairs
    assert (equal.kind, equal.path) == (
        "equal-codes",
        "sheet Sheet, row 3, column A (humanCodingScheme)",
    )
    assert "1.1 (row 2, row 3, row 5)" in str(equal)
    assert (numeric.kind, numeric.count) == ("code-from-number", 3)


def test_result_of_a_sum_is_read_as_it_is_shown() -> None:
    items, _ = read([["code", "statement"], [1.1 + 0.1, "sum"]], {})
    assert items[0]["humanCodingScheme"] == "1.2"


def test_surrounding_whitespace_is_removed_and_reported() -> None:
    rows: list[list[Any]] = [
        ["code ", "parent", "statement", "own"],
        ["A", None, "\u00a0Algebra \n", " x"],
        [" A.1\u200b", "A ", "So\u00a0lve", "  "],
    ]
    items, repairs = read(rows, {})
    assert [(item["humanCodingScheme"], item["fullStatement"]) for item in items] == [
        ("A", "Algebra"),
        ("A.1", "So\u00a0lve"),
    ]
    assert items[0]["extensions"] == {"own": "x"}
    (space,) = [repair for repair in repairs if repair.kind == "surrounding-space"]
    assert (space.count, space.before, space.after) == (4, "\u00a0Algebra \n", "Algebra")
    assert space.path == "sheet Sheet, row 2, column C (fullStatement)"


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_whitespace_in_an_export_is_not_repaired(form: FileFormat) -> None:
    body = factories.package()
    body["CFDocument"]["title"] = " A title\u00a0"
    body["CFItems"][0]["fullStatement"] = " Algebra "
    package, repairs = read_framework(write_package(body, form), form, MetadataOptions())
    assert repairs == []
    assert package == parse_package(json.dumps(body).encode())


@pytest.mark.parametrize("heading", ["subjectURI", "language", "Code", "statusStartDate", "notes"])
def test_cell_of_invisible_characters_is_empty(heading: str) -> None:
    table = f"Statement,{heading}\nFold,\u200b\ufeff\n"
    (item,), repairs = read_items(table.encode(), "csv")
    (other,), _ = read_items("Statement\nFold\n")
    assert item.keys() == other.keys()
    assert [repair.kind for repair in repairs] == ["surrounding-space"]


def test_strict_reading_keeps_whitespace() -> None:
    package, repairs = read_framework(b"code,statement\nA, x \n", "csv", METADATA, strict=True)
    assert list_entities(package, "CFItem")[0]["fullStatement"] == " x "
    assert repairs == []


@pytest.mark.parametrize(("letters", "number"), [("A", 1), ("Z", 26), ("AA", 27), ("IV", 256)])
def test_column_letters_and_numbers_agree(letters: str, number: int) -> None:
    assert get_column_number(letters) == number
    assert get_column_letters(number - 1) == letters
