"""Locks that outlive a transaction: whoever holds one is alone with what it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Text, bindparam, func, literal_column, select

from .statement import CompiledStatement

if TYPE_CHECKING:
    from .pool import Connection


@asynccontextmanager
async def advisory_lock(connection: Connection, name: str) -> AsyncIterator[None]:
    """Keep out everybody else who asks for the same name, until the block ends.

    To be taken before a transaction, whose view of the data is as old as its first statement.
    """
    await _run(connection, _lock(), name)
    try:
        yield
    except asyncio.CancelledError:
        # Nothing can be awaited now; the lock goes with its connection.
        connection.terminate()
        raise
    except Exception:
        await _run(connection, _unlock(), name)
        raise
    else:
        await _run(connection, _unlock(), name)


async def _run(connection: Connection, statement: CompiledStatement, name: str) -> None:
    await connection.execute(statement.sql, *statement.bind({"name": name}))


@cache
def _key() -> ColumnElement[int]:
    return func.hashtextextended(bindparam("name", type_=Text), literal_column("0"))


@cache
def _lock() -> CompiledStatement:
    return CompiledStatement(select(func.pg_advisory_lock(_key())))


@cache
def _unlock() -> CompiledStatement:
    return CompiledStatement(select(func.pg_advisory_unlock(_key())))
