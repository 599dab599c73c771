"""Lists of problems for people: as many lines as a terminal can show, all of them elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from ..exceptions import Problem

if TYPE_CHECKING:
    from ..db.write.change_counts import ChangeCounts

MAX_LISTED_PROBLEMS = 50
"""How many problems are listed on a terminal; more would push their heading out of sight."""


def problem_lines(problems: Sequence[Problem], stream: TextIO, more: int = 0) -> Iterator[str]:
    """Yield a line for each problem, and one that counts those that are not listed.

    All of ``problems`` are listed unless ``stream`` is a terminal; ``more`` is how many others
    there are.
    """
    limit = MAX_LISTED_PROBLEMS if stream.isatty() else len(problems)
    for problem in problems[:limit]:
        yield f"{problem['path']}: {problem['message']}"
    if left := len(problems[limit:]) + more:
        yield f"and {left:,} more"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 item", "2 items"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_counts(counts: ChangeCounts) -> str:
    """Return counts as "2 added, 1 changed, 30 unchanged, 0 deleted"."""
    return (
        f"{counts.created:,} added, {counts.updated:,} changed, {counts.unchanged:,} unchanged, "
        f"{counts.deleted:,} deleted"
    )
