"""The trigram index of item statements, which exists only if Postgres offers ``pg_trgm``.

It is not part of the schema version, because the extension may not be installed, or the owner of
the database not allowed to create it. Without it, results are the same, but searches read every
item.
"""

from __future__ import annotations

import logging
import re

import asyncpg
from sqlalchemy import Table

from ...query.fields import QueryableField
from ..connector import open_connection
from .tables import items

log = logging.getLogger("case_server")

INDEXED_FIELD = (items, ("fullStatement",))
"""The table and field path that the index covers: GET CFItems?filter=fullStatement~'…'."""

INDEX_NAME = "ix_items_statement_trigrams"

_HAS_TRIGRAM = re.compile(r"[^\W_]{3}")

_CREATE = f"""
    CREATE INDEX {INDEX_NAME} ON items USING gin (lower(body ->> 'fullStatement') gin_trgm_ops)
    WHERE deleted_at IS NULL"""


def should_use_like(table: Table, field: QueryableField, text: str) -> bool:
    """Return whether to search for a substring in a field with LIKE instead of ``strpos``.

    LIKE can use the trigram index of item statements. In these, this returns False for a ``text``
    without three consecutive letters or digits, because Postgres might read the whole index and all
    items.
    """
    return (table, field.path) != INDEXED_FIELD or _HAS_TRIGRAM.search(text) is not None


def build_like_pattern(text: str) -> str:
    """Return the LIKE pattern for strings that contain ``text``.

    The wildcards ``%`` and ``_`` in ``text`` are escaped, so that they match only themselves.
    """
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


INDEX_ERRORS = (
    asyncpg.InsufficientPrivilegeError,
    # The extension is not installed; the error depends on the version of Postgres.
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedFileError,
    # It is installed in a schema that is not on the search path.
    asyncpg.UndefinedObjectError,
    # Another transaction held a lock on the table for too long.
    asyncpg.LockNotAvailableError,
)
"""Errors after which the server works without the index."""


async def create_trigram_index(url: str) -> bool:
    """Create the trigram index for substring search in item statements if it does not exist.

    ``url`` is the URL of the database. Returns whether the index exists now. If it cannot be
    created, for example because the extension ``pg_trgm`` is unavailable, logs a warning and
    returns False.
    """
    try:
        async with open_connection(url) as connection:
            # As for migrations: one server at a time, and short waits for other locks.
            await connection.execute("SELECT pg_advisory_lock(hashtext('case-server migrations'))")
            await connection.execute("SET lock_timeout = '5s'")
            if not await connection.fetchval("SELECT to_regclass($1)", INDEX_NAME):
                async with connection.transaction():
                    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                    await connection.execute(_CREATE)
    except INDEX_ERRORS as error:
        log.warning(
            "filters on words of statements will read every item, because the trigram index could"
            " not be created (%s): as a superuser, run CREATE EXTENSION pg_trgm, then run"
            " case-server migrate",
            error,
        )
        return False
    return True
