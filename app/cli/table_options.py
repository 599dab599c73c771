"""The options that name a framework, shared by import and check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..formats.file_format import TABLES
from ..repair.metadata_options import MetadataOptions
from ..transfer.sources import PackageSource
from .shared import Command


def add_metadata_options(command: Command) -> Command:
    """Add --title, --creator and --document-id, which override values in the imported file."""
    for option in (
        click.option(
            "--document-id",
            metavar="ID",
            help="Identifier of the framework; replaces the one in the file, if any.",
        ),
        click.option(
            "--creator", help="Creator of the framework; replaces the one in the file, if any."
        ),
        click.option(
            "--title", help="Title of the framework; replaces the one in the file, if any."
        ),
    ):
        command = option(command)
    return command


def get_metadata_options(
    sources: Sequence[PackageSource], flags: dict[str, Any]
) -> MetadataOptions:
    """Return the values of --title, --creator and --document-id in the parsed options ``flags``.

    Raises ``click.UsageError`` if any is given for more than one source, or with --strict for a
    JSON source.
    """
    fields = {"title": flags["title"], "creator": flags["creator"]}
    fields["identifier"] = flags["document_id"]
    if any(fields.values()):
        if len(sources) != 1 or flags.get("sample"):
            raise click.UsageError(
                "--title, --creator and --document-id apply to one framework: name one SOURCE"
            )
        if flags.get("strict") and sources[0].file_format not in TABLES:
            raise click.UsageError(
                "--strict completes nothing but spreadsheets: remove it, or --title, --creator and "
                "--document-id"
            )
    return MetadataOptions(**fields)
