"""The pool of connections of one process, and what a request may do with one.

Statements run on asyncpg directly, prepared once per connection. Connections carry no session
state, so giving one back resets nothing. When Postgres is away, full or going down, whoever asks
gets ``Unavailable``, not a stack trace and not a long wait.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from ..exceptions import ReadTimeout
from .connector import connect, create_pool, is_out_of_files
from .driver_errors import CONNECT_ERRORS, CONNECTION_LOST, RETRYABLE, unavailable, unavailable_on
from .locks import advisory_lock
from .wait_queue import STALLED_TIMEOUT_SECONDS, WaitQueue

if TYPE_CHECKING:
    from ..settings import Settings
    from .statement import CompiledStatement

    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

Result = TypeVar("Result")

log = logging.getLogger("case_server")

SECONDS_TO_ANSWER = 0.5
"""After how long without an answer it is asked whether Postgres still answers anybody."""

SECONDS_TO_PROVE_IT = 1.0
"""How long a new connection may take to show that."""

SECONDS_TO_KEEP = 60.0
"""After how long the connections nobody uses are given back to the pool, which may end them."""

LOCK_TIMEOUT = "10s"
"""How long a write waits for another that holds what it needs."""

ATTEMPTS = 8
"""How often a write is tried before its client is told to come again."""


SESSION = {
    # What a write decides on is what it then finds, or it is tried again.
    "default_transaction_isolation": "repeatable read",
    "lock_timeout": LOCK_TIMEOUT,
}
"""Postgres' settings for every connection of the pool."""


def dsn(url: str) -> str:
    """Return the URL with the scheme that asyncpg reads, whatever driver it names."""
    _, separator, rest = url.partition("://")
    return f"postgresql{separator}{rest}"


async def _keep(_: Any) -> None:
    """Nothing on these connections is session state, so nothing is reset."""


