"""Dates as people write them, converted to ISO 8601 if they have only one reading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
MIN_MONTH_CHARS = 3

YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
DAY_AND_MONTH_NAME = re.compile(
    r"(\d{1,2})(?:st|nd|rd|th)?\.?[\s-]+(?:of\s+)?([a-z]+)\.?,?[\s-]+(\d{4})", re.IGNORECASE
)
MONTH_NAME_AND_DAY = re.compile(
    r"([a-z]+)\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})", re.IGNORECASE
)
SHORT_YEAR = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{2}")


def normalize_date(text: str) -> str | None:
    """Return a date as ISO 8601, or None if the text is no date in one of the usual forms.

    Years have four digits. With dots, the day comes before the month. Raises ``ValueError`` naming
    both dates if a date has two readings, as 3/4/2026 does, and for a year of two digits.
    """
    if SHORT_YEAR.fullmatch(text):
        raise ValueError(f"{text!r} has a year of two digits: write it as 2026-08-01")
    readings = sorted(set(_iter_readings(text)))
    if len(readings) > 1:
        first, second = (f"{one} ({one:%B} {one.day}, {one.year})" for one in readings)
        raise ValueError(f"{text!r} has two readings: write {first} or {second}")
    return readings[0].isoformat() if readings else None


def _iter_readings(text: str) -> Iterator[date]:
    """Yield each date that a text can mean."""
    for year, month, day in _iter_triples(text):
        try:
            yield date(year, month, day)
        except ValueError:
            continue


def _iter_triples(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield each (year, month, day) that a text can mean, whether or not it exists."""
    if match := YEAR_FIRST.fullmatch(text):
        yield int(match[1]), int(match[3]), int(match[4])
    elif match := YEAR_LAST.fullmatch(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        yield year, second, first
        if match[2] != ".":
            yield year, first, second
    elif match := DAY_AND_MONTH_NAME.fullmatch(text):
        yield int(match[3]), _month(match[2]), int(match[1])
    elif match := MONTH_NAME_AND_DAY.fullmatch(text):
        yield int(match[3]), _month(match[1]), int(match[2])


def _month(name: str) -> int:
    """Return the number of a month by its English name or the start of it; 0 if unknown."""
    folded = name.casefold()
    if len(folded) >= MIN_MONTH_CHARS:
        for number, month in enumerate(MONTHS, 1):
            if month.startswith(folded):
                return number
    return 0
