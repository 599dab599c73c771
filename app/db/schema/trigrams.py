"""The index that finds words inside statements: its trigrams, where Postgres has ``pg_trgm``.

It is no part of the schema's version. A database whose owner may not make the extension, or whose
Postgres does not bring it, answers the same without it, by reading every item.
"""

from __future__ import annotations

import logging
import re

import asyncpg
from sqlalchemy import Table

from ...query.fields import Field
from ..connector import connection_to
from .tables import items

log = logging.getLogger("case_server")

INDEXED_FIELD = (items, ("fullStatement",))
"""GET CFItems?filter=fullStatement~'…': the field in whose texts people look for words."""

INDEX_NAME = "ix_items_statement_trigrams"

_HAS_TRIGRAM = re.compile(r"[^\W_]{3}")

_CREATE = f"""
    CREATE INDEX {INDEX_NAME} ON items USING gin (lower(body ->> 'fullStatement') gin_trgm_ops)
    WHERE deleted_at IS NULL"""


def can_use_pattern(table: Table, field: Field, text: str) -> bool:
    """Whether a text may be looked for as a pattern.

    Not in the indexed field if it has no three letters or digits in a row: Postgres might read the
    whole index for it, and then all items, too.
    """
    return (table, field.path) != INDEXED_FIELD or _HAS_TRIGRAM.search(text) is not None


def like_pattern(text: str) -> str:
    """A LIKE pattern for what contains the text."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


INDEX_ERRORS = (
    asyncpg.InsufficientPrivilegeError,
    # Not installed beside Postgres: newer and older ones say it differently.
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedFileError,
    # Installed in a schema that is not on the search path.
    asyncpg.UndefinedObjectError,
    # Somebody has been writing for as long as was waited.
    asyncpg.LockNotAvailableError,
)


async def create_index(url: str) -> bool:
    """Make the index where that is possible and not done yet; whether it is there."""
    try:
        async with connection_to(url) as connection:
            # As for migrations: wait for no lock for long, and one server at a time.
            await connection.execute("SET lock_timeout = '5s'")
            await connection.execute("SELECT pg_advisory_lock(hashtext('case-server migrations'))")
            if not await connection.fetchval("SELECT to_regclass($1)", INDEX_NAME):
                async with connection.transaction():
                    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                    await connection.execute(_CREATE)
    except INDEX_ERRORS as error:
        log.warning(
            "searching statements for words will read every item, as there can be no index now"
            " (%s); when a superuser has run CREATE EXTENSION pg_trgm, run case-server migrate",
            error,
        )
        return False
    return True
