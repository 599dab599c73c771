"""The options for files without a title, shared by import and check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ..formats.file_format import TABLES
from ..repair.defaults import Defaults
from ..transfer.sources import Source

Command = TypeVar("Command", bound=Callable[..., Any])


def table_options(command: Command) -> Command:
    """Add --title, --creator and --document-id to a command that reads files without them."""
    for option in (
        click.option(
            "--document-id", metavar="ID", help="Identifier of a framework whose file has none."
        ),
        click.option("--creator", help="Creator of a framework whose file has none."),
        click.option("--title", help="Title of a framework whose file has none."),
    ):
        command = option(command)
    return command


def get_document_defaults(named: Sequence[Source], flags: dict[str, Any]) -> Defaults:
    """Return the title, creator and identifier that the user gave for a file without its own.

    Raises ``click.UsageError`` if they are given for more than one source.
    """
    fields = {"title": flags["title"], "creator": flags["creator"]}
    fields["identifier"] = flags["document_id"]
    if any(fields.values()):
        if len(named) != 1 or flags.get("sample"):
            raise click.UsageError(
                "--title, --creator and --document-id apply to one framework: name one SOURCE"
            )
        if flags.get("strict") and named[0].file_format not in TABLES:
            raise click.UsageError(
                "--strict completes nothing but spreadsheets: remove it, or --title, --creator and "
                "--document-id"
            )
    return Defaults(**fields)
