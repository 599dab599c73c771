"""Output of commands: status lines, progress bars, lists of problems and counts."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO, TypeAlias

import click

from ..exceptions import Problem

if TYPE_CHECKING:
    from ..db.write.upload.change_counts import ChangeCounts

Progress: TypeAlias = Callable[[str], None]
"""Called with the name of each stage of long work; with an empty string at its end."""

STAGES = (
    "reading",
    "staging",
    "definitions",
    "document",
    "removing",
    "items",
    "associations",
    "recording",
    "rubrics",
)
"""The stages of an upload in their order. Other stages come before them."""

BAR_COLUMNS = 20

ERASE_LINE = "\r\x1b[K"

MAX_LISTED_PROBLEMS = 50
"""Number of problems listed on a terminal; more would scroll their heading out of sight."""


def show_status(text: str) -> None:
    """Show text on the terminal's status line (stderr); an empty string erases it."""
    # Without rich's status line, which uses a thread, and hides the cursor even after the command
    # was killed.
    if sys.stderr.isatty():
        # A line longer than the terminal would wrap and could not be overwritten.
        columns = shutil.get_terminal_size().columns
        line = f"{text} …"[: columns - 1] if text else ""
        click.echo(f"{ERASE_LINE}{line}", nl=False, err=True)


def create_progress_reporter(name: str, *, quiet: bool) -> Progress:
    """Create a callback that shows a progress bar for a source on the terminal's status line.

    ``name`` is the source to show beside the bar. The callback takes the name of the current stage;
    an empty string erases the bar. If ``quiet`` is true, the callback does nothing.
    """
    if quiet:
        return lambda _: None

    def show(stage: str) -> None:
        step = STAGES.index(stage) + 1 if stage in STAGES else 0
        filled_columns = BAR_COLUMNS * step // (len(STAGES) + 1)
        bar = f"{'█' * filled_columns}{'░' * (BAR_COLUMNS - filled_columns)}"
        show_status(f"{bar} {name}: {stage}" if stage else "")

    return show


def print_note(message: str) -> None:
    """Erase the terminal's status line, which shows the progress, and print a message to stderr."""
    show_status("")
    click.echo(message, err=True)


def format_problems(problems: Sequence[Problem], stream: TextIO, omitted: int = 0) -> Iterator[str]:
    """Yield a line of text for each problem, and at the end "and 3 more" if some are not listed.

    If ``stream``, the output, is a terminal, only the first ``MAX_LISTED_PROBLEMS`` are listed.
    ``omitted`` is the number of further problems that are not in ``problems``; the last line counts
    them as well.
    """
    limit = MAX_LISTED_PROBLEMS if stream.isatty() else len(problems)
    for problem in problems[:limit]:
        yield f"{problem['path']}: {problem['message']}"
    if remaining_count := len(problems[limit:]) + omitted:
        yield f"and {remaining_count:,} more"


def format_counts(counts: ChangeCounts) -> str:
    """Format a ``ChangeCounts`` as "2 added, 1 changed, 30 unchanged, 0 deleted"."""
    return (
        f"{counts.created:,} added, {counts.updated:,} changed, {counts.unchanged:,} unchanged, "
        f"{counts.deleted:,} deleted"
    )
