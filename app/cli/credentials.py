"""The ``client`` and ``keys`` commands: clients with their secrets, and token signing keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import click

from ..auth.clients import CLIENT_ID_PATTERN
from ..auth.hashing import generate_secret, hash_secret
from ..auth.scopes import DESCRIPTIONS, Scope, parse_scopes
from ..auth.tokens import generate_signing_key
from ..db import auth_store
from ..exceptions import CommandError, NotFound
from ..formatting import format_duration
from ..settings import Settings
from .shared import DurationParamType, add_settings_option, print_table, run_on_database

MAX_OVERLAP = timedelta(days=366)


class ScopeParamType(click.ParamType[Scope]):
    """A click parameter type for a CASE scope, given as its URL or short name ("readonly")."""

    name = "scope"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Scope:
        """Convert an option's value, for example "readonly", to a scope; fail if it is unknown."""
        by_word = {get_short_scope_name(scope): scope for scope in Scope}
        scopes = {by_word[value]} if value in by_word else parse_scopes(value)
        if len(scopes) != 1:
            self.fail(f"unknown scope {value!r}: use one of {', '.join(by_word)}", param, ctx)
        return next(iter(scopes))


def get_short_scope_name(scope: Scope) -> str:
    """Return the last word of a scope's URL: "readonly" for "…/scope/case.readonly"."""
    return scope.rpartition(".")[2]


@click.group("client")
def client_group() -> None:
    """Manage the clients that may request tokens.

    The client defined by CASE_CLIENT_ID and CASE_CLIENT_SECRET always exists and has all scopes.
    These commands manage additional clients in the database, each with its own scopes and secrets.
    A running server does not need a restart.
    """


@client_group.command("add")
@click.argument("identifier", metavar="ID")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=ScopeParamType(),
    default=[Scope.READONLY.value],
    show_default=True,
    help="Scope of the client: readonly, createput or delete; may be repeated.",
)
@click.option("--name", help="Display name of the client.")
@add_settings_option
def add_client(
    identifier: str, scopes: tuple[Scope, ...], name: str | None, settings: Settings
) -> None:
    """Add a client and print its secret.

    The secret is the only output on stdout. It is shown once: the database stores only its hash.

    \b
    Example: SECRET=$(case-server client add reading-app --scope readonly --name "Reading app")
    """  # noqa: D301  click keeps the lines after its \b as they are
    _require_valid_client(identifier, name, settings)
    secret = generate_secret()
    secret_hash = hash_secret(secret)
    granted = [scope.value for scope in Scope if scope in scopes]
    run_on_database(
        settings,
        "write",
        lambda database: auth_store.add_client(database, identifier, name, granted, secret_hash),
    )
    rights = "; ".join(DESCRIPTIONS[Scope(scope)].lower() for scope in granted)
    click.echo(
        f"created client {identifier!r} (may: {rights}). Store this secret now; it cannot be "
        "shown again:",
        err=True,
    )
    click.echo(secret)


@client_group.command("list")
@add_settings_option
def list_clients(settings: Settings) -> None:
    """List the clients with their scopes and secrets.

    For each client, it prints the number of secrets that are valid now.

    \b
    Example: case-server client list
    """  # noqa: D301  click keeps the lines after its \b as they are
    clients = run_on_database(settings, "read", auth_store.list_clients)
    rows = [("ID", "SCOPES", "SECRETS", "ADDED", "NAME")]
    rows.append((settings.client_id, _format_scopes(list(Scope)), "1", "", "(from the settings)"))
    for entry in clients:
        secrets = str(entry.secret_count)
        if entry.next_secret_expiry:
            secrets += f", one until {_format_time(entry.next_secret_expiry)}"
        added = _format_time(entry.created_at)
        scopes = _format_scopes(entry.scopes)
        rows.append((entry.identifier, scopes, secrets, added, entry.name or ""))
    print_table(rows, has_heading=True)


