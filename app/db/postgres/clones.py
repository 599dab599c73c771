"""Clones of the main database, which a server in test mode uses.

Postgres copies a database file by file, including its indexes, which is faster than inserting the
rows again. Clones are on the same server and named after the main database, which is cloned once
and never written.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from ...database_url import parse_database_url
from ...exceptions import CommandError, ServiceUnavailable
from ..connector import AnyConnection, Pool, create_pool, open_connection
from ..driver_errors import CONNECT_ERRORS, map_errors_to_unavailable
from ..pool import Database
from ..schema import tables

log = logging.getLogger("case_server")

MAX_PREFIX_BYTES = 40
"""Maximum length of the main database's name in names of clones; Postgres allows 63 bytes."""

MAX_CONNECTIONS = 4
"""Maximum number of databases created or dropped at a time."""

MAX_BACKGROUND_DROPS = 2
"""Maximum number of clones dropped at a time, so that others can be created meanwhile."""

DISCONNECT_TIMEOUT_SECONDS = 5
"""Maximum wait for other clients to disconnect, such as a command that has just ended."""

PRIVILEGES = (
    "SELECT current_user AS role, rolcreatedb OR rolsuper AS can_create, "
    "rolsuper OR pg_has_role(datdba, 'USAGE') AS is_owner, "
    "(SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass('documents') "
    "AND NOT (rolsuper OR pg_has_role(relowner, 'USAGE'))) AS table_owner "
    "FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
)
OTHER_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
    # For connections of other roles, the view shows no backend_type.
    "AND coalesce(backend_type, 'client backend') = 'client backend'"
)
PRESERVED_TABLES = {"signing_keys", "revoked_tokens", "clients", "client_secrets", "feed_history"}
"""Tables that ``delete_all_frameworks`` keeps, so that clients and their tokens stay valid."""


async def require_clonable_database(url: str) -> None:
    """Raise ``CommandError``, with instructions, unless test mode can clone the database.

    Cloning needs a role that owns the database and has CREATEDB, and no other connected client.
    """
    async with open_connection(url) as connection:
        await _require_clonable(connection)


async def _require_clonable(connection: AnyConnection) -> None:
    row = await connection.fetchrow(PRIVILEGES)
    assert row is not None
    role, database = row["role"], await connection.fetchval("SELECT current_database()")
    remedies = [] if row["can_create"] else [f'ALTER ROLE "{role}" CREATEDB']
    if not row["is_owner"]:
        remedies.append(f'ALTER DATABASE "{database}" OWNER TO "{role}"')
    if row["table_owner"]:  # another role, quoted already
        remedies.append(f'GRANT {row["table_owner"]} TO "{role}"')
    if remedies:
        raise CommandError(
            f"test mode clones the database, which the role {role} may not do: "
            f"run {' and '.join(remedies)} as an administrator"
        )
    for _ in range(DISCONNECT_TIMEOUT_SECONDS * 10):
        if not await connection.fetchval(OTHER_CONNECTIONS):
            return
        await asyncio.sleep(0.1)
    raise CommandError(
        "test mode clones the database at startup, but other clients are connected to it: stop "
        "them, or use another database (CASE_SERVER_DATABASE_URL, CASE_SERVER_DATA_DIR)"
    )


class DatabaseCloner:
    """Creates and drops clones of a main database, so that tests can write without sharing data.

    Each namespace of test mode uses one clone.
    """

    def __init__(self, pool: Pool, url: str, main: str) -> None:
        self._pool = pool
        self._url = parse_database_url(url)
        self.main = main
        if len(main.encode()) > MAX_PREFIX_BYTES:
            main = hashlib.sha256(main.encode()).hexdigest()[:MAX_PREFIX_BYTES]
        self._prefix = f"{main}_clone_"
        self._drops: set[asyncio.Task[None]] = set()
        self._drop_slots = asyncio.Semaphore(MAX_BACKGROUND_DROPS)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[DatabaseCloner]:
        """Return a context manager that yields a ``DatabaseCloner`` of the database at ``url``.

        On entry, it drops clones left behind by a server that was killed; on exit, all clones.
        Raises ``CommandError`` if the database cannot be cloned.
        """
        async with create_pool(url, min_size=1, max_size=MAX_CONNECTIONS) as pool:
            async with pool.acquire() as connection:
                await _require_clonable(connection)
                main = await connection.fetchval("SELECT current_database()")
            cloner = cls(pool, url, main)
            await cloner._drop_all()
            try:
                yield cloner
            finally:
                await cloner.wait_for_drops()
                with suppress(ServiceUnavailable, *CONNECT_ERRORS):
                    # If Postgres has already stopped, the next start drops them.
                    await cloner._drop_all()

    def get_url(self, name: str) -> str:
        """Return the connection URL of the clone with this name."""
        return self._url.with_database(name)

    async def clone(self, template: str) -> str:
        """Clone the database named ``template``, and return the name of the clone.

        Postgres requires that nothing is connected to ``template``.
        """
        name = self._prefix + secrets.token_hex(6)
        with map_errors_to_unavailable(*CONNECT_ERRORS):
            await self._pool.execute(f"CREATE DATABASE {_quote(name)} TEMPLATE {_quote(template)}")
            # A clone is temporary, so its writes need not wait for the disk.
            await self._pool.execute(f"ALTER DATABASE {_quote(name)} SET synchronous_commit = off")
        return name

    def drop_in_background(self, name: str) -> None:
        """Terminate all connections to a database clone and drop it, both in the background."""
        # DROP DATABASE waits for a checkpoint, which writes every clone created since the last one
        # to disk: with fsync on, 7 s after four clones, 26 s after more.
        task = asyncio.create_task(self._drop_with_limit(name))
        self._drops.add(task)
        task.add_done_callback(self._drops.discard)

    async def wait_for_drops(self) -> None:
        """Wait until all clones passed to ``drop_in_background`` are dropped."""
        await asyncio.gather(*self._drops)

    async def _drop_with_limit(self, name: str) -> None:
        async with self._drop_slots:
            try:
                await self._drop(name)
            except ServiceUnavailable as error:
                # It is dropped when this server stops, or when the next one starts.
                log.warning("could not drop the database %s: %s", name, error)

    async def _drop(self, name: str) -> None:
        drop = f"DROP DATABASE IF EXISTS {_quote(name)}"
        with map_errors_to_unavailable(*CONNECT_ERRORS):
            try:
                await self._pool.execute(f"{drop} WITH (FORCE)")
            except asyncpg.InsufficientPrivilegeError:
                # A role that is no superuser may not end autovacuum by FORCE, but Postgres itself
                # ends it for a DROP without FORCE.
                await self._pool.execute(drop)

    async def _drop_all(self) -> None:
        # The exact pattern of names, because a user may have a database called app_clone_2.
        pattern = f"^{re.escape(self._prefix)}[0-9a-f]{{12}}$"
        rows = await self._pool.fetch("SELECT datname FROM pg_database WHERE datname ~ $1", pattern)
        # Each drop waits for a checkpoint; concurrent ones share it.
        await asyncio.gather(*(self._drop(row["datname"]) for row in rows))


async def delete_all_frameworks(database: Database) -> None:
    """Delete all frameworks in a database, but keep signing keys, clients and revoked tokens."""
    names = [_quote(name) for name in tables.metadata.tables if name not in PRESERVED_TABLES]
    async with database.connection() as connection:
        await connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")


def _quote(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
