"""Transactions of writes that a dry run only tries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..connector import Connection


class _DryRunRollback(Exception):
    """Raised to roll back the transaction of a dry run."""


@asynccontextmanager
async def write_transaction(
    connection: Connection, *, dry_run: bool, **options: Any
) -> AsyncIterator[None]:
    """Return a context manager that runs its block in a transaction; it yields nothing.

    With ``dry_run``, the transaction is rolled back at the end of the block. ``options`` are those
    of ``connection.transaction``, such as the isolation level.
    """
    with suppress(_DryRunRollback):
        async with connection.transaction(**options):
            yield
            if dry_run:
                raise _DryRunRollback
