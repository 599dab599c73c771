"""The keys of the local issuer, which live with the data they protect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from .statement import Statement
from .tables import signing_keys

if TYPE_CHECKING:
    from .database import Database

KEYS = Statement(select(signing_keys).order_by(signing_keys.c.created_at))
ADD = Statement(
    insert(signing_keys).values(kid=bindparam("kid"), private_pem=bindparam("private_pem"))
)
LOCK = Statement(select(func.pg_advisory_xact_lock(literal_column("hashtext('signing keys')"))))


async def stored_keys(database: Database) -> list[tuple[str, str]]:
    """Every key as (kid, private PEM), the newest last."""
    return [(row["kid"], row["private_pem"]) for row in await database.rows(KEYS)]


async def add_first_key(database: Database, kid: str, private_pem: str) -> None:
    """Store a key unless there is one: of several servers that start at once, one gives it."""
    async with database.connection() as connection, connection.transaction():
        await connection.execute(LOCK.sql, *LOCK.arguments({}))
        if not await connection.fetch(KEYS.sql):
            values = {"kid": kid, "private_pem": private_pem}
            await connection.execute(ADD.sql, *ADD.arguments(values))
