"""Rows of the results table: a measurement, its limit and whether it meets its target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class ResultRow:
    """A row of the results table: what was measured, its limit, and whether it meets its target.

    The limit is the result of the fastest possible way on the same machine. ``meets_target`` is
    None if there is no target.
    """

    case: str
    limit: str
    measured: str
    ratio: str = ""
    target: str = "reported"
    meets_target: bool | None = None
    note: str = ""


def compare_rates(
    case: str, limit: Sequence[float], measured: Sequence[float], minimum: float
) -> ResultRow:
    """Create a table row that compares the server's requests per second with a limit.

    The target is that the median of ``measured`` is at least ``minimum`` times that of ``limit``.
    """
    limit_rate, rate = median(limit), median(measured)
    ratio = rate / limit_rate if limit_rate else 0.0
    target, meets_target = f">= {minimum:g}", ratio >= minimum
    return ResultRow(
        case, format_rate(limit_rate), format_rate(rate), f"{ratio:.2f}", target, meets_target
    )


def compare_durations(
    case: str, limit: Sequence[float], measured: Sequence[float], maximum: float | None
) -> ResultRow:
    """Create a table row that compares the server's durations in seconds with a limit.

    The target is that the median of ``measured`` is at most ``maximum`` times that of ``limit``;
    None means no target.
    """
    limit_time, time = median(limit), median(measured)
    ratio = time / limit_time if limit_time else float("inf")
    target = "reported" if maximum is None else f"<= {maximum:g}x"
    meets_target = None if maximum is None else ratio <= maximum
    return ResultRow(
        case,
        format_duration(limit_time),
        format_duration(time),
        f"{ratio:.2f}x",
        target,
        meets_target,
    )


def compare_with_maximum(
    case: str, measured: float, maximum: float, format_value: Callable[[float], str]
) -> ResultRow:
    """Create a table row whose target is that ``measured`` is less than ``maximum``.

    ``format_value`` formats both numbers with their unit.
    """
    target = f"< {format_value(maximum)}"
    return ResultRow(case, "", format_value(measured), "", target, measured < maximum)


def create_failed_row(case: str, target: str, reason: str) -> ResultRow:
    """Create a table row for a case that missed its target, with the reason."""
    return ResultRow(case, "", "", "", target, meets_target=False, note=reason)


def create_unmeasured_row(case: str, reason: str) -> ResultRow:
    """Create a table row for a case that could not be measured here, with the reason."""
    return ResultRow(case, "", "not measured", note=reason)


def format_rate(rate: float) -> str:
    """Format a number of requests per second, for example "1,234/s"."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s"


def format_duration(seconds: float) -> str:
    """Format a duration given in seconds with a suitable unit, for example "12.3 ms"."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def format_megabytes(size: float) -> str:
    """Format a number of bytes as megabytes."""
    return f"{size / 1e6:.1f} MB"
