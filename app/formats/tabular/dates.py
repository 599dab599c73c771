"""Dates as people write them, converted to ISO 8601 if they have only one reading."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta

MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
MIN_MONTH_CHARS = 3
FEBRUARY = 2

YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
DAY_AND_MONTH_NAME = re.compile(
    r"(\d{1,2})(?:st|nd|rd|th)?\.?[\s-]+(?:of\s+)?([a-z]+)\.?,?[\s-]+(\d{4})", re.IGNORECASE
)
MONTH_NAME_AND_DAY = re.compile(
    r"([a-z]+)\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})", re.IGNORECASE
)
SHORT_YEAR = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{2}")
ISO_START = re.compile(r"\d{4}-\d\d-\d\d")
EXCEL_NUMBER = re.compile(r"([1-9]\d{4})(?:\.\d*)?")
"""What a cell with a date contains if its format is that of a number: days since 1899-12-30."""

EXCEL_EPOCH = date(1899, 12, 30)


def normalize_date(text: str) -> str | None:
    """Convert a date such as "August 1, 2026" to ISO 8601.

    In a date with dots, the day comes before the month. Returns None for text that starts with an
    ISO date, such as a date-time, and for an empty string. Raises ``ValueError`` for other text,
    for a two-digit year, and for an ambiguous date such as 3/4/2026.
    """
    if SHORT_YEAR.fullmatch(text):
        raise ValueError(f"{text!r} has a year of two digits: write it as 2026-08-01")
    readings = sorted(set(_iter_possible_dates(text)))
    if len(readings) > 1:
        first_reading, second_reading = (
            f"{reading} ({reading:%B} {reading.day}, {reading.year})" for reading in readings
        )
        raise ValueError(f"{text!r} has two readings: write {first_reading} or {second_reading}")
    if readings:
        return readings[0].isoformat()
    if text and (not ISO_START.match(text) or YEAR_FIRST.fullmatch(text)):
        raise ValueError(_explain_invalid_date(text))
    return None


def _explain_invalid_date(text: str) -> str:
    """Return the error message for text that is not a valid date.

    The message explains Excel serial numbers (46235 is 2026-08-01) and days beyond the end of a
    month.
    """
    if match := EXCEL_NUMBER.fullmatch(text):
        day = EXCEL_EPOCH + timedelta(int(match[1]))
        return f"{text!r} looks like Excel's number for {day}: format the cell as a date"
    for year, month, day_of_month in _iter_year_month_day(text):
        if 1 <= month <= len(MONTHS) and day_of_month > (days := monthrange(year, month)[1]):
            name = MONTHS[month - 1].capitalize() + (f" {year}" if month == FEBRUARY else "")
            return f"{text!r} is no date: {name} has {days} days"
    return f"{text!r} is no date: write it as 2026-08-13"


def _iter_possible_dates(text: str) -> Iterator[date]:
    """Yield each valid date that a string can mean; for example, 3/4/2026 yields two."""
    for year, month, day in _iter_year_month_day(text):
        try:
            yield date(year, month, day)
        except ValueError:
            continue


def _iter_year_month_day(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield each (year, month, day) that a string can mean, whether or not that date exists."""
    if match := YEAR_FIRST.fullmatch(text):
        yield int(match[1]), int(match[3]), int(match[4])
    elif match := YEAR_LAST.fullmatch(text):
        first_number, second_number, year = int(match[1]), int(match[3]), int(match[4])
        yield year, second_number, first_number
        if match[2] != ".":
            yield year, first_number, second_number
    elif match := DAY_AND_MONTH_NAME.fullmatch(text):
        yield int(match[3]), _parse_month(match[2]), int(match[1])
    elif match := MONTH_NAME_AND_DAY.fullmatch(text):
        yield int(match[3]), _parse_month(match[1]), int(match[2])


def _parse_month(name: str) -> int:
    """Return the number of a month from its English name, or 0 if the name is unknown.

    Abbreviations of at least three letters are accepted.
    """
    folded_name = name.casefold()
    if len(folded_name) >= MIN_MONTH_CHARS:
        for number, month in enumerate(MONTHS, 1):
            if month.startswith(folded_name):
                return number
    return 0
