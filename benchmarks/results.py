"""Rows of the results table: a measurement, its limit and whether it meets its target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """A row of the table. ``meets_target`` is None if there is no target."""

    case: str
    limit: str
    measured: str
    ratio: str = ""
    target: str = "reported"
    meets_target: bool | None = None
    note: str = ""


def rates(case: str, limit: Sequence[float], measured: Sequence[float], minimum: float) -> Row:
    """Return a row of requests per second, with a minimum ratio of the medians."""
    limit_rate, rate = median(limit), median(measured)
    ratio = rate / limit_rate if limit_rate else 0.0
    target, meets_target = f">= {minimum:g}", ratio >= minimum
    return Row(case, per_second(limit_rate), per_second(rate), f"{ratio:.2f}", target, meets_target)


def times(
    case: str, limit: Sequence[float], measured: Sequence[float], maximum: float | None
) -> Row:
    """Return a row of durations in seconds, with a maximum ratio of the medians, if any."""
    limit_time, time = median(limit), median(measured)
    ratio = time / limit_time if limit_time else float("inf")
    target = "reported" if maximum is None else f"<= {maximum:g}x"
    meets_target = None if maximum is None else ratio <= maximum
    return Row(case, duration(limit_time), duration(time), f"{ratio:.2f}x", target, meets_target)


def below(case: str, measured: float, maximum: float, format_value: Callable[[float], str]) -> Row:
    """Return a row of a value that must be below a maximum."""
    target = f"< {format_value(maximum)}"
    return Row(case, "", format_value(measured), "", target, measured < maximum)


def failed(case: str, target: str, reason: str) -> Row:
    """Return a row for a case that the server fails."""
    return Row(case, "", "", "", target, meets_target=False, note=reason)


def unmeasured(case: str, reason: str) -> Row:
    """Return a row for a case that could not be measured, with the reason."""
    return Row(case, "", "not measured", note=reason)


def per_second(rate: float) -> str:
    """Format a rate."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s"


def duration(seconds: float) -> str:
    """Format a duration given in seconds."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def megabytes(size: float) -> str:
    """Format a number of bytes in megabytes."""
    return f"{size / 1e6:.1f} MB"
