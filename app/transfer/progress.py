"""How far long work is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TypeAlias

import click

Progress: TypeAlias = Callable[[str], None]
"""Told what is being done; an empty text when it is over."""

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
"""What uploads go through, each of them most of it, in this order; anything else comes before."""

WIDTH = 20


def progress_bar(name: str, *, quiet: bool) -> Progress:
    """A line on stderr, drawn over itself: how far the work on ``name`` is, and at what."""
    if quiet or not sys.stderr.isatty():
        return lambda _: None

    def show(stage: str) -> None:
        done = STAGES.index(stage) + 1 if stage in STAGES else 0
        filled = WIDTH * done // (len(STAGES) + 1)
        line = f"{'█' * filled}{'░' * (WIDTH - filled)} {name}: {stage} …" if stage else ""
        # A line that is longer than the terminal could not be drawn over.
        columns = shutil.get_terminal_size().columns
        click.echo(f"\r\x1b[K{line[: columns - 1]}", nl=False, err=True)

    return show


def print_note(message: str) -> None:
    """Write a line to stderr, over a bar that may be there."""
    erase = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{erase}{message}", err=True)
