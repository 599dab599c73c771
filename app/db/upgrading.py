"""A database at the schema that this release needs, or a word on what to run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from .. import __version__
from ..errors import StartupError
from . import schema
from .database import dsn
from .feed import continue_history

Result = TypeVar("Result")


def bring_up_to_date(url: str, *, allowed: bool, asked: bool) -> None:
    """Migrate the database at ``url``, if it needs that and is allowed to be.

    ``asked``: whether somebody said to do so. Raises ``StartupError``.
    """
    revision, needed = asyncio.run(_with(url, schema.current)), schema.needed()
    # Who asks for it also gets what Postgres could not have when the schema was made.
    if asked or revision != needed:
        _migrate(url, revision, needed, allowed=allowed)
    asyncio.run(_with(url, continue_history))


def _migrate(url: str, revision: str | None, needed: str, *, allowed: bool) -> None:
    if revision is not None and not schema.is_known(revision):
        raise StartupError(
            f"the database is at schema {revision}, which case-server {__version__} does not "
            "know: it is newer; upgrade case-server"
        )
    if not allowed:
        state = f"is at schema {revision}" if revision else "has no schema yet"
        raise StartupError(
            f"the database {state}, and {needed} is needed; run: case-server migrate"
        )
    from . import migrating  # noqa: PLC0415  it costs a fifth of a start, which seldom needs it

    migrating.migrate(url)


async def _with(url: str, ask: Callable[[Any], Awaitable[Result]]) -> Result:
    """What a connection of its own answers."""
    try:
        connection = await asyncpg.connect(dsn(url), timeout=10)
    except (OSError, OverflowError, asyncpg.PostgresError) as error:
        raise StartupError(
            f"no database answers at CASE_SERVER_DATABASE_URL: {str(error) or type(error).__name__}"
        ) from error
    try:
        return await ask(connection)
    finally:
        await connection.close()
