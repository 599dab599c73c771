"""Outages of Postgres: crash, freeze, no connections, read-only, no disk space.

A full disk requires permission to mount one; without it, ``temp_file_limit`` is used instead, whose
error is of the same class.
"""

from __future__ import annotations

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
from support.databases import dsn

from stress.cluster import Cluster, wait_until
from stress.small_disks import NotAllowed, filled, small_disk

READ, WRITE, SORT = "read", "write", "sort"


@asynccontextmanager
async def stopped(cluster: Cluster) -> AsyncIterator[None]:
    """Crash Postgres during a block."""
    await asyncio.to_thread(cluster.stop)
    yield
    await asyncio.to_thread(cluster.start)


@asynccontextmanager
async def frozen(cluster: Cluster) -> AsyncIterator[None]:
    """Suspend Postgres during a block: it does not respond, but connections stay open."""
    with cluster.frozen():
        yield


@asynccontextmanager
async def closed(cluster: Cluster) -> AsyncIterator[None]:
    """Terminate all connections and reject new ones during a block."""
    async with admin_connection(cluster) as sql:
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS false")
        await _terminate_connections(sql)
        yield
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS true")


@asynccontextmanager
async def out_of_connections(cluster: Cluster) -> AsyncIterator[None]:
    """Use up all connections of Postgres during a block."""
    async with admin_connection(cluster) as sql, AsyncExitStack() as stack:
        # Closed meanwhile, because the server would reconnect before all are taken.
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS false")
        await _terminate_connections(sql)
        refused = 0
        while refused < 5:  # a connection that is closing frees one more
            try:
                taken = await asyncpg.connect(_admin_url(cluster), timeout=5)
            except asyncpg.TooManyConnectionsError:
                refused += 1
                await asyncio.sleep(0.1)
            else:
                refused = 0
                stack.push_async_callback(taken.close, timeout=5)
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS true")
        yield


@asynccontextmanager
async def read_only(cluster: Cluster) -> AsyncIterator[None]:
    """Make the database read-only during a block, like a standby."""
    async with admin_connection(cluster) as sql:
        await sql.execute("ALTER DATABASE case_server SET default_transaction_read_only = on")
        await _terminate_connections(sql)
        yield
        await sql.execute("ALTER DATABASE case_server RESET default_transaction_read_only")
        await _terminate_connections(sql)


@asynccontextmanager
async def no_space(cluster: Cluster) -> AsyncIterator[None]:
    """Leave no disk space for temporary files, and too little memory to sort without them."""
    async with admin_connection(cluster) as sql:
        with full_for_temporary_files(cluster) as disk:
            setting = "temp_file_limit = 0"
            if disk:
                await sql.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
                setting = "temp_tablespaces = small"
            await sql.execute(f"ALTER DATABASE case_server SET {setting}")
            await sql.execute("ALTER DATABASE case_server SET work_mem = '64kB'")
            await _terminate_connections(sql)
            with filled(disk.parent) if disk else nullcontext():
                yield
            await sql.execute("ALTER DATABASE case_server RESET ALL")
            await _terminate_connections(sql)
            if disk:
                await sql.execute("DROP TABLESPACE small")


@contextmanager
def full_for_temporary_files(cluster: Cluster) -> Iterator[Path | None]:
    """Yield a directory on a small disk, or None without permission to mount."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(cluster.folder / "small", 4))
        except NotAllowed:
            yield None
        else:
            yield cluster.make_folder(disk / "temporary")


@asynccontextmanager
async def locked(cluster: Cluster) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Lock the tables; yield a function that unlocks them."""
    async with cluster.sql() as sql:
        await sql("BEGIN")
        await sql("LOCK TABLE items, documents, packages IN ACCESS EXCLUSIVE MODE")
        yield partial(sql, "ROLLBACK")


Fault: TypeAlias = Callable[[Cluster], AbstractAsyncContextManager[None]]

FAULTS: dict[str, tuple[Fault, set[str], bool]] = {
    "stopped": (stopped, {READ, WRITE}, True),
    "frozen": (frozen, {READ, WRITE}, True),
    "closed": (closed, {READ, WRITE}, True),
    "out of connections": (out_of_connections, {READ, WRITE}, True),
    "read-only": (read_only, {WRITE}, False),
    "no space": (no_space, {SORT}, False),
}
"""Each outage with the requests it affects and whether ``/ready`` returns 503."""


@asynccontextmanager
async def admin_connection(cluster: Cluster) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Connect to another database, which the outages do not affect."""
    connection = await asyncpg.connect(_admin_url(cluster), timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


def _admin_url(cluster: Cluster) -> str:
    return dsn(cluster.url).rsplit("/", 1)[0] + "/postgres"


async def _terminate_connections(sql: asyncpg.Connection[Any]) -> None:
    """Terminate all connections that exist now; the pool replaces its first one at once."""
    began = await sql.fetchval("SELECT clock_timestamp()")
    condition = (
        "datname = 'case_server' AND backend_type = 'client backend' AND backend_start <= $1"
    )

    async def are_terminated() -> bool:
        # Repeated, because a connection may just have been starting.
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {condition}"
        return not await sql.fetch(end, began)

    await wait_until(are_terminated, 20, "all connections are terminated")
