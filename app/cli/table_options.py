"""The options that name a framework, shared by import and check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..formats.file_format import TABLES
from ..repair.metadata_options import MetadataOptions
from ..transfer.sources import PackageSource
from .shared import combine_options

add_metadata_options = combine_options(
    click.option("--title", help="Title of the framework; replaces the one in the file, if any."),
    click.option(
        "--creator", help="Creator of the framework; replaces the one in the file, if any."
    ),
    click.option(
        "--document-id",
        metavar="ID",
        help="Identifier of the framework; replaces the one in the file, if any.",
    ),
)
"""Adds --title, --creator and --document-id to a command; they override values in the file."""


def get_metadata_options(
    sources: Sequence[PackageSource], flags: dict[str, Any]
) -> MetadataOptions:
    """Return the values of --title, --creator and --document-id from the parsed ``flags``.

    Raises ``click.UsageError`` if one of them is given with several sources, or with --strict and a
    source that is not a spreadsheet.
    """
    metadata = MetadataOptions(flags["title"], flags["creator"], flags["document_id"])
    if metadata.has_overrides:
        if len(sources) != 1 or flags.get("sample"):
            raise click.UsageError(
                "--title, --creator and --document-id apply to one framework: name one SOURCE"
            )
        if flags.get("strict") and sources[0].file_format not in TABLES:
            raise click.UsageError(
                "--strict completes nothing but spreadsheets: remove it, or --title, --creator and "
                "--document-id"
            )
    return metadata
