"""Databases copied from one another: what test mode works on, and the states it can go back to.

Postgres copies a database file by file, indexes and all, which is faster than filling its tables
again. A copy stands beside the main database on the same server and is named after it; the main
one is copied once and never written.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import asyncpg

from ...database_url import parse
from ...exceptions import ServiceUnavailable, StartupError
from ..connector import connection_to, create_pool
from ..driver_errors import CONNECT_ERRORS, unavailable_on
from ..pool import Database
from ..schema import tables

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

log = logging.getLogger("case_server")

LONGEST_NAME = 40
"""Bytes of a database's name that leave room for the end of a copy's; Postgres reads 63."""

CONNECTIONS = 4
"""How many databases may be made or dropped at a time."""

MAX_BACKGROUND_DROPS = 2
"""How many copies are dropped at a time in the background, so that others can be made meanwhile."""

SECONDS_TO_LEAVE = 5
"""How long connections to the main database may take to go; those of other commands linger."""

RIGHTS = (
    "SELECT current_user AS role, rolcreatedb OR rolsuper AS creates, "
    "rolsuper OR pg_has_role(datdba, 'USAGE') AS owns, "
    "(SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass('documents') "
    "AND NOT (rolsuper OR pg_has_role(relowner, 'USAGE'))) AS stranger "
    "FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
)
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
    # Of other roles' connections nothing more is told.
    "AND coalesce(backend_type, 'client backend') = 'client backend'"
)
PRESERVED_TABLES = {"signing_keys", "revoked_tokens", "clients", "client_secrets", "feed_history"}
"""What is not a framework, so that clients and their tokens outlive it."""


async def require_clonable(url: str) -> None:
    """Raise ``StartupError`` where the database at ``url`` cannot be copied."""
    async with connection_to(url) as connection:
        await _refuse(connection)


async def _refuse(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    rights = await connection.fetchrow(RIGHTS)
    assert rights is not None
    role, database = rights["role"], await connection.fetchval("SELECT current_database()")
    remedies = [] if rights["creates"] else [f'ALTER ROLE "{role}" CREATEDB']
    if not rights["owns"]:
        remedies.append(f'ALTER DATABASE "{database}" OWNER TO "{role}"')
    if rights["stranger"]:  # whose tables they are, if not ours; quoted already
        remedies.append(f'GRANT {rights["stranger"]} TO "{role}"')
    if remedies:
        raise StartupError(
            f"test mode copies the database, which the role {role} may not: "
            f"run {' and '.join(remedies)} as an administrator"
        )
    for _ in range(SECONDS_TO_LEAVE * 10):
        if not await connection.fetchval(OTHERS):
            return
        await asyncio.sleep(0.1)
    raise StartupError(
        "test mode copies the database when it starts, and others are connected to it: stop "
        "them, or name another database (CASE_SERVER_DATABASE_URL, CASE_SERVER_DATA_DIR)"
    )


class DatabaseCloner:
    """The copies of one main database."""

    def __init__(self, pool: Pool, url: str, main: str) -> None:
        self._pool = pool
        self._url = parse(url)
        self.main = main
        self._prefix = f"{_short(self.main)}_clone_"
        self._discarding: set[asyncio.Task[None]] = set()
        self._background = asyncio.Semaphore(MAX_BACKGROUND_DROPS)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[DatabaseCloner]:
        """Connect to the main database; every copy is dropped at the end.

        Those of a server that was killed are dropped now. Raises ``StartupError`` where the
        database cannot be copied.
        """
        async with create_pool(url, min_size=1, max_size=CONNECTIONS) as pool:
            async with pool.acquire() as connection:
                await _refuse(cast("Any", connection))
                main = await connection.fetchval("SELECT current_database()")
            copies = cls(pool, url, main)
            await copies._drop_all()
            try:
                yield copies
            finally:
                await copies.wait_for_drops()
                with suppress(ServiceUnavailable, *CONNECT_ERRORS):
                    # Where the database is gone before us, the next start does this.
                    await copies._drop_all()

    def url(self, name: str) -> str:
        """Where a copy is."""
        return self._url.with_database(name)

    async def clone(self, template: str) -> str:
        """The name of a new database like ``template``, to which nobody may be connected."""
        name = self._prefix + secrets.token_hex(6)
        with unavailable_on(*CONNECT_ERRORS):
            await self._pool.execute(
                f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}"
            )
            # It is thrown away in the end, so nothing in it need wait for the disk.
            await self._pool.execute(f"ALTER DATABASE {_quoted(name)} SET synchronous_commit = off")
        return name

    def drop_later(self, name: str) -> None:
        """Drop a copy in the background, whoever is connected to it.

        DROP DATABASE waits for a checkpoint, and that for the disk to have every copy that was made
        since the last one: 7 s after four copies, 26 s after more, with fsync on.
        """
        task = asyncio.create_task(self._discard(name))
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    async def wait_for_drops(self) -> None:
        """Wait until every copy that was discarded is dropped."""
        await asyncio.gather(*self._discarding)

    async def _discard(self, name: str) -> None:
        async with self._background:
            try:
                await self._drop(name)
            except ServiceUnavailable as error:
                # It is dropped when this server ends, or when the next one starts.
                log.warning("could not drop the database %s: %s", name, error)

    async def _drop(self, name: str) -> None:
        with unavailable_on(*CONNECT_ERRORS):
            await self._pool.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    async def _drop_all(self) -> None:
        # Only what is named exactly as copies are: somebody may call a database app_clone_2.
        pattern = f"^{re.escape(self._prefix)}[0-9a-f]{{12}}$"
        found = await self._pool.fetch(
            "SELECT datname FROM pg_database WHERE datname ~ $1", pattern
        )
        # Each waits for a checkpoint, and those that wait at once for the same one.
        await asyncio.gather(*(self._drop(row["datname"]) for row in found))


async def truncate_all(database: Database) -> None:
    """Take everything out of a database but who may come in."""
    names = [_quoted(name) for name in tables.metadata.tables if name not in PRESERVED_TABLES]
    async with database.connection() as connection:
        await connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _short(name: str) -> str:
    raw = name.encode()
    return name if len(raw) <= LONGEST_NAME else hashlib.sha256(raw).hexdigest()[:LONGEST_NAME]
