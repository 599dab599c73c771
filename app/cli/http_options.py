"""The flags of commands that read URLs: a token, or the client that gets one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ..net.download import Fetcher
from ..net.oauth import Credentials
from ..transfer.progress import print_note
from .shared import settings_of

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option("--token", "access_token", help="Access token to send to URLs."),
    click.option(
        "--token-url", metavar="URL", help="Where to get a token for URLs, as --client-id."
    ),
    click.option(
        "--client-id",
        envvar="CASE_SOURCE_CLIENT_ID",
        show_envvar=True,
        help="Client to get a token for.",
    ),
    click.option(
        "--client-secret",
        envvar="CASE_SOURCE_CLIENT_SECRET",
        show_envvar=True,
        help="Its secret; better in the environment, where nobody else reads it.",
    ),
)
NAMES = ("access_token", "token_url", "client_id", "client_secret")


def reaching_options(command: Command) -> Command:
    """The flags that all commands with URLs have."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


dense_option = click.option(
    "--allow-dense",
    is_flag=True,
    help="Read packages from URLs that hold more values than usual.",
)
"""The flag of commands that read packages from URLs."""


def fetcher_of(flags: dict[str, Any]) -> Fetcher:
    """Return a fetcher as the flags say, and take those out that are for it alone.

    It reports waits before retries on stderr, except with ``--quiet``. Raises ``UsageError`` when
    flags contradict each other or lack others.
    """
    token, url, client, secret = (flags.pop(name) for name in NAMES)
    common: dict[str, Any] = {"allow_private": settings_of().allow_private_urls}
    if not flags.get("quiet"):
        common["notify"] = print_note
    if url is None:
        _refuse_clients_for_nothing()
        return Fetcher(token, **common)
    if token is not None:
        raise click.UsageError("give --token or --token-url, not both")
    if not client or not secret:
        raise click.UsageError(
            "--token-url needs --client-id and --client-secret, or CASE_SOURCE_CLIENT_ID and "
            "CASE_SOURCE_CLIENT_SECRET"
        )
    return Fetcher(credentials=Credentials(url, client, secret), **common)


def _refuse_clients_for_nothing() -> None:
    """In the environment they may be for other commands; as flags they are for this one."""
    context = click.get_current_context()
    for name in ("client_id", "client_secret"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --token-url")
