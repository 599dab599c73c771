"""The ways in which Postgres can be away, each made for real.

A disk that is full needs one to be mounted; where that is not allowed, ``temp_file_limit`` takes
its place, whose error is of the same class.
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

from stress.cluster import Cluster, until
from stress.small_disks import NotAllowed, filled, small_disk

READ, WRITE, SORT = "read", "write", "sort"


@asynccontextmanager
async def stopped(cluster: Cluster) -> AsyncIterator[None]:
    """It crashed."""
    await asyncio.to_thread(cluster.stop)
    yield
    await asyncio.to_thread(cluster.start)


@asynccontextmanager
async def frozen(cluster: Cluster) -> AsyncIterator[None]:
    """It is so slow that it does not answer at all; its connections are open."""
    with cluster.frozen():
        yield


@asynccontextmanager
async def closed(cluster: Cluster) -> AsyncIterator[None]:
    """It lets nobody in and throws out who is there."""
    async with elsewhere(cluster) as sql:
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS false")
        await _throw_out(sql)
        yield
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS true")


@asynccontextmanager
async def out_of_connections(cluster: Cluster) -> AsyncIterator[None]:
    """Others have all its connections."""
    async with elsewhere(cluster) as sql, AsyncExitStack() as stack:
        # Closed meanwhile, or the server would be back before the others.
        await sql.execute("ALTER DATABASE case_server ALLOW_CONNECTIONS false")
        await _throw_out(sql)
        refused = 0
        while refused < 5:  # one that is on its way out leaves room for one more
            try:
                taken = await asyncpg.connect(_elsewhere_url(cluster), timeout=5)
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
    """It is a standby now, or its disk is nearly full: it reads, and writes nothing."""
    async with elsewhere(cluster) as sql:
        await sql.execute("ALTER DATABASE case_server SET default_transaction_read_only = on")
        await _throw_out(sql)
        yield
        await sql.execute("ALTER DATABASE case_server RESET default_transaction_read_only")
        await _throw_out(sql)


@asynccontextmanager
async def no_space(cluster: Cluster) -> AsyncIterator[None]:
    """There is no room for temporary files, and no memory to do without."""
    async with elsewhere(cluster) as sql:
        with full_for_temporary_files(cluster) as disk:
            setting = "temp_file_limit = 0"
            if disk:
                await sql.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
                setting = "temp_tablespaces = small"
            await sql.execute(f"ALTER DATABASE case_server SET {setting}")
            await sql.execute("ALTER DATABASE case_server SET work_mem = '64kB'")
            await _throw_out(sql)
            with filled(disk.parent) if disk else nullcontext():
                yield
            await sql.execute("ALTER DATABASE case_server RESET ALL")
            await _throw_out(sql)
            if disk:
                await sql.execute("DROP TABLESPACE small")


@contextmanager
def full_for_temporary_files(cluster: Cluster) -> Iterator[Path | None]:
    """A folder of Postgres on a small disk; none where none may be mounted."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(cluster.folder / "small", 4))
        except NotAllowed:
            yield None
        else:
            yield cluster.make_folder(disk / "temporary")


@asynccontextmanager
async def locked(cluster: Cluster) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Somebody holds every table, so that whoever comes waits, until this is called."""
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
"""What can happen, which requests it hits, and whether /ready says so."""


@asynccontextmanager
async def elsewhere(cluster: Cluster) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection that what happens to the server's database does not touch."""
    connection = await asyncpg.connect(_elsewhere_url(cluster), timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


def _elsewhere_url(cluster: Cluster) -> str:
    return dsn(cluster.url).rsplit("/", 1)[0] + "/postgres"


async def _throw_out(sql: asyncpg.Connection[Any]) -> None:
    """End everybody who came before now; the pool replaces its first connection at once."""
    began = await sql.fetchval("SELECT clock_timestamp()")
    theirs = "datname = 'case_server' AND backend_type = 'client backend' AND backend_start <= $1"

    async def gone() -> bool:
        # Told again each time: somebody may have been on the way in.
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {theirs}"
        return not await sql.fetch(end, began)

    await until(gone, 20, "everybody thrown out")
