"""Commands about a running server: start it, migrate its database, get a token from it."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ..exceptions import StartupError
from ..net.oauth import Credentials, parse_access_token, request_token
from ..server.startup import prepare_database
from ..server.startup import serve as serve_until_stopped
from .shared import database_option, settings_of


@click.command()
@click.option("--host", envvar="CASE_SERVER_HOST", show_envvar=True, help="Address to listen on.")
@click.option(
    "--port",
    type=int,
    envvar="CASE_SERVER_PORT",
    show_envvar=True,
    help="Port; 0 takes a free one.",
)
@click.option(
    "--workers", type=int, envvar="CASE_SERVER_WORKERS", show_envvar=True, help="Server processes."
)
@click.option(
    "--access-log/--no-access-log",
    default=None,
    envvar="CASE_SERVER_ACCESS_LOG",
    show_envvar=True,
    help="Whether every request is logged.",
)
@click.option(
    "--shutdown-timeout",
    type=int,
    envvar="CASE_SERVER_SHUTDOWN_TIMEOUT",
    show_envvar=True,
    metavar="SECONDS",
    help="How long requests in flight may take to end when it is stopped; new ones are refused.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    envvar="CASE_SERVER_LOG_FORMAT",
    show_envvar=True,
    help="How log lines are written.",
)
@click.option(
    "--web/--no-web",
    default=None,
    envvar="CASE_SERVER_WEB",
    show_envvar=True,
    help="Whether there are pages for people beside the API.",
)
@click.option(
    "--test-mode",
    is_flag=True,
    default=None,
    envvar="CASE_SERVER_TEST_MODE",
    show_envvar=True,
    help="Enable the test API under /_test/: reset and seed data, inject faults, verify requests. "
    "Works on temporary copies of the database.",
)
@database_option
def serve(**flags: Any) -> None:
    """Start the server.

    Without a database URL it keeps a private Postgres of its own, and migrates it. With one, it
    refuses to start on an old schema and says so: run `case-server migrate` first.
    """
    try:
        serve_until_stopped(settings_of(**flags))
    except KeyboardInterrupt:
        # Ctrl+C is how it is meant to be stopped.
        click.echo("stopped", err=True)


@click.command()
@database_option
def migrate(database_url: str | None) -> None:
    """Bring the database's schema to what this release needs."""
    settings = settings_of(database_url=database_url)
    with prepare_database(settings, migrate=True):
        click.echo(f"the schema is current in {settings.database_name}")


@click.command()
@click.option("--url", help="The running server. [default: where the settings say it is]")
@click.option("--scope", default="", help="Scopes to ask for; all of the client's otherwise.")
def token(url: str | None, scope: str) -> None:
    """Print an access token of the running server, for CASE_CLIENT_ID and CASE_CLIENT_SECRET.

    \b
    curl -H "Authorization: Bearer $(case-server token)" http://127.0.0.1:8000/case/1.1/CFDocuments
    """  # noqa: D301  click keeps the lines after its \b as they are
    import httpx  # noqa: PLC0415  no other command here needs it, least of all to start

    settings = settings_of()
    token_url = f"{(url or settings.base_url).rstrip('/')}/oauth2/token"
    secret = settings.client_secret.get_secret_value()
    credentials = Credentials(token_url, settings.client_id, secret)
    try:
        response = request_token(partial(httpx.post, timeout=10), credentials, scope)
    except httpx.HTTPError as error:
        raise StartupError(
            f"could not connect to {token_url} ({error}); start the server with case-server serve"
        ) from error
    if response.status_code != httpx.codes.OK:
        raise StartupError(f"{token_url} refused a token: {response.text}")
    access_token = parse_access_token(response.content)
    if access_token is None:
        raise StartupError(f"the response of {token_url} has no access_token")
    click.echo(access_token)
