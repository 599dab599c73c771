"""Random sheets: what goes in comes out in the framework, or is named in the report."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from support.packages import list_entities
from support.selection import scale_examples
from support.tables import METADATA, build_workbook, read_items, save_workbook

from case_server.exceptions import BadRequest, UnprocessableContent
from case_server.formats.reader import read_framework
from case_server.formats.tabular.cells import get_column_letters, strip_invisible

Value: TypeAlias = str | int | float | bool | date | None

KNOWN = {
    "Code": "humanCodingScheme",
    "Abbreviated Statement": "abbreviatedStatement",
    "CF Item Type": "CFItemType",
    "Notes": "notes",
    "Language": "language",
    "Alternative Label": "alternativeLabel",
    "List Enumeration": "listEnumeration",
    "Education Level": "educationLevel",
    "Concept Keywords": "conceptKeywords",
}
STATEMENT = "fullStatement"
FALLBACKS = {"abbreviatedStatement", "alternativeLabel"}
"""Fields that become the statement of an item without one."""

UNKNOWN = ("Owner", "Bloom's level", "2nd code")
FORMATS = ("General", "0.00", "000", "#,##0", "0%", "@", "0.0E+00")

words = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="|,'#"),
    min_size=1,
    max_size=12,
)
padding = st.sampled_from(["", "", "", " ", "\u00a0"])
texts = st.builds("{}{}{}".format, padding, words, padding)
typed = st.one_of(
    texts,
    st.integers(-(10**9), 10**9),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 6)),
    st.booleans(),
    st.dates(date(1990, 1, 1), date(2050, 1, 1)),
)


def pad(text: str) -> str:
    return f"  {text} "


@dataclass
class Table:
    """A sheet as it is written."""

    headings: list[str]
    rows: list[list[Value]]
    formats: list[list[str]]
    merged: list[tuple[int, int]]
    """(index of the column, index of the row) of cells that are merged with the cell below."""


@st.composite
def tables(draw: st.DrawFn, values: st.SearchStrategy[Any], *, has_gaps: bool = False) -> Table:
    names = draw(st.lists(st.sampled_from([*KNOWN, *UNKNOWN]), unique=True, min_size=3))
    names.insert(draw(st.integers(0, len(names))), "Full Statement")
    respellings: list[Callable[[str], str]] = [str, str.upper, str.lower, str.swapcase, pad]
    respell = st.sampled_from(respellings)
    headings = [name if name in UNKNOWN else draw(respell)(name) for name in names]
    if has_gaps:
        gaps = st.lists(st.sampled_from(["", " "]), max_size=2)
        names += draw(gaps)
        headings += names[len(headings) :]
    count = draw(st.integers(1, 6))
    blank = st.one_of(st.none(), st.just("  "))
    statements = st.one_of(blank, texts) if has_gaps else texts
    rows = [
        [
            draw(statements if name == "Full Statement" else st.one_of(blank, values))
            for name in names
        ]
        for _ in range(count)
    ]
    formats = [[draw(st.sampled_from(FORMATS)) for _ in names] for _ in rows]
    places = st.tuples(st.integers(0, len(names) - 1), st.integers(0, max(0, count - 2)))
    merged = [draw(places)] if count > 1 and draw(st.booleans()) else []
    merged = [position for position in merged if names[position[0]] != "Full Statement"]
    return Table(headings, rows, formats, merged)


def to_csv(table: Table) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(table.headings)
    writer.writerows(table.rows)
    return file.getvalue().encode()


def to_workbook(table: Table) -> bytes:
    """Return a workbook, and blank the cells that its merged cells hide."""
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(table.headings)
    for number, (row, formats) in enumerate(zip(table.rows, table.formats, strict=True), 2):
        for column, (value, code) in enumerate(zip(row, formats, strict=True), 1):
            cell = sheet.cell(number, column, value)
            if isinstance(value, str):
                cell.data_type = "s"  # a text, even if it looks like a formula
            if isinstance(value, int | float) and not isinstance(value, bool):
                cell.number_format = code
    for column, index in table.merged:
        table.rows[index + 1][column] = None
        letter = get_column_letters(column)
        sheet.merge_cells(f"{letter}{index + 2}:{letter}{index + 3}")
    return save_workbook(book)


def is_blank(value: Value) -> bool:
    return value is None or (isinstance(value, str) and not strip_invisible(value))


def shows(value: Value, stored: str) -> bool:
    """Return whether a stored string is the value of a cell."""
    match value:
        case bool():
            return stored == str(value).lower()
        case date():
            return stored == str(value)
        case int() | float():
            return float(stored) == pytest.approx(value, rel=1e-14)
        case _:
            return stored == strip_invisible(str(value))


def check_report(table: Table, raw: bytes, form: Any) -> None:
    """Assert that each cell of a table is in its item, or named in the report."""
    try:
        package, repairs = read_framework(raw, form, METADATA)
    except UnprocessableContent as refused:
        pytest.fail(f"refused: {refused.problems}")
    items = list_entities(package, "CFItem")
    assert len(items) == len(table.rows)
    expected: Counter[str] = Counter()
    for row, item in zip(table.rows, items, strict=True):
        for heading, value in zip(table.headings, row, strict=True):
            name = fields(heading)
            holder = item if name else item.get("extensions", {})
            stored = holder.get(name or heading)
            if is_blank(value):
                assert stored is None
                continue
            expected[heading] += not name
            texts = stored if isinstance(stored, list) else [stored]
            assert any(shows(value, text) for text in texts if text is not None), (heading, value)
    reports = {repair.kind: repair for repair in repairs}
    unknown_field = reports.get("unknown-field")
    assert (unknown_field.fields if unknown_field else {}) == dict(+expected)
    padded = [
        cell for cell in cells(table) if isinstance(cell, str) and strip_invisible(cell) != cell
    ]
    spaces = reports.get("surrounding-space")
    assert (spaces.count if spaces else 0) == len([cell for cell in padded if not is_blank(cell)])
    merged = reports.get("merged-cells")
    assert (merged.count if merged else 0) == (len(table.merged) if form == "xlsx" else 0)


def fields(heading: str) -> str | None:
    columns = {"Full Statement": STATEMENT, **KNOWN}
    return {name.casefold(): field for name, field in columns.items()}.get(
        heading.strip().casefold()
    )


def cells(table: Table) -> Iterator[Value]:
    for row in table.rows:
        yield from row


def check_refusal(table: Table, raw: bytes, form: Any) -> None:
    """Assert that rows without a statement and values without a heading are named, or kept."""
    texts_of_item = [
        index
        for index, name in enumerate(table.headings)
        if fields(name or "") in {STATEMENT, *FALLBACKS}
    ]
    rows = {
        number
        for number, row in enumerate(table.rows, 2)
        if not all(map(is_blank, row)) and all(is_blank(row[index]) for index in texts_of_item)
    }
    columns = {
        index
        for index, heading in enumerate(table.headings)
        if is_blank(heading) and not all(is_blank(row[index]) for row in table.rows)
    }
    try:
        package, _ = read_framework(raw, form, METADATA)
    except (BadRequest, UnprocessableContent) as refused:
        report = json.dumps(getattr(refused, "problems", [])) or str(refused)
        if "indented list" in report or "no rows" in str(refused):
            return
        assert all(f"row {number}" in report for number in rows)
        assert all(f"column {get_column_letters(index)}" in report for index in columns)
        assert rows or columns
    else:
        assert not rows
        assert not columns
        statements = [row for row in table.rows if not all(map(is_blank, row))]
        assert package.count_entities("CFItem") == len(statements)


bounded = settings(
    max_examples=scale_examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@bounded
@given(table=tables(texts))
def test_every_cell_of_a_table_is_stored_or_reported(table: Table) -> None:
    check_report(table, to_csv(table), "csv")


@bounded
@given(table=tables(typed))
def test_every_cell_of_a_workbook_is_stored_or_reported(table: Table) -> None:
    check_report(table, to_workbook(table), "xlsx")


@bounded
@given(table=tables(texts, has_gaps=True))
def test_every_gap_of_a_table_is_reported(table: Table) -> None:
    check_refusal(table, to_csv(table), "csv")


@bounded
@given(table=tables(typed, has_gaps=True))
def test_every_gap_of_a_workbook_is_reported(table: Table) -> None:
    check_refusal(table, to_workbook(table), "xlsx")


def test_merged_cells_and_formulas_without_result_are_reported() -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    for row in (["Code", "Statement", "Grade"], ["A", "Tie", "6"], ["B", "Untie", "=1+1"]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    _, repairs = read_items(save_workbook(book), "xlsx")
    assert {repair.kind: repair.path for repair in repairs} == {
        "merged-cells": "sheet Sheet, cell A2:A3",
        "formula-without-result": "sheet Sheet, cell C3",
    }
    assert all(" Cells: " in repair.explanation for repair in repairs)


def test_formula_without_result_explains_the_missing_statement() -> None:
    rows: list[list[Any]] = [["Code", "Statement"], ["A", "Tie"], ["B", "=1+1"]]
    with pytest.raises(UnprocessableContent) as refusal:
        read_items(build_workbook(Sheet=rows), "xlsx")
    unread, missing = refusal.value.problems
    assert unread["path"] == "sheet Sheet, cell B3"
    assert unread["message"].startswith("A formula has no stored result")
    assert missing["path"] == "sheet Sheet, row 3, column B (fullStatement)"


def test_code_that_became_a_date_is_reported() -> None:
    rows: list[list[Any]] = [["Code", "Statement"], [date(2026, 1, 2), "Tie"]]
    _, (repair,) = read_items(build_workbook(Sheet=rows), "xlsx")
    assert (repair.kind, repair.after) == ("code-from-date", "2026-01-02")
