"""Commands about who may come in: clients and their secrets, and the keys that sign tokens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from ..auth.clients import CLIENT_ID_PATTERN
from ..auth.hashing import generate_secret, hash_secret
from ..auth.scopes import DESCRIPTIONS, Scope, parse_scopes
from ..auth.tokens import generate_signing_key
from ..db import auth_store
from ..db.pool import Database
from ..exceptions import StartupError
from .shared import Direction, Group, command_database, database_option, settings_of, with_database

Result = TypeVar("Result")

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST_OVERLAP = timedelta(days=366)


class ScopeName(click.ParamType[Scope]):
    """A scope by its last word, or written out."""

    name = "scope"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Scope:
        """The scope, or a refusal that lists them."""
        short = {word(scope): scope for scope in Scope}
        found = {short[value]} if value in short else parse_scopes(value)
        if len(found) != 1:
            self.fail(f"{value!r} is none of {', '.join(short)}", param, ctx)
        return next(iter(found))


class Duration(click.ParamType[timedelta]):
    """A number with a unit: 90s, 15m, 24h, 7d; or 0."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The duration, or a refusal with examples."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhd])", "0s" if value == "0" else str(value))
        length = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else None
        if length is None or length > LONGEST_OVERLAP:
            reason = f"{value!r} is no duration up to a year, such as 90s, 15m, 24h, 7d or 0"
            self.fail(reason, param, ctx)
        return length


def word(scope: Scope) -> str:
    """The last word of a scope: what people call it."""
    return scope.rpartition(".")[2]


def on_database(
    url: str | None,
    work: Callable[[Database], Awaitable[Result]],
    direction: Direction = "into",
) -> Result:
    """Return the result of ``work`` on the database that a command names."""
    with command_database(settings_of(database_url=url), direction) as settings:
        return asyncio.run(with_database(settings, work))


@click.group(cls=Group)
def client() -> None:
    """Who may ask this server for tokens.

    The client that CASE_CLIENT_ID and CASE_CLIENT_SECRET name is always there and may do
    everything. These commands keep others in the database, each with scopes and secrets of its
    own. They work while the server runs, which needs no restart.
    """


@client.command()
@click.argument("identifier", metavar="ID")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=ScopeName(),
    default=[Scope.READONLY.value],
    show_default="readonly",
    help="What it may do: readonly, createput or delete. May be repeated.",
)
@click.option("--name", help="What people call it.")
@database_option
def add(
    identifier: str, scopes: tuple[Scope, ...], name: str | None, database_url: str | None
) -> None:
    """Add a client, and print its new secret.

    The secret alone goes to standard output, once: only a hash of it is kept.

    \b
    SECRET=$(case-server client add reading-app --scope readonly --name "Reading app")
    """  # noqa: D301  click keeps the lines after its \b as they are
    _refuse_bad_id(identifier)
    secret = generate_secret()
    spelled = [scope.value for scope in Scope if scope in scopes]
    _refuse_bad_name(name)
    on_database(
        database_url,
        lambda database: auth_store.add_client(
            database, identifier, name, spelled, hash_secret(secret)
        ),
    )
    may = "; ".join(DESCRIPTIONS[Scope(scope)].lower() for scope in spelled)
    click.echo(f"the client {identifier} may now: {may}. Its secret is shown only now:", err=True)
    click.echo(secret)


@client.command("list")
@database_option
def list_clients(database_url: str | None) -> None:
    """Show the clients in the database, and when a secret of theirs ends."""
    found = on_database(database_url, auth_store.list_clients, "from")
    first = settings_of().client_id
    rows = [("ID", "SCOPES", "SECRETS", "ADDED", "NAME")]
    rows.append((first, _words(list(Scope)), "1", "", "(of the settings)"))
    for one in found:
        secrets = f"{one.secrets}, one until {_time(one.next_end)}" if one.next_end else one.secrets
        row = (one.identifier, _words(one.scopes), str(secrets), _time(one.created_at), one.name)
        rows.append((*row[:4], row[4] or ""))
    _print_table(rows)


@client.command()
@click.argument("identifier", metavar="ID")
@click.option(
    "--keep-old-for",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How long the secret of now stays valid beside the new one: 90s, 15m, 24h, 7d, or 0.",
)
@database_option
def rotate(identifier: str, keep_old_for: timedelta, database_url: str | None) -> None:
    """Give a client a new secret, and print it.

    The last one stays valid for a while, so that what uses it can be changed without a gap; any
    before that ends at once. Tokens that were issued stay valid.
    """
    secret = generate_secret()
    on_database(
        database_url,
        lambda database: auth_store.rotate_client_secret(
            database, identifier, hash_secret(secret), keep_old_for
        ),
    )
    old = f"is valid for {keep_old_for} more" if keep_old_for else "has ended"
    click.echo(f"the old secret of {identifier} {old}. The new one is shown only now:", err=True)
    click.echo(secret)


@client.command()
@click.argument("identifier", metavar="ID")
@database_option
def remove(identifier: str, database_url: str | None) -> None:
    """Remove a client. Running servers refuse its tokens within seconds."""
    on_database(database_url, lambda database: auth_store.remove_client(database, identifier))
    click.echo(f"the client {identifier} is gone, and its tokens with it", err=True)


@click.group(cls=Group)
def keys() -> None:
    """The keys that sign this server's tokens."""


@keys.command("list")
@database_option
def list_keys(database_url: str | None) -> None:
    """Show the keys: the last one signs, all of them verify."""
    found = on_database(database_url, auth_store.list_signing_keys, "from")
    signing = found[-1:]
    rows = [("KEY", "MADE", "USE")]
    rows += [
        (key.kid, _time(key.created_at), "signs" if key in signing else "verifies") for key in found
    ]
    _print_table(rows)


@keys.command("rotate")
@click.option(
    "--drop-old",
    is_flag=True,
    help="Forget the older keys at once, and refuse all tokens signed by them: for when a key "
    "is in wrong hands.",
)
@database_option
def rotate_keys(*, drop_old: bool, database_url: str | None) -> None:
    """Make a new key, which signs from now on.

    Tokens signed by older keys stay valid until they expire; a key that was replaced more than a
    day ago is forgotten. Running servers learn of it within seconds.
    """
    new = generate_signing_key()
    on_database(
        database_url,
        lambda database: auth_store.add_signing_key(
            database, new.kid, new.private_pem, delete_older=drop_old
        ),
    )
    click.echo(new.kid)


def _refuse_bad_id(identifier: str) -> None:
    if not CLIENT_ID_PATTERN.fullmatch(identifier):
        raise StartupError(
            "a client's ID is 1 to 255 visible ASCII characters, without spaces and colons"
        )
    if identifier == settings_of().client_id:
        raise StartupError(
            f"{identifier!r} is the client that CASE_CLIENT_ID names, which is always there; "
            "choose another ID"
        )


def _refuse_bad_name(name: str | None) -> None:
    if name is not None and not name.isprintable():
        raise StartupError("a client's name is one line of printable characters")


def _words(scopes: list[Any]) -> str:
    return " ".join(word(scope) for scope in Scope if scope in parse_scopes(scopes))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
