"""Outages of Postgres: crash, freeze, no connections, read-only, no disk space.

A full disk requires permission to mount one; without it, ``temp_file_limit`` is used instead, whose
error is of the same class.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
from support.databases import Connection, open_connection, to_asyncpg_url

from stress.cluster import Cluster, wait_until
from stress.small_disks import MountNotAllowed, fill_disk, mount_small_disk

READ, WRITE, SORT = "read", "write", "sort"


@asynccontextmanager
async def crash_postgres(cluster: Cluster) -> AsyncIterator[None]:
    """Simulate a Postgres crash: stop Postgres during a ``with`` block, then start it again."""
    await asyncio.to_thread(cluster.stop)
    yield
    await asyncio.to_thread(cluster.start)


@asynccontextmanager
async def freeze_postgres(cluster: Cluster) -> AsyncIterator[None]:
    """Suspend Postgres during a ``with`` block: connections stay open but get no response."""
    with cluster.freeze():
        yield


@asynccontextmanager
async def reject_connections(cluster: Cluster) -> AsyncIterator[None]:
    """Close all connections to the database and reject new ones during a ``with`` block."""
    async with _altered(cluster, "ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"):
        yield


@asynccontextmanager
async def exhaust_connections(cluster: Cluster) -> AsyncIterator[None]:
    """Use up all Postgres connections in a ``with`` block, so that the server cannot get one."""
    # This connection stays open, because closing it would free one for the server.
    async with open_admin_connection(cluster) as sql, AsyncExitStack() as stack:
        # Closed meanwhile, because the server would reconnect before all are taken.
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS false")
        await _terminate_connections(sql)
        refused_count = 0
        while refused_count < 5:  # a connection that is closing frees one more
            try:
                connection = await asyncpg.connect(_admin_url(cluster), timeout=5)
            except asyncpg.TooManyConnectionsError:
                refused_count += 1
                await asyncio.sleep(0.1)
            else:
                refused_count = 0
                stack.push_async_callback(connection.close, timeout=5)
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS true")
        yield


@asynccontextmanager
async def make_read_only(cluster: Cluster) -> AsyncIterator[None]:
    """Make the database read-only during a ``with`` block, like a standby."""
    name = "default_transaction_read_only"
    async with _altered(cluster, f"SET {name} = on", f"RESET {name}"):
        yield


@asynccontextmanager
async def exhaust_temporary_space(cluster: Cluster) -> AsyncIterator[None]:
    """Exhaust Postgres' disk space for temporary files during a ``with`` block.

    Its memory for sorting is reduced to 64 kB, so that large sorts need temporary files and fail.
    """
    async with open_admin_connection(cluster) as sql:
        with mount_temporary_directory(cluster) as disk:
            setting = "temp_file_limit = 0"
            if disk:
                await sql.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
                setting = "temp_tablespaces = small"
            await sql.execute(f"ALTER DATABASE case_server SET {setting}")
            await sql.execute("ALTER DATABASE case_server SET work_mem = '64kB'")
            await _terminate_connections(sql)
            with fill_disk(disk.parent) if disk else nullcontext():
                yield
            await sql.execute("ALTER DATABASE case_server RESET ALL")
            await _terminate_connections(sql)
            if disk:
                await sql.execute("DROP TABLESPACE small")


@contextmanager
def mount_temporary_directory(cluster: Cluster) -> Iterator[Path | None]:
    """Mount a file system of 4 MB, and yield a directory on it for Postgres' temporary files.

    A test fills it up. Yields None if this process may not mount it.
    """
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(mount_small_disk(cluster.folder / "small", 4))
        except MountNotAllowed:
            yield None
        else:
            yield cluster.make_directory(disk / "temporary")


@asynccontextmanager
async def lock_tables(cluster: Cluster) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Lock the tables, so that all requests wait; yield a function that releases the locks."""
    async with cluster.connect_as_admin() as sql:
        await sql("BEGIN")
        await sql("LOCK TABLE items, documents, packages IN ACCESS EXCLUSIVE MODE")
        yield partial(sql, "ROLLBACK")


Fault: TypeAlias = Callable[[Cluster], AbstractAsyncContextManager[None]]

FAULTS: dict[str, tuple[Fault, set[str], bool]] = {
    "stopped": (crash_postgres, {READ, WRITE}, True),
    "frozen": (freeze_postgres, {READ, WRITE}, True),
    "closed": (reject_connections, {READ, WRITE}, True),
    "out of connections": (exhaust_connections, {READ, WRITE}, True),
    "read-only": (make_read_only, {WRITE}, False),
    "no space": (exhaust_temporary_space, {SORT}, False),
}
"""The faults by name: each with the requests it affects and whether ``/ready`` then returns 503."""


def open_admin_connection(cluster: Cluster) -> AbstractAsyncContextManager[Connection]:
    """Connect to the database ``postgres``, which stays available while faults are injected."""
    return open_connection(_admin_url(cluster), timeout=10)


@asynccontextmanager
async def _altered(cluster: Cluster, change: str, undo: str) -> AsyncIterator[None]:
    """Alter the database during a block, for new connections only."""
    async with open_admin_connection(cluster) as sql:
        await sql.execute(f"ALTER DATABASE case_server {change}")
        await _terminate_connections(sql)
        yield
        await sql.execute(f"ALTER DATABASE case_server {undo}")
        await _terminate_connections(sql)


def _admin_url(cluster: Cluster) -> str:
    return to_asyncpg_url(cluster.url).rsplit("/", 1)[0] + "/postgres"


async def _terminate_connections(connection: Connection) -> None:
    """Terminate the current connections to ``case_server``, but not those that are opened next."""
    began = await connection.fetchval("SELECT clock_timestamp()")
    condition = (
        "datname = 'case_server' AND backend_type = 'client backend' AND backend_start <= $1"
    )

    async def are_terminated() -> bool:
        # Repeated, because a connection may just have been starting.
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {condition}"
        return not await connection.fetch(end, began)

    await wait_until(are_terminated, 20, "all connections are terminated")
