"""Dates of spreadsheets: usual forms are read, and a date with two readings is refused."""

import pytest
from support.tables import build_workbook, find_problems, read_items

from case_server.formats.tabular.dates import normalize_date


@pytest.mark.parametrize(
    "text",
    [
        *("2026-08-13", "2026/8/13", "2026.8.13", "8/13/2026", "13/8/2026", "13-08-2026"),
        *("13.8.2026", "13.08.2026", "August 13, 2026", "Aug. 13 2026", "13 August 2026"),
        *("13-Aug-2026", "13th of August 2026", "13. August 2026"),
    ],
)
def test_date_in_a_usual_notation_becomes_iso_8601(text: str) -> None:
    assert normalize_date(text) == "2026-08-13"


@pytest.mark.parametrize(
    ("text", "date"),
    [("4/4/2026", "2026-04-04"), ("3.4.2026", "2026-04-03"), ("Sept 1 2026", "2026-09-01")],
)
def test_date_with_one_reading_is_read(text: str, date: str) -> None:
    assert normalize_date(text) == date


@pytest.mark.parametrize("text", ["", "2026-08-01T09:30:00Z", "2026-08-01 09:30"])
def test_date_time_and_empty_text_are_left_to_the_model(text: str) -> None:
    assert normalize_date(text) is None


WRITE_ISO = "is no date: write it as 2026-08-13"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("30.2.2026", "is no date: February 2026 has 28 days"),
        ("2/30/2028", "is no date: February 2028 has 29 days"),
        ("31/11/2026", "is no date: November has 30 days"),
        ("September 31, 2026", "is no date: September has 30 days"),
        ("2026-08-32", "is no date: August has 31 days"),
        ("46235", "looks like Excel's number for 2026-08-01: format the cell as a date"),
        ("46235.5", "looks like Excel's number for 2026-08-01: format the cell as a date"),
        *((text, WRITE_ISO) for text in ("2026", "spring 2026", "Mayor 1 2026", "next year")),
        *((text, WRITE_ISO) for text in ("2026-13-01", "13/13/2026", "0.5.2026", "31.1.0000")),
    ],
)
def test_text_that_is_no_date_is_refused_with_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="date") as exc_info:
        normalize_date(text)
    assert str(exc_info.value) == f"{text!r} {reason}"


@pytest.mark.parametrize("text", ["3/4/2026", "03-04-2026"])
def test_date_with_two_readings_is_refused_naming_both(text: str) -> None:
    with pytest.raises(ValueError, match="has two readings") as exc_info:
        normalize_date(text)
    assert str(exc_info.value).endswith(
        "write 2026-03-04 (March 4, 2026) or 2026-04-03 (April 3, 2026)"
    )


def test_year_of_two_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="year of two digits"):
        normalize_date("13/8/26")


def test_dates_of_a_sheet_are_read_and_reported() -> None:
    text = "code,statement,statusStartDate,statusEndDate\nA,Algebra,8/13/2026,1 Sep 2027\n"
    (item,), (repair,) = read_items(text)
    assert (item["statusStartDate"], item["statusEndDate"]) == ("2026-08-13", "2027-09-01")
    assert (repair.kind, repair.count, repair.before) == ("date-form", 2, "8/13/2026")
    assert repair.path == "row 2, column C (statusStartDate)"


def test_ambiguous_date_of_a_sheet_is_refused_with_its_cell() -> None:
    (problem,) = find_problems("code,statement,statusStartDate\nA,Algebra,3/4/2026\n")
    assert problem["path"] == "row 2, column C (statusStartDate)"
    assert "2026-03-04 (March 4, 2026) or 2026-04-03" in problem["message"]


def test_number_in_a_date_column_of_a_workbook_is_refused_as_excel_number() -> None:
    headings = ["code", "statement", "statusStartDate"]
    book = build_workbook(CFItems=[headings, ["A", "Algebra", 46235]])
    (problem,) = find_problems(book, "xlsx")
    assert problem["path"] == "sheet CFItems, row 2, column C (statusStartDate)"
    assert problem["message"].startswith("'46235' looks like Excel's number for 2026-08-01")
