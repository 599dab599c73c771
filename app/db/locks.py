"""Advisory locks of Postgres, held by a session, or by a transaction behind a pooler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from sqlalchemy import Text, bindparam, func, literal_column, select

from .connector import Connection, terminate
from .statement import CompiledStatement

_KEY = func.hashtextextended(bindparam("name", type_=Text), literal_column("0"))
LOCK = CompiledStatement(select(func.pg_advisory_lock(_KEY)))
TRY_LOCK = CompiledStatement(select(func.pg_try_advisory_xact_lock(_KEY)))
UNLOCK = CompiledStatement(select(func.pg_advisory_unlock(_KEY)))


@asynccontextmanager
async def advisory_lock(connection: Connection, name: str) -> AsyncIterator[None]:
    """Wait for the Postgres advisory lock with this name, and hold it during the block.

    Acquire the lock before a transaction starts. Otherwise the transaction's snapshot, which is
    taken at its first SQL statement, may be older than the lock. Raises
    ``asyncpg.LockNotAvailableError`` after the session's lock timeout.

    Behind a pooler in transaction mode, acquire the lock inside a transaction, whose end releases
    it, because a session could unlock on another server process. If the lock is not free,
    ``LockNotAvailableError`` is raised at once: the caller then retries with a newer snapshot, and
    no server process of the pooler is blocked by waiting.
    """
    if connection.is_in_transaction():
        if not await TRY_LOCK.fetch_value(connection, name=name):
            raise asyncpg.LockNotAvailableError(f"another transaction has locked {name!r}")
        yield
        return
    try:
        await LOCK.execute(connection, name=name)
        try:
            yield
        except Exception:
            await UNLOCK.execute(connection, name=name)
            raise
        else:
            await UNLOCK.execute(connection, name=name)
    except asyncio.CancelledError:
        # A cancelled task should not wait, and the lock may have been granted to it meanwhile.
        # Postgres releases the lock when the connection ends.
        terminate(connection)
        raise


@asynccontextmanager
async def advisory_locks(connection: Connection, *names: str) -> AsyncIterator[None]:
    """Return a context manager that holds the advisory locks ``names``; see ``advisory_lock``.

    It acquires the locks in alphabetical order and each only once, because callers with different
    orders could deadlock.
    """
    async with AsyncExitStack() as stack:
        for name in sorted(set(names)):
            await stack.enter_async_context(advisory_lock(connection, name))
        yield
