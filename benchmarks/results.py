"""Rows of the results table: a measurement, its baseline and whether it meets its target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median


@dataclass(frozen=True)
class ResultRow:
    """A row of the results table: a measurement, its baseline, and whether it meets its target.

    The baseline is the best achievable result on the same machine, such as that of a plain SQL
    query. ``meets_target`` is None if there is no target.
    """

    case: str
    baseline: str
    measured: str
    ratio: str = ""
    target: str = "reported"
    meets_target: bool | None = None
    note: str = ""


def compare_rates(
    case: str, baseline: Sequence[float], measured: Sequence[float], min_ratio: float | None
) -> ResultRow:
    """Create a table row that compares the server's requests per second with a baseline.

    Both are lists of rates, of which the medians are compared. The target is that the server
    reaches at least ``min_ratio`` times the baseline; None means no target. ``case`` is the row's
    title.
    """
    baseline_rate, rate = median(baseline), median(measured)
    ratio = rate / baseline_rate if baseline_rate else 0.0
    target = "reported" if min_ratio is None else f">= {min_ratio:g}"
    meets_target = None if min_ratio is None else ratio >= min_ratio
    return ResultRow(
        case, format_rate(baseline_rate), format_rate(rate), f"{ratio:.2f}", target, meets_target
    )


def compare_equal_rates(
    case: str, baseline: Sequence[float], measured: Sequence[float], max_difference: float
) -> ResultRow:
    """Create a table row whose target is that two rates in requests per second are nearly equal.

    Both are lists of rates, of which the medians are compared. They may differ by the fraction
    ``max_difference`` of the baseline. ``case`` is the row's title.
    """
    row = compare_rates(case, baseline, measured, None)
    is_near = abs(median(measured) / median(baseline) - 1) <= max_difference
    target = f"{1 - max_difference:g} to {1 + max_difference:g}"
    return replace(row, target=target, meets_target=is_near)


def compare_durations(
    case: str, baseline: Sequence[float], measured: Sequence[float], max_ratio: float | None
) -> ResultRow:
    """Create a table row that compares the server's durations in seconds with a baseline.

    Both are lists of durations, of which the medians are compared. The target is that the server
    takes at most ``max_ratio`` times the baseline; None means no target. ``case`` is the row's
    title.
    """
    baseline_time, time = median(baseline), median(measured)
    ratio = time / baseline_time if baseline_time else float("inf")
    target = "reported" if max_ratio is None else f"<= {max_ratio:g}x"
    meets_target = None if max_ratio is None else ratio <= max_ratio
    return ResultRow(
        case,
        format_duration(baseline_time),
        format_duration(time),
        f"{ratio:.2f}x",
        target,
        meets_target,
    )


def compare_with_maximum(
    case: str, measured: float, maximum: float, format_value: Callable[[float], str]
) -> ResultRow:
    """Create a table row whose target is that ``measured`` is less than ``maximum``.

    ``case`` is the row's title. ``format_value`` formats both numbers with their unit.
    """
    target = f"< {format_value(maximum)}"
    return ResultRow(case, "", format_value(measured), "", target, measured < maximum)


def create_failed_row(case: str, target: str, reason: str) -> ResultRow:
    """Create a table row for a case that missed its target, with the reason."""
    return ResultRow(case, "", "", "", target, meets_target=False, note=reason)


def create_unmeasured_row(case: str, reason: str) -> ResultRow:
    """Create a table row for a case that this machine cannot measure, with the reason."""
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
