"""The keys of the local issuer, which live with the data they protect."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, func, literal, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert

from .schema.tables import signing_keys
from .statement import CompiledStatement

if TYPE_CHECKING:
    from .pool import Database

KEYS = CompiledStatement(select(signing_keys).order_by(signing_keys.c.created_at))
ADD = CompiledStatement(
    insert(signing_keys).values(kid=bindparam("kid"), private_pem=bindparam("private_pem"))
)
_newer = signing_keys.alias("newer")
DROP_SUPERSEDED = CompiledStatement(
    delete(signing_keys).where(
        select(literal(1))
        .where(
            _newer.c.created_at > signing_keys.c.created_at,
            _newer.c.created_at < func.now() - text("interval '25 hours'"),
        )
        .exists()
    )
)
"""A token lives a day at most, and signers learn of a new key within seconds."""
DROP_OLDER = CompiledStatement(
    delete(signing_keys).where(
        signing_keys.c.created_at < select(func.max(_newer.c.created_at)).scalar_subquery()
    )
)
LOCK = CompiledStatement(
    select(func.pg_advisory_xact_lock(literal_column("hashtext('signing keys')")))
)


class KeySummary(NamedTuple):
    """A key as ``keys list`` shows it."""

    kid: str
    created_at: datetime


async def load_signing_keys(database: Database) -> list[tuple[str, str]]:
    """Every key as (kid, private PEM), the newest last."""
    return [(row["kid"], row["private_pem"]) for row in await database.fetch_all(KEYS)]


async def add_first_signing_key(database: Database, kid: str, private_pem: str) -> None:
    """Store a key unless there is one: of several servers that start at once, one gives it."""
    async with database.connection() as connection, connection.transaction():
        await connection.execute(LOCK.sql, *LOCK.bind({}))
        if not await connection.fetch(KEYS.sql):
            values = {"kid": kid, "private_pem": private_pem}
            await connection.execute(ADD.sql, *ADD.bind(values))


async def list_signing_keys(database: Database) -> list[KeySummary]:
    """Every key without its secret, the newest last."""
    return [KeySummary(row["kid"], row["created_at"]) for row in await database.fetch_all(KEYS)]


async def add_signing_key(
    database: Database, kid: str, private_pem: str, *, delete_older: bool
) -> None:
    """Store the key that signs from now on.

    Older ones go when no live token can be theirs any more, or with ``drop_older`` at once.
    """
    async with database.connection() as connection, connection.transaction():
        await connection.execute(LOCK.sql, *LOCK.bind({}))
        await connection.execute(ADD.sql, *ADD.bind({"kid": kid, "private_pem": private_pem}))
        drop = DROP_OLDER if delete_older else DROP_SUPERSEDED
        await connection.execute(drop.sql, *drop.bind({}))