@client_group.command("rotate")
@click.argument("identifier", metavar="ID")
@click.option(
    "--keep-old-for",
    type=DurationParamType(MAX_OVERLAP),
    default="24h",
    show_default=True,
    help="How long the current secret stays valid: 90s, 15m, 24h, 7d, or 0.",
)
@add_settings_option
def rotate_secret(identifier: str, keep_old_for: timedelta, settings: Settings) -> None:
    """Replace the secret of a client and print the new one.

    The current secret stays valid for --keep-old-for, so that the client can be reconfigured
    without an interruption; older secrets are revoked immediately. Issued tokens stay valid.

    \b
    Example: SECRET=$(case-server client rotate reading-app --keep-old-for 7d)
    """  # noqa: D301  click keeps the lines after its \b as they are
    secret = generate_secret()
    with _explain_configured_client_error(identifier, settings):
        run_on_database(
            settings,
            "write",
            lambda database: auth_store.rotate_client_secret(
                database, identifier, hash_secret(secret), keep_old_for
            ),
        )
    overlap = format_duration(keep_old_for)
    old = f"stays valid for {overlap}" if keep_old_for else "is no longer valid"
    click.echo(
        f"the old secret of {identifier!r} {old}. Store the new one now; it cannot be shown again:",
        err=True,
    )
    click.echo(secret)


@client_group.command("remove")
@click.argument("identifier", metavar="ID")
@add_settings_option
def remove_client(identifier: str, settings: Settings) -> None:
    """Remove a client and revoke its tokens.

    ID is the client ID, as `case-server client list` prints it. Running servers reject the tokens
    of the client within seconds.

    \b
    Example: case-server client remove reading-app
    """  # noqa: D301  click keeps the lines after its \b as they are
    with _explain_configured_client_error(identifier, settings):
        run_on_database(
            settings, "write", lambda database: auth_store.delete_client(database, identifier)
        )
    click.echo(f"removed client {identifier!r}; its tokens are no longer accepted", err=True)


@click.group("keys")
def key_group() -> None:
    """Manage the keys that sign access tokens."""


@key_group.command("list")
@add_settings_option
def list_keys(settings: Settings) -> None:
    """List the keys.

    The last key signs tokens; every key verifies them.

    \b
    Example: case-server keys list
    """  # noqa: D301  click keeps the lines after its \b as they are
    stored = run_on_database(settings, "read", auth_store.list_signing_keys)
    signing = stored[-1:]
    rows = [("KEY", "CREATED", "USE")]
    for key in stored:
        use = "signs" if key in signing else "verifies"
        rows.append((key.kid, _format_time(key.created_at), use))
    print_table(rows, has_heading=True)


@key_group.command("rotate")
@click.option(
    "--drop-old",
    is_flag=True,
    help="Delete the older keys immediately, which invalidates all tokens signed with them. Use "
    "it if a key has leaked.",
)
@add_settings_option
def rotate_keys(*, drop_old: bool, settings: Settings) -> None:
    """Create a key that signs new tokens.

    Tokens signed with older keys stay valid until they expire, unless --drop-old is given. Keys
    replaced more than a day ago are deleted. Running servers use the new key within seconds.

    \b
    Example: case-server keys rotate
    """  # noqa: D301  click keeps the lines after its \b as they are
    key = generate_signing_key()
    run_on_database(
        settings,
        "write",
        lambda database: auth_store.rotate_signing_key(
            database, key.kid, key.private_pem, delete_older=drop_old
        ),
    )
    click.echo(key.kid)


@contextmanager
def _explain_configured_client_error(identifier: str, settings: Settings) -> Iterator[None]:
    """Explain with a ``CommandError`` that a command cannot change the client of CASE_CLIENT_ID.

    That client is not in the database, so the ``with`` block raises ``NotFound`` for it. For any
    other ``identifier``, the ``NotFound`` is not converted.
    """
    try:
        yield
    except NotFound:
        if identifier != settings.client_id:
            raise
        raise CommandError(
            f"the client {identifier!r} is that of CASE_CLIENT_ID: change CASE_CLIENT_SECRET and "
            "restart the server"
        ) from None


def _require_valid_client(identifier: str, name: str | None, settings: Settings) -> None:
    if not CLIENT_ID_PATTERN.fullmatch(identifier):
        raise CommandError(
            f"invalid client ID {identifier!r}: use 1 to 255 printable ASCII characters without "
            "spaces and colons"
        )
    if identifier == settings.client_id:
        raise CommandError(
            f"the client ID {identifier!r} is that of CASE_CLIENT_ID, which always exists; choose "
            "another ID"
        )
    if name is not None and not name.isprintable():
        raise CommandError(f"invalid client name {name!r}: use one line of printable characters")


def _format_scopes(scopes: list[Any]) -> str:
    return " ".join(get_short_scope_name(scope) for scope in Scope if scope in parse_scopes(scopes))


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
