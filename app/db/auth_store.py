"""Signing keys, OAuth clients and revoked tokens: the tables behind the local token issuer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    Interval,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from ..exceptions import Conflict, NotFound
from .connector import Connection
from .pool import Database
from .schema.expressions import IDENTIFIER, build_exists
from .schema.tables import client_secrets, clients, revoked_tokens, signing_keys
from .statement import CompiledStatement


class StoredSigningKey(NamedTuple):
    """A signing key of the local token issuer: its ID, private key in PEM and creation time."""

    kid: str
    private_pem: str
    created_at: datetime


class StoredClient(NamedTuple):
    """The scopes of an OAuth client and the hashes of the secrets that authenticate it."""

    scopes: list[str]
    secret_hashes: list[str]


class ClientSummary(NamedTuple):
    """An OAuth client as listed for operators: everything stored about it except its secrets."""

    identifier: str
    name: str | None
    scopes: list[str]
    created_at: datetime
    secret_count: int
    """Number of unexpired secrets."""
    next_secret_expiry: datetime | None
    """Time at which the first of these secrets expires, or None if none does."""


async def list_signing_keys(database: Database) -> list[StoredSigningKey]:
    """Return all signing keys of the local token issuer, oldest first."""
    return [StoredSigningKey(**row) for row in await database.fetch_all(SIGNING_KEYS)]


async def add_first_signing_key(database: Database, kid: str, private_pem: str) -> None:
    """Store a signing key, unless the database already has one; returns nothing.

    A lock makes servers that start at the same time agree on one key: the first stores its key, and
    the others leave it. ``kid`` is the ID of the key, ``private_pem`` the private key.
    """
    async with database.connection() as connection, connection.transaction():
        await LOCK_SIGNING_KEYS.execute(connection)
        if not await SIGNING_KEYS.fetch_all(connection):
            await ADD_SIGNING_KEY.execute(connection, kid=kid, private_pem=private_pem)


async def rotate_signing_key(
    database: Database, kid: str, private_pem: str, *, delete_older: bool
) -> None:
    """Store a new signing key, which signs all tokens from now on, and delete old keys.

    With ``delete_older``, all other keys are deleted at once, and the tokens they signed become
    invalid. Otherwise a key is deleted only when no token it signed can still be valid.
    """
    async with database.connection() as connection, connection.transaction():
        await LOCK_SIGNING_KEYS.execute(connection)
        await ADD_SIGNING_KEY.execute(connection, kid=kid, private_pem=private_pem)
        await (DELETE_OLDER_KEYS if delete_older else DELETE_SUPERSEDED_KEYS).execute(connection)


async def find_client_credentials(database: Database, identifier: str) -> StoredClient | None:
    """Return the scopes and secret hashes of the client with this ``client_id``, or None."""
    rows = await database.fetch_all(CLIENT, identifier=identifier)
    if not rows:
        return None
    return StoredClient(list(rows[0]["scopes"]), [row["hash"] for row in rows if row["hash"]])


async def list_clients(database: Database) -> list[ClientSummary]:
    """Return a summary of each OAuth client, ordered by identifier."""
    return [ClientSummary(**row) for row in await database.fetch_all(CLIENT_SUMMARIES)]


async def add_client(
    database: Database, identifier: str, name: str | None, scopes: Sequence[str], secret_hash: str
) -> None:
    """Store a new OAuth client and the hash of its first secret.

    ``identifier`` is the ``client_id``; ``name`` is a human-readable label. Raises ``Conflict`` if
    the identifier is in use.
    """

    async def add(connection: Connection) -> bool:
        async with connection.transaction():
            values = {"identifier": identifier, "name": name, "scopes": list(scopes)}
            if not await ADD_CLIENT.fetch_one(connection, **values):
                return False
            await ADD_SECRET.execute(connection, identifier=identifier, hash=secret_hash)
            return True

    if not await database.run_write_with_retry(add, f"client {identifier}"):
        raise Conflict(
            f"the client {identifier!r} exists already; "
            f"case-server client rotate {identifier} gives it a new secret"
        )


async def rotate_client_secret(
    database: Database, identifier: str, secret_hash: str, grace_period: timedelta
) -> None:
    """Give an OAuth client a new secret; its previous secret stays valid for ``grace_period``.

    ``secret_hash`` is the hash of the new secret. The client can thus be reconfigured without an
    outage. Older secrets are deleted. Raises ``NotFound`` if there is no such client.
    """

    async def rotate(connection: Connection) -> bool:
        async with connection.transaction():
            if not await LOCK_CLIENT.fetch_one(connection, identifier=identifier):
                return False
            await DELETE_OLDER_SECRETS.execute(connection, identifier=identifier)
            values = {"identifier": identifier, "grace_period": grace_period}
            await EXPIRE_NEWEST_SECRET.execute(connection, **values)
            await ADD_SECRET.execute(connection, identifier=identifier, hash=secret_hash)
            return True

    if not await database.run_write_with_retry(rotate, f"client {identifier}"):
        raise _make_client_not_found_error(identifier)


async def delete_client(database: Database, identifier: str) -> None:
    """Delete an OAuth client and its secrets. Raises ``NotFound`` if there is no such client."""
    if not await database.run_write(DELETE_CLIENT, identifier=identifier):
        raise _make_client_not_found_error(identifier)


def _make_client_not_found_error(identifier: str) -> NotFound:
    return NotFound("client", identifier, "`case-server client list` shows all clients")


async def list_revoked_token_ids(database: Database) -> frozenset[str]:
    """Return the IDs (``jti`` claims) of all revoked tokens that have not expired."""
    return frozenset(row["jti"] for row in await database.fetch_all(REVOKED_TOKENS))


async def revoke_token(database: Database, jti: str, expires_at: datetime) -> None:
    """Revoke the token with this ``jti`` claim, which expires at ``expires_at``.

    Also deletes the rows of tokens that have expired, because those are invalid anyway.
    """
    async with database.connection() as connection, connection.transaction():
        await REVOKE_TOKEN.execute(connection, jti=jti, expires_at=expires_at)
        await DELETE_EXPIRED_TOKENS.execute(connection)


SIGNING_KEYS = CompiledStatement(select(signing_keys).order_by(signing_keys.c.created_at))
LOCK_SIGNING_KEYS = CompiledStatement(
    select(func.pg_advisory_xact_lock(literal_column("hashtext('signing keys')")))
)
ADD_SIGNING_KEY = CompiledStatement(
    insert(signing_keys).values(kid=bindparam("kid"), private_pem=bindparam("private_pem"))
)
_newer = signing_keys.alias("newer")
_is_superseded = build_exists(
    _newer.c.created_at > signing_keys.c.created_at,
    _newer.c.created_at < func.now() - text("interval '25 hours'"),
)
DELETE_SUPERSEDED_KEYS = CompiledStatement(delete(signing_keys).where(_is_superseded))
"""Deletes keys replaced over a day ago: tokens are valid for a day, servers switch in seconds."""
DELETE_OLDER_KEYS = CompiledStatement(
    delete(signing_keys).where(
        signing_keys.c.created_at < select(func.max(_newer.c.created_at)).scalar_subquery()
    )
)

_is_unexpired = or_(client_secrets.c.expires_at.is_(None), client_secrets.c.expires_at > func.now())
_with_secrets = clients.outerjoin(
    client_secrets, and_(clients.c.identifier == client_secrets.c.client_identifier, _is_unexpired)
)
CLIENT = CompiledStatement(
    select(clients.c.scopes, client_secrets.c.hash)
    .select_from(_with_secrets)
    .where(clients.c.identifier == IDENTIFIER)
)
CLIENT_SUMMARIES = CompiledStatement(
    select(
        clients,
        func.count(client_secrets.c.hash).label("secret_count"),
        func.min(client_secrets.c.expires_at).label("next_secret_expiry"),
    )
    .select_from(_with_secrets)
    .group_by(clients.c.identifier)
    .order_by(clients.c.identifier)
)
ADD_CLIENT = CompiledStatement(
    insert(clients)
    .values(identifier=IDENTIFIER, name=bindparam("name"), scopes=bindparam("scopes"))
    .on_conflict_do_nothing()
    .returning(clients.c.identifier)
)
LOCK_CLIENT = CompiledStatement(
    select(clients.c.identifier).where(clients.c.identifier == IDENTIFIER).with_for_update()
)
DELETE_CLIENT = CompiledStatement(
    delete(clients).where(clients.c.identifier == IDENTIFIER).returning(clients.c.identifier)
)

ADD_SECRET = CompiledStatement(
    insert(client_secrets).values(client_identifier=IDENTIFIER, hash=bindparam("hash"))
)
_of_client = client_secrets.c.client_identifier == IDENTIFIER
_newest = (
    select(client_secrets.c.hash)
    .where(_of_client)
    .order_by(client_secrets.c.created_at.desc())
    .limit(1)
    .scalar_subquery()
)
DELETE_OLDER_SECRETS = CompiledStatement(
    delete(client_secrets).where(_of_client, or_(client_secrets.c.hash != _newest, ~_is_unexpired))
)
_grace_period = bindparam("grace_period", type_=Interval, required=True)
_expiry = func.least(client_secrets.c.expires_at, func.now() + _grace_period)
EXPIRE_NEWEST_SECRET = CompiledStatement(
    update(client_secrets).where(_of_client).values(expires_at=_expiry)
)

# A token is accepted for a minute after it expires, and the clocks of servers may differ by one.
_is_expired = revoked_tokens.c.expires_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 2)
REVOKED_TOKENS = CompiledStatement(select(revoked_tokens.c.jti).where(~_is_expired))
REVOKE_TOKEN = CompiledStatement(
    insert(revoked_tokens)
    .values(jti=bindparam("jti"), expires_at=bindparam("expires_at"))
    .on_conflict_do_nothing()
)
DELETE_EXPIRED_TOKENS = CompiledStatement(delete(revoked_tokens).where(_is_expired))
