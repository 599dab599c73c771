"""Tokens that were revoked: each is refused, on every worker, until it expires."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from .schema.tables import revoked_tokens
from .statement import CompiledStatement

if TYPE_CHECKING:
    from .pool import Database

# Clocks may differ by a minute, and a token is accepted for as long after its end.
_is_over = revoked_tokens.c.expires_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 2)

LIVE = CompiledStatement(select(revoked_tokens.c.jti).where(~_is_over))
REVOKE = CompiledStatement(
    insert(revoked_tokens)
    .values(jti=bindparam("jti"), expires_at=bindparam("expires_at"))
    .on_conflict_do_nothing()
)
DROP_EXPIRED = CompiledStatement(delete(revoked_tokens).where(_is_over))


async def list_revoked_tokens(database: Database) -> frozenset[str]:
    """Return the IDs of the revoked tokens that have not expired."""
    return frozenset(row["jti"] for row in await database.fetch_all(LIVE))


async def revoke_token(database: Database, jti: str, expires_at: datetime) -> None:
    """Store that a token is revoked, and drop the rows of expired ones."""
    async with database.connection() as connection, connection.transaction():
        values = {"jti": jti, "expires_at": expires_at}
        await connection.execute(REVOKE.sql, *REVOKE.bind(values))
        await connection.execute(DROP_EXPIRED.sql, *DROP_EXPIRED.bind({}))
