"""Figures: what a case found, and how it stands to its limit and its target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One line of the table. ``met`` is None where nothing is demanded."""

    case: str
    limit: str
    measured: str
    ratio: str = ""
    target: str = "reported"
    met: bool | None = None
    note: str = ""


def rates(case: str, limit: Sequence[float], measured: Sequence[float], least: float) -> Row:
    """A row of requests a second: the median must reach ``least`` of the limit's median."""
    top, own = median(limit), median(measured)
    ratio = own / top if top else 0.0
    return Row(
        case, per_second(top), per_second(own), f"{ratio:.2f}", f">= {least:g}", ratio >= least
    )


def times(case: str, limit: Sequence[float], measured: Sequence[float], most: float | None) -> Row:
    """A row of seconds: the median must stay within ``most`` times the limit's median."""
    bottom, own = median(limit), median(measured)
    ratio = own / bottom if bottom else float("inf")
    target = "reported" if most is None else f"<= {most:g}x"
    met = None if most is None else ratio <= most
    return Row(case, duration(bottom), duration(own), f"{ratio:.2f}x", target, met)


def below(case: str, measured: float, most: float, show: Callable[[float], str]) -> Row:
    """A row whose limit is a number that stands in its target."""
    return Row(case, "", show(measured), "", f"< {show(most)}", measured < most)


def failed(case: str, target: str, reason: str) -> Row:
    """A row of what the server does not do."""
    return Row(case, "", "", "", target, met=False, note=reason)


def unmeasured(case: str, reason: str) -> Row:
    """A row of what could not be measured here, and why."""
    return Row(case, "", "not measured", note=reason)


def per_second(rate: float) -> str:
    """A rate as the table shows it."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s"


def duration(seconds: float) -> str:
    """A duration as the table shows it."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def megabytes(size: float) -> str:
    """Bytes as the table shows them, in millions."""
    return f"{size / 1e6:.1f} MB"