def _is_open(connection: Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # it was cut off, and the pool took it back
        return False


class AcquireContext:
    """A connection for as long as a block lasts. A class, as a generator costs three times it."""

    __slots__ = ("_connection", "_database", "_limit")

    def __init__(self, database: Database, limit: WaitQueue | None = None) -> None:
        self._database, self._limit = database, limit

    async def __aenter__(self) -> Connection:
        """Raises ``Unavailable``."""
        self._connection = await self._database.acquire(self._limit)
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Raises ``Unavailable`` for an error that another try may not meet."""
        if error is None:
            self._database.release(self._connection, self._limit)
            return
        if isinstance(error, ReadTimeout):
            # The client does not wait for Postgres to cancel the statement, which may take long.
            self._database.release_after_cancel(self._connection, self._limit)
            return
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            # After a failover this server is a standby; the next connection finds the primary.
            self._connection.terminate()
        await self._database.release_to_pool(self._connection, self._limit)
        if isinstance(error, CONNECTION_LOST) and not isinstance(error, asyncpg.DataError):
            raise unavailable(error) from error


class Database:
    """A pool of connections to one Postgres."""

    def __init__(self, pool: Pool, size: int, url: str, read_timeout: float | None = None) -> None:
        self._pool, self._url = pool, url
        self._line = WaitQueue(size)
        self._scan_limit = WaitQueue(max(1, size // 2))
        self.read_timeout = read_timeout
        """Seconds that a statement which reads may take; None for commands, which have no client
        that waits."""
        self._released: set[asyncio.Task[None]] = set()
        self._kept: list[Connection] = []
        self._in_use: dict[Connection, float] = {}
        self._met: Counter[str] = Counter()
        self._answered = 0.0
        self._away = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, settings: Settings, *, read_timeout: float | None = None
    ) -> AsyncIterator[Database]:
        """Connect; ``Unavailable`` when nothing answers at ``url``."""
        with unavailable_on(*CONNECT_ERRORS):
            pool = await create_pool(
                url,
                min_size=1,
                max_size=settings.pool_size,
                timeout=STALLED_TIMEOUT_SECONDS,
                statement_cache_size=1024 if settings.prepared_statements else 0,
                max_cached_statement_lifetime=0,
                reset=_keep,
                session=SESSION,
            )
        database = cls(pool, settings.pool_size, url, read_timeout)
        lines = (database._line, database._scan_limit)
        watching = [
            asyncio.create_task(work)
            for work in (database._watch(), *(line.watch() for line in lines))
        ]
        try:
            yield database
        finally:
            for task in watching:
                task.cancel()
            await database._let_go()
            await pool.close()

    def connection(self) -> AcquireContext:
        """A connection for as long as the block lasts."""
        return AcquireContext(self)

    def scan_connection(self) -> AcquireContext:
        """Lease a connection for reads that may take long; at most half of the pool at a time."""
        return AcquireContext(self, self._scan_limit)

    async def acquire(self, limit: WaitQueue | None = None) -> Connection:
        """Acquire a connection, within a limit; ``Unavailable`` when none is free in time."""
        if limit is None:
            return await self._take()
        with unavailable_on(*CONNECT_ERRORS):
            self._refuse_if_away()
            await limit.enter()
        try:
            return await self._take(scans=True)
        except BaseException:
            limit.leave()
            raise

    async def _take(self, *, scans: bool = False) -> Connection:
        with unavailable_on(*CONNECT_ERRORS):
            self._refuse_if_away()
            await self._line.enter()
            try:
                self._refuse_if_away()
                connection = await self._open(scans=scans)
            except BaseException as error:
                self._line.leave()
                if isinstance(error, TimeoutError) and self._is_silent(STALLED_TIMEOUT_SECONDS):
                    self._away = True  # those in line need not find out one by one
                raise
        self._in_use[connection] = time.monotonic()
        return connection

    def _is_silent(self, seconds: float) -> bool:
        """Whether no statement was answered for so long."""
        return time.monotonic() - self._answered > seconds

    def _refuse_if_away(self) -> None:
        if self._away:
            raise ConnectionRefusedError("it answered nobody when it was last asked")

    async def _open(self, *, scans: bool) -> Connection:
        """Take an idle connection, or acquire one from the pool (slower: a task and a timer)."""
        # The last idle one is left to single entities where the pool can open another, because
        # connecting takes longer than a client waits while scans use all processors.
        can_open = len(self._kept) <= self._line.free
        spare = 1 if scans and can_open else 0
        while len(self._kept) > spare:
            connection = self._kept.pop()
            if _is_open(connection):
                return connection
            await self._pool.release(connection)
        # One is free, so this does not wait, unless it has to connect first.
        return await self._pool.acquire()

    def release(self, connection: Connection, limit: WaitQueue | None = None) -> None:
        """Release a connection that did what was asked, ready for the next request."""
        self._answered = time.monotonic()
        del self._in_use[connection]
        self._kept.append(connection)
        self._line.leave()
        if limit:
            limit.leave()

    async def release_to_pool(self, connection: Connection, limit: WaitQueue | None = None) -> None:
        """Release a connection of unknown state to the pool, which finds out its state."""
        del self._in_use[connection]
        try:
            await self._pool.release(connection)
        finally:
            self._line.leave()
            if limit:
                limit.leave()

    def release_after_cancel(self, connection: Connection, limit: WaitQueue | None) -> None:
        """Release a connection once Postgres has cancelled its statement."""
        task = asyncio.create_task(self._give_back_cancelled(connection, limit))
        self._released.add(task)
        task.add_done_callback(self._released.discard)

    async def _give_back_cancelled(self, connection: Connection, limit: WaitQueue | None) -> None:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self.release_to_pool(connection, limit)

    async def _let_go(self) -> None:
        """Give all that nobody uses back to the pool."""
        while self._kept:
            await self._pool.release(self._kept.pop())

    async def _watch(self) -> None:
        """Cut off who waits for a Postgres that is there and answers nobody.

        A statement may take long, so time alone says nothing; that a new connection gets no
        answer either does.
        """
        kept_since = time.monotonic()
        while True:
            await asyncio.sleep(SECONDS_TO_ANSWER / 2)
            if time.monotonic() - kept_since > SECONDS_TO_KEEP:
                await self._let_go()
                kept_since = time.monotonic()
            long_ago = time.monotonic() - SECONDS_TO_ANSWER
            waiting = [one for one, since in self._in_use.items() if since < long_ago]
            if self._away or (waiting and self._answered < long_ago):
                self._away = not await self._answers() and self._answered < long_ago
            for connection in waiting if self._away else ():
                if connection in self._in_use:
                    connection.terminate()

    async def _answers(self) -> bool:
        """Whether Postgres answers a new connection, be it with a refusal."""
        try:
            connection = await connect(
                self._url, timeout=SECONDS_TO_PROVE_IT, max_timeout=SECONDS_TO_PROVE_IT
            )
        except asyncpg.PostgresError:
            return True
        except CONNECT_ERRORS as error:
            # Without a file descriptor to ask with, nothing is known of Postgres.
            return is_out_of_files(error)
        connection.terminate()
        return True

    @asynccontextmanager
    async def snapshot(self, *, scans: bool = False) -> AsyncIterator[Connection]:
        """Open a read-only transaction in which every statement sees the same state.

        With ``scans``, the connection is one of ``scan_connection``.
        """
        lease = self.scan_connection() if scans else self.connection()
        async with (
            lease as connection,
            connection.transaction(readonly=True),
        ):
            yield connection

    async def fetch_one(self, statement: CompiledStatement, **values: Any) -> asyncpg.Record | None:
        """Return the first row of a statement that reads. Raises ``ReadTimeout``."""
        async with self.connection() as connection:
            try:
                return await connection.fetchrow(
                    statement.sql, *statement.bind(values), timeout=self.read_timeout
                )
            except TimeoutError as error:
                raise self._too_slow() from error

    async def fetch_all(self, statement: CompiledStatement, **values: Any) -> list[asyncpg.Record]:
        """Return the rows of a statement that an index answers. Raises ``ReadTimeout``."""
        return await self._fetch(self.connection(), statement, values)

    async def scan(self, statement: CompiledStatement, **values: Any) -> list[asyncpg.Record]:
        """Return the rows of a statement that may read much, as lists, filters and searches do.

        At most half of the pool runs such statements, so that the other half answers requests for
        single entities meanwhile. Raises ``ReadTimeout``.
        """
        return await self._fetch(self.scan_connection(), statement, values)

    async def _fetch(
        self, lease: AcquireContext, statement: CompiledStatement, values: dict[str, Any]
    ) -> list[asyncpg.Record]:
        async with lease as connection:
            try:
                return await connection.fetch(
                    statement.sql, *statement.bind(values), timeout=self.read_timeout
                )
            except TimeoutError as error:
                raise self._too_slow() from error

    @contextmanager
    def read_limit(self) -> Iterator[float | None]:
        """Yield the timeout for statements that read, and raise ``ReadTimeout`` for its error."""
        try:
            yield self.read_timeout
        except TimeoutError as error:
            raise self._too_slow() from error

    def _too_slow(self) -> ReadTimeout:
        seconds = self.read_timeout or 0
        log.warning("a read statement took longer than %g s and is cancelled", seconds)
        return ReadTimeout(seconds)

    async def execute(self, statement: CompiledStatement, **values: Any) -> asyncpg.Record | None:
        """Run a statement that writes, without a timeout, and return its first row."""
        async with self.connection() as connection:
            rows = await connection.fetch(statement.sql, *statement.bind(values))
        return rows[0] if rows else None

    async def run_write(
        self, work: Callable[[Connection], Awaitable[Result]], lock_name: str
    ) -> Result:
        """Do ``work`` on a connection; again when it crossed another transaction.

        Then all who met at the same ``name`` do it one after the other: they would only meet again.
        """
        async with self.connection() as connection:
            tried = 0
            if lock_name not in self._met:
                with suppress(*RETRYABLE):
                    return await work(connection)
                tried = 1
            with self._meeting(lock_name):
                async with advisory_lock(connection, lock_name):
                    for attempt in range(tried + 1, ATTEMPTS):
                        with suppress(*RETRYABLE):
                            return await work(connection)
                        pause = random.uniform(0, 0.01) * 2**attempt  # noqa: S311  no secret
                        await asyncio.sleep(pause)
                    return await work(connection)

    @contextmanager
    def _meeting(self, name: str) -> Iterator[None]:
        """While writers meet there, who comes new waits for them and crosses nobody."""
        self._met[name] += 1
        try:
            yield
        finally:
            self._met[name] -= 1
            if not self._met[name]:
                del self._met[name]
