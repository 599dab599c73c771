"""The ``serve``, ``migrate`` and ``token`` commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource
from pydantic import SecretStr

from ..exceptions import CommandError
from ..formatting import format_connection_error
from ..net.oauth import ClientCredentials, extract_access_token, request_token
from ..server.startup import prepare_database, serve_until_stopped
from ..settings import Settings, get_environment_variable, is_loopback, read_setting_descriptions
from .shared import Command, add_settings_option, load_settings, make_database_option


def make_setting_option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    """Return a decorator that adds a click option for a server setting to a command.

    The option's name is that of the setting: "--log-format" sets ``log_format``. Its help is the
    description of the setting with its default. ``attributes`` are arguments of ``click.option``.
    """
    setting = names[0].partition("/")[0].removeprefix("--").replace("-", "_")
    default = _format_default(setting)
    return click.option(
        *names,
        default=None,
        envvar=get_environment_variable(setting),
        show_envvar=True,
        help=f"{read_setting_descriptions()[setting]} [default: {default}]",
        **attributes,
    )


def _format_default(setting: str) -> str:
    """Return the default value of a setting as it would be written in an environment variable.

    A boolean becomes "true" or "false". Returns "" if the default is empty or a path.
    """
    value = Settings.model_fields[setting].get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return ""  # it differs by platform and user; the description names it
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value or value == 0 else ""


class ServeCommand(click.Command):
    """The ``serve`` command, whose help also lists the settings that have no option."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the variable, description and default of each setting that has no option."""
        options = {parameter.name for parameter in self.get_params(ctx)}
        rows = []
        for name, description in read_setting_descriptions().items():
            if name in options:
                continue
            default = _format_default(name)
            suffix = f"  [default: {default}]" if default else ""
            rows.append((get_environment_variable(name), f"{description}{suffix}"))
        with formatter.section("Environment variables without an option"):
            formatter.write_dl(rows, col_max=34)


@click.command("serve", cls=ServeCommand)
@make_setting_option("--host", metavar="HOST")
@make_setting_option("--port", type=int)
@make_setting_option("--workers", type=int)
@make_setting_option("--access-log/--no-access-log")
@make_setting_option("--shutdown-timeout", type=int, metavar="SECONDS")
@make_setting_option("--log-format", type=click.Choice(["text", "json"]))
@make_setting_option("--web/--no-web")
@make_setting_option("--test-mode", is_flag=True)
@make_database_option()
def run_server(**flags: Any) -> None:
    """Start the server.

    Without a database URL, the server starts an embedded Postgres and migrates it. If one
    is set, it refuses to start on an outdated schema: run `case-server migrate` first.

    \b
    case-server serve
    case-server serve --host 0.0.0.0 --port 8080 --workers 4
    case-server serve --test-mode --port 0
    """  # noqa: D301  click keeps the lines after its \b as they are
    try:
        serve_until_stopped(load_settings(**flags))
    except KeyboardInterrupt:
        click.echo("stopped", err=True)  # Ctrl+C is the normal way to stop it


@click.command("migrate")
@add_settings_option
@click.pass_context
def migrate_schema(context: click.Context, settings: Settings) -> None:
    """Migrate the database schema to this release's version.

    It connects with the first of these that is set: --database-url, CASE_SERVER_MIGRATION_URL,
    CASE_SERVER_DATABASE_URL. Set CASE_SERVER_MIGRATION_URL if the database URL leads to a
    connection pooler such as PgBouncer in transaction mode: a migration needs a direct connection
    to Postgres.

    \b
    Example: case-server migrate --database-url postgresql://case@db.example.org/case
    """  # noqa: D301  click keeps the lines after its \b as they are
    is_given = context.get_parameter_source("settings") is ParameterSource.COMMANDLINE
    if settings.database_url and settings.migration_url and not is_given:
        settings = settings.model_copy(update={"database_url": settings.migration_url})
    with prepare_database(settings, migrate=True):
        click.echo(f"the schema is current in {settings.database_display_name}")


@click.command("token")
@click.option("--url", metavar="URL", help="Base URL of the server. [default: as the settings say]")
@click.option("--scope", default="", help="Scopes to request. [default: all of the client's]")
def print_token(url: str | None, scope: str) -> None:
    """Request an access token from a running server.

    The token is for the client defined by CASE_CLIENT_ID and CASE_CLIENT_SECRET.

    \b
    curl -H "Authorization: Bearer $(case-server token)" http://127.0.0.1:8000/case/1.1/CFDocuments
    """  # noqa: D301  click keeps the lines after its \b as they are
    import httpx  # noqa: PLC0415  no other command of this module needs it, least of all to start

    settings = load_settings()
    if not url:
        # The port of a container is another one outside, where the public URL is valid.
        is_local = is_loopback(urlsplit(settings.base_url).hostname or "")
        url = settings.local_url if is_local else settings.base_url
    token_url = f"{url.rstrip('/')}/oauth2/token"
    secret = settings.client_secret.get_secret_value()
    credentials = ClientCredentials(token_url, settings.client_id, secret)
    try:
        response = request_token(partial(httpx.post, timeout=10), credentials, scope)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(
            f"could not connect to {token_url} ({format_connection_error(error)}); start the "
            "server with `case-server serve`, or add --url"
        ) from error
    if response.status_code != httpx.codes.OK:
        raise CommandError(
            f"{token_url} returned {response.status_code} instead of a token: {response.text}; "
            "check CASE_CLIENT_ID, CASE_CLIENT_SECRET and --scope"
        )
    access_token = extract_access_token(response.content)
    if access_token is None:
        raise CommandError(f"no access_token in the response of {token_url}; check --url")
    click.echo(access_token)
