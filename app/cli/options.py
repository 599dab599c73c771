"""Options that several commands have: access tokens for URLs, and names for frameworks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from ..formats.file_format import TABLES
from ..net.download import Fetcher
from ..net.oauth import ClientCredentials
from ..repair.metadata_options import MetadataOptions
from ..transfer.console import print_note
from ..transfer.sources import PackageSource
from .shared import combine_options, load_settings

CLIENT_VARIABLES = "CASE_SOURCE_CLIENT_ID and CASE_SOURCE_CLIENT_SECRET"

add_token_options = combine_options(
    click.option("--token", "access_token", metavar="TOKEN", help="Access token to send to URLs."),
    click.option(
        "--token-url", metavar="URL", help="Token endpoint to get a token from, as --client-id."
    ),
    click.option(
        "--client-id",
        envvar="CASE_SOURCE_CLIENT_ID",
        show_envvar=True,
        metavar="ID",
        help="Client to get a token for.",
    ),
    click.option(
        "--client-secret",
        envvar="CASE_SOURCE_CLIENT_SECRET",
        show_envvar=True,
        metavar="SECRET",
        help="Secret of that client. Prefer the variable: other users can read the options of a "
        "running command.",
    ),
)
"""Adds --token, and the options for requesting a token, to a command that reads URLs."""

dense_option = click.option(
    "--allow-dense",
    is_flag=True,
    help="Accept packages from URLs with more values per megabyte than the limit.",
)


def create_fetcher(flags: dict[str, Any]) -> Fetcher:
    """Create a ``Fetcher``, which downloads URLs, from parsed command-line options ``flags``.

    It prints a note on stderr before each retry, except with ``--quiet``. Raises ``UsageError`` if
    the options of ``add_token_options`` contradict each other or are incomplete.
    """
    token, url = flags["access_token"], flags["token_url"]
    client, secret = flags["client_id"], flags["client_secret"]
    common: dict[str, Any] = {"allow_private": load_settings().allow_private_urls}
    if not flags.get("quiet"):
        common["notify"] = print_note
    if url is None:
        _reject_unused_client_options()
        return Fetcher(token, **common)
    if token is not None:
        raise click.UsageError("--token and --token-url exclude each other")
    if not client or not secret:
        raise click.UsageError(
            f"--token-url needs --client-id and --client-secret, or {CLIENT_VARIABLES}"
        )
    return Fetcher(credentials=ClientCredentials(url, client, secret), **common)


def _reject_unused_client_options() -> None:
    # Their environment variables are accepted, because they may be set for other commands.
    context = click.get_current_context()
    for name in ("client_id", "client_secret"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --token-url")


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
    """Return the values of --title, --creator and --document-id as ``MetadataOptions``.

    ``sources`` are the sources to import, and ``flags`` the parsed options. Raises
    ``click.UsageError`` if one of the three is given with several sources or --sample, or with
    --strict and a source that is not a spreadsheet.
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
