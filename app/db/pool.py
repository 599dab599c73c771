"""The connection pool of one process: acquire, release, read timeouts, write retries.

Statements run on asyncpg directly and are prepared once per connection. Connections have no session
state but ``SESSION``, so a release resets nothing. Behind a pooler in transaction mode there is no
session: a connection is acquired together with a transaction, which has the same settings.

If Postgres is unavailable, overloaded or shutting down, every method raises ``ServiceUnavailable``
(503) after at most a few seconds.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from typing import Any, Literal, TypeAlias, TypeVar

import asyncpg
from asyncpg.transaction import Transaction

from ..database_url import parse_database_url
from ..exceptions import QueryTimeout, RecoveryConflict, ServiceUnavailable
from ..settings import Settings
from .connector import (
    CLOSE_TIMEOUT_SECONDS,
    Connection,
    Pool,
    connect,
    create_pool,
    is_open,
    is_out_of_file_descriptors,
    terminate,
)
from .driver_errors import (
    CONNECT_ERRORS,
    CONNECTION_LOST,
    LOCK_TIMEOUT_SECONDS,
    POOLED_RETRYABLE,
    RETRYABLE,
    map_errors_to_unavailable,
    to_service_unavailable,
)
from .locks import advisory_lock
from .semaphore import STALLED_TIMEOUT_SECONDS, TimeoutSemaphore
from .statement import CompiledStatement, QueryEstimate
from .synchronous_commit import (
    COMMIT_CHECK_SECONDS,
    COMMIT_TIMEOUT_SECONDS,
    CommitMonitor,
    make_unconfirmed_commit_error,
)
from .timeouts import TICK_SECONDS, LoopClock, ReadDeadline, loop_timeout

Result = TypeVar("Result")

SLOW_READ_SECONDS = 1.0
"""Duration from which a heavy read counts as slow. While a quarter of the pool runs slow reads,
further ones are cancelled when they become slow: with a million items and four slow filters at
once, none of them ended within the read timeout, and all other lists got 503."""

SILENCE_SECONDS = 0.5
"""If no statement has returned for this time, check whether Postgres responds at all."""

CHECK_TIMEOUT_SECONDS = 2.0
"""Time that Postgres has to respond to this check. With one second, tests on two cores with a load
of 12 to 15 got 503 although Postgres was only slow."""

POOLER_CHECK_TIMEOUT_SECONDS = 6.0
"""The same behind a pooler, where the check may have to wait for a free connection, too."""

MAX_IDLE_SECONDS = 60.0
"""Interval at which idle connections return to asyncpg's pool, which closes unused ones."""

MAX_WRITE_ATTEMPTS = 8

RECOVERY_CONFLICT_PAUSES_SECONDS = (0.0, 0.1, 0.5)
"""Pauses before a read is tried again whose rows a standby had to remove."""

SESSION = {
    # A write bases its decisions on one snapshot; on a conflict it is tried again.
    "default_transaction_isolation": "repeatable read",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS:g}s",
}
"""Settings of Postgres for every connection of the pool."""

Isolation: TypeAlias = Literal["repeatable_read", "read_committed"]


async def _skip_connection_reset(_: Any) -> None:
    """Do nothing: replaces the reset that asyncpg runs when a connection returns to the pool.

    No reset is needed, because connections have no session state.
    """


class AcquireContext:
    """Context manager that acquires a connection from the pool and releases it on exit.

    Behind a pooler, the block is a transaction. A block that writes must pass ``isolation``, its
    isolation level; waits for locks are then limited by the lock timeout. ``is_heavy`` is as in
    ``Database.acquire``.
    """

    # A class, because a generator would cost three times as much.
    __slots__ = ("_connection", "_database", "_is_heavy", "_isolation", "_transaction")

    def __init__(
        self, database: Database, *, is_heavy: bool = False, isolation: Isolation | None = None
    ) -> None:
        self._database, self._is_heavy, self._isolation = database, is_heavy, isolation
        self._transaction: Transaction | None = None

    async def __aenter__(self) -> Connection:
        """Acquire a connection of asyncpg and return it, inside a transaction behind a pooler.

        Raises ``ServiceUnavailable`` if no connection becomes free in time.
        """
        self._connection = await self._database.acquire(is_heavy=self._is_heavy)
        if self._database.is_pooled:
            try:
                await self._begin()
            except BaseException as error:
                await self.__aexit__(None, error, None)
                raise
        return self._connection

    async def _begin(self) -> None:
        isolation = self._isolation or "repeatable_read"
        transaction = self._connection.transaction(isolation=isolation)
        await transaction.start()
        self._transaction = transaction
        if self._isolation:
            await self._connection.execute(self._database.local_settings)

    async def _end_transaction(self, error: BaseException | None) -> BaseException | None:
        """Commit the transaction, or roll it back if the block raised ``error``.

        Returns the error to handle: ``error`` itself, or the commit's error, or None if all
        succeeded. If the block was cancelled or timed out, closes the connection without a
        rollback.
        """
        assert self._transaction
        if isinstance(error, QueryTimeout | asyncio.CancelledError):
            terminate(self._connection)  # because a rollback would wait for the statement
            return error
        try:
            async with loop_timeout(COMMIT_TIMEOUT_SECONDS):
                await (self._transaction.rollback() if error else self._transaction.commit())
        except asyncio.CancelledError as cancelled:
            terminate(self._connection)
            return cancelled
        except TimeoutError:
            return error or make_unconfirmed_commit_error()
        except CONNECT_ERRORS as failure:
            return error or failure
        return error

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Release the connection; behind a pooler, first commit the transaction or roll it back.

        Raises ``ServiceUnavailable`` if the block failed because the database became unavailable or
        a write conflicted with another, or if no standby confirmed the commit. Other errors pass
        unchanged.
        """
        if self._transaction:
            block_error, error = error, await self._end_transaction(error)
            if error is not block_error and not isinstance(error, CONNECTION_LOST):
                # If the commit was cancelled, Postgres still has to end its wait.
                self._database.release_after_cancel(self._connection)
                assert error
                raise error
        if error is None:
            self._database.release(self._connection)
            if self._database.unconfirmed:
                self._database.commit_monitor.require_confirmation(self._connection)
            return
        if isinstance(error, QueryTimeout):
            # The client does not wait for Postgres to cancel the statement, which may take long.
            self._database.release_after_cancel(self._connection)
            return
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            # After a failover this server is a standby; a new connection finds the primary.
            terminate(self._connection)
        await self._database.release_after_error(self._connection)
        if isinstance(error, CONNECTION_LOST) and not isinstance(error, asyncpg.DataError):
            raise to_service_unavailable(error) from error


class Database:
    """A pool of connections to one Postgres database, through which all SQL statements run.

    Reads have a timeout, and writes are retried after conflicts.
    """

    def __init__(
        self,
        pool: Pool,
        size: int,
        url: str,
        session: Mapping[str, str],
        read_timeout: float | None,
    ) -> None:
        self._pool, self._url = pool, url
        self.local_settings = "; ".join(
            f"SET LOCAL {name} = '{value}'"
            for name, value in session.items()
            if name != "default_transaction_isolation"  # BEGIN sets it
        )
        """The SQL statements that give the settings of a session to one transaction."""
        self.commit_monitor = CommitMonitor(url, self._list_possible_commits)
        self.unconfirmed = self.commit_monitor.unconfirmed
        """The same set, here because every release looks at it."""
        self.is_pooled = parse_database_url(url).is_pooled is True
        self.is_standby = False
        """True if the server is a standby, as last read by ``ReplicationMonitor``."""
        self._clock = LoopClock()
        self._semaphore = TimeoutSemaphore(size, self._clock)
        self._heavy_read_semaphore = TimeoutSemaphore(max(1, size // 2), self._clock)
        self._read_timeout = read_timeout
        self._read_deadlines: set[ReadDeadline] = set()
        self._heavy_read_deadlines: set[ReadDeadline] = set()
        self._max_slow_reads = max(1, size // 4)
        self._background_releases: set[asyncio.Task[None]] = set()
        self._idle: list[Connection] = []
        """Released connections, which the next ``acquire`` takes without asyncpg's pool.

        That pool starts a task for each release and sets a timer. Acquire and release take 2 us of
        CPU instead of 14. With a small SELECT between them it is 58 us instead of 89 on an idle
        machine and 36 instead of 76 on a busy one (uvloop, medians of 25 rounds).
        """
        self._borrowed: dict[Connection, tuple[float, bool]] = {}
        """The acquired connections: the time of ``_clock`` then, and whether for a heavy read."""
        self._contended: Counter[str] = Counter()
        self._last_answer = -math.inf
        self._is_unreachable = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, settings: Settings, *, read_timeout: float | None = None
    ) -> AsyncIterator[Database]:
        """Return a context manager that connects to a database and yields its ``Database``.

        On exit, it closes all connections. ``settings`` contains the pool size and options of
        connections. ``read_timeout`` is in seconds; CLI commands pass None for no timeout. Raises
        ``ServiceUnavailable`` if it cannot connect.
        """
        is_pooled = parse_database_url(url).is_pooled
        session = SESSION
        if settings.synchronous_commit:
            session = SESSION | {"synchronous_commit": settings.synchronous_commit}
        with map_errors_to_unavailable(*CONNECT_ERRORS):
            pool = await create_pool(
                url,
                min_size=1,
                max_size=settings.pool_size,
                timeout=STALLED_TIMEOUT_SECONDS,
                statement_cache_size=1024 if settings.prepared_statements else 0,
                max_cached_statement_lifetime=0,
                reset=_skip_connection_reset,
                session={} if is_pooled else session,
            )
        database = cls(pool, settings.pool_size, url, session, read_timeout)
        monitors = [
            asyncio.create_task(database._enforce_timeouts()),
            asyncio.create_task(database._monitor_responsiveness()),
            asyncio.create_task(database.commit_monitor.run()),
        ]
        try:
            yield database
        finally:
            for task in monitors:
                task.cancel()
            await database._release_idle()
            # After the timeout, asyncpg ends the connections without waiting for Postgres.
            with suppress(TimeoutError):
                async with loop_timeout(CLOSE_TIMEOUT_SECONDS):
                    await pool.close()

    def connection(self) -> AcquireContext:
        """Return a context manager that acquires a connection from the pool for its block."""
        return AcquireContext(self)

    async def acquire(self, *, is_heavy: bool = False) -> Connection:
        """Acquire a connection from the pool; the caller must release it.

        Set ``is_heavy`` for a read that may take a long time, such as a list or search. At most
        half of the pool runs such reads, so that the other half can answer quick ones. Raises
        ``ServiceUnavailable`` if no connection becomes free in time, or Postgres is unreachable.
        """
        # Not map_errors_to_unavailable, because a generator would take a third of the time.
        try:
            if not is_heavy:
                return await self._acquire(is_heavy=False)
            self._require_reachable()
            await self._heavy_read_semaphore.acquire()
            try:
                return await self._acquire(is_heavy=True)
            except BaseException:
                self._heavy_read_semaphore.release()
                raise
        except CONNECT_ERRORS as error:
            raise to_service_unavailable(error) from error

    async def _acquire(self, *, is_heavy: bool) -> Connection:
        self._require_reachable()
        await self._semaphore.acquire()
        try:
            self._require_reachable()
            connection = await self._take_connection(is_heavy=is_heavy)
        except BaseException as error:
            self._semaphore.release()
            is_silent = self._clock.time() - self._last_answer > STALLED_TIMEOUT_SECONDS
            if isinstance(error, TimeoutError) and is_silent:
                self._is_unreachable = True  # so that the other waiters fail at once
            raise
        self._borrowed[connection] = (self._clock.time(), is_heavy)
        return connection

    def _require_reachable(self) -> None:
        if self._is_unreachable:
            raise ConnectionRefusedError("Postgres did not answer the last check")

    async def _take_connection(self, *, is_heavy: bool) -> Connection:
        """Return an open connection that is idle, or else one of asyncpg's pool, which may connect.

        With ``is_heavy``, one idle connection is left for other reads if the pool can open another.
        """
        # While the pool can open another connection, a heavy read leaves one idle for quick ones,
        # because connecting takes longer than a client waits while heavy reads use all processors.
        can_open = len(self._idle) <= self._semaphore.free
        reserved = 1 if is_heavy and can_open else 0
        while len(self._idle) > reserved:
            connection = self._idle.pop()
            if is_open(connection):
                return connection
            await self._pool.release(connection)
        # The permit guarantees that one is free, so this waits only if it has to connect.
        return await self._pool.acquire()

    def release(self, connection: Connection) -> None:
        """Return a connection to the pool once its SQL statements have succeeded.

        After an error, use ``release_after_error``.
        """
        self._last_answer = self._clock.time()
        self._idle.append(connection)
        self._release_permits(connection)

    async def release_after_error(self, connection: Connection) -> None:
        """Release a connection on which a SQL statement has failed, to asyncpg's pool.

        Unlike ``release``, this does not keep the connection ready for the next acquire: asyncpg's
        pool discards it if it is closed, and waits for a cancelled statement to end.
        """
        self.unconfirmed.discard(connection)
        try:
            # This waits for a cancelled statement, during which Postgres may stop responding.
            await self._pool.release(connection)
        finally:
            self._release_permits(connection)

    def _release_permits(self, connection: Connection) -> None:
        _, is_heavy = self._borrowed.pop(connection)
        self._semaphore.release()
        if is_heavy:
            self._heavy_read_semaphore.release()

    def release_after_cancel(self, connection: Connection) -> None:
        """Release a connection whose SQL statement was cancelled, in a background task.

        The task waits until Postgres has ended the statement, so that the caller need not wait for
        it.
        """
        task = asyncio.create_task(self._release_quietly(connection))
        self._background_releases.add(task)
        task.add_done_callback(self._background_releases.discard)

    async def _release_quietly(self, connection: Connection) -> None:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self.release_after_error(connection)

    async def _release_idle(self) -> None:
        while self._idle:
            await self._pool.release(self._idle.pop())

    def _list_borrowed_before(self, time: float) -> list[Connection]:
        return [
            connection
            for connection, (borrowed_at, _) in self._borrowed.items()
            if borrowed_at < time
        ]

    def _list_possible_commits(self) -> list[Connection]:
        """List the connections whose commit may be waiting for a standby.

        There are none on a standby, nor behind a pooler, where ``AcquireContext`` limits the time
        of a commit.
        """
        if self.is_pooled or self.is_standby:
            return []
        return self._list_borrowed_before(self._clock.time() - COMMIT_CHECK_SECONDS)

    async def _enforce_timeouts(self) -> None:
        """Periodically cancel the reads and the waits for a connection that have timed out."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._clock.advance()
            now = self._clock.time()
            self._semaphore.expire_waiters()
            self._heavy_read_semaphore.expire_waiters()
            for deadline in [*self._read_deadlines, *self._heavy_read_deadlines]:
                if deadline.expires_at < now:
                    deadline.cancel_read()
            slow_since = now - SLOW_READ_SECONDS
            slow_deadlines = [
                read_deadline
                for read_deadline in self._heavy_read_deadlines
                if read_deadline.started_at < slow_since
            ]
            # The oldest may go on, because they are the nearest to their end.
            slow_deadlines.sort(key=lambda read_deadline: read_deadline.started_at)
            for read_deadline in slow_deadlines[self._max_slow_reads :]:
                read_deadline.cancel_read(SLOW_READ_SECONDS)

    async def _monitor_responsiveness(self) -> None:
        """Close the connections in use if Postgres accepts new connections but never replies.

        A slow SQL statement is no proof of this, so the task opens a new connection to check
        whether Postgres replies. Also returns idle connections to asyncpg's pool once a minute.
        """
        last_idle_release = time.monotonic()
        while True:
            await asyncio.sleep(SILENCE_SECONDS / 2)
            if time.monotonic() - last_idle_release > MAX_IDLE_SECONDS:
                await self._release_idle()
                last_idle_release = time.monotonic()
            cutoff = self._clock.time() - SILENCE_SECONDS
            waiting_connections = self._list_borrowed_before(cutoff)
            if self._is_unreachable or (waiting_connections and self._last_answer < cutoff):
                is_responding = await self._is_server_responding()
                self._is_unreachable = not is_responding and self._last_answer < cutoff
            if self._is_unreachable:
                waiting_connections = [
                    connection for connection in waiting_connections if connection in self._borrowed
                ]
                # Idle ones, too: after a failover, they would lead to a server without an answer.
                for connection in filter(is_open, (*waiting_connections, *self._idle)):
                    connection.terminate()

    async def _is_server_responding(self) -> bool:
        """Return whether Postgres responds to a new connection, even if with an error."""
        try:
            connection = await connect(self._url, max_timeout=CHECK_TIMEOUT_SECONDS)
            try:
                if self.is_pooled:
                    # The pooler itself accepts connections, even if Postgres does not respond.
                    async with loop_timeout(POOLER_CHECK_TIMEOUT_SECONDS):
                        await connection.execute("SELECT 1")
            finally:
                connection.terminate()
        except asyncpg.PostgresError:
            return True
        except CONNECT_ERRORS as error:
            # Without a file descriptor to connect with, the state of Postgres is unknown.
            return is_out_of_file_descriptors(error)
        return True

    @asynccontextmanager
    async def open_snapshot(self, *, is_heavy: bool = False) -> AsyncIterator[Connection]:
        """Return a context manager that opens a read-only transaction and yields its connection.

        All queries of the transaction see the same snapshot of the database, so they fit together.
        Set ``is_heavy`` if they may take a long time; see ``acquire``.
        """
        async with (
            AcquireContext(self, is_heavy=is_heavy) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def fetch_one(self, statement: CompiledStatement, **values: Any) -> asyncpg.Record | None:
        """Run a quick query and return its first row, or None. Raises ``QueryTimeout``."""
        rows = await self._fetch(statement, values)
        return rows[0] if rows else None

    async def fetch_all(self, statement: CompiledStatement, **values: Any) -> list[asyncpg.Record]:
        """Run a quick query, such as an index lookup, and return its rows. Raises ``QueryTimeout``.

        For queries that may take a long time, use ``run_heavy_read``.
        """
        return await self._fetch(statement, values)

    async def run_heavy_read(
        self, statement: CompiledStatement, **values: Any
    ) -> list[asyncpg.Record]:
        """Run a query that may take a long time, such as a list, filter or search; return its rows.

        Such queries use at most half of the connections, so that the other half can answer requests
        for single entities. Queries that take longer than ``SLOW_READ_SECONDS`` use at most a
        quarter, so that quick lists do not wait for them. Raises ``QueryTimeout``.
        """
        return await self._fetch(statement, values, is_heavy=True)

    async def estimate(self, statement: CompiledStatement, **values: Any) -> QueryEstimate:
        """Return the planner's estimates for a query with these values, without running it.

        Raises ``QueryTimeout``.
        """
        ((plan,),) = await self._fetch(statement.build_explain_statement(), values)
        return QueryEstimate.from_plan(plan)

    async def _fetch(
        self, statement: CompiledStatement, values: dict[str, Any], *, is_heavy: bool = False
    ) -> list[asyncpg.Record]:
        pauses = iter(RECOVERY_CONFLICT_PAUSES_SECONDS)
        while True:
            try:
                async with AcquireContext(self, is_heavy=is_heavy) as connection:
                    with self.limit_read_time(is_heavy=is_heavy):
                        return await connection.fetch(statement.sql, *statement.bind(values))
            except RecoveryConflict:
                if (pause := next(pauses, None)) is None:
                    raise
                await asyncio.sleep(pause)

    def limit_read_time(self, *, is_heavy: bool = False) -> AbstractContextManager[None]:
        """Return a context manager that raises ``QueryTimeout`` after the read timeout.

        Pass ``is_heavy`` if the connection was acquired with ``is_heavy``. Without a read timeout,
        the block is not limited.
        """
        if self._read_timeout is None:
            return nullcontext()
        deadlines = self._heavy_read_deadlines if is_heavy else self._read_deadlines
        return ReadDeadline(deadlines, self._read_timeout, self._clock)

    async def run_write(self, statement: CompiledStatement, **values: Any) -> asyncpg.Record | None:
        """Run a SQL statement that writes and commits by itself; return its first row or None.

        It has no timeout and is not retried. ``values`` are its parameters by name.
        """
        async with AcquireContext(self, isolation="repeatable_read") as connection:
            rows = await statement.fetch_all(connection, **values)
        return rows[0] if rows else None

    async def run_write_with_retry(
        self,
        write: Callable[[Connection], Awaitable[Result]],
        lock_name: str,
        *,
        isolation: Isolation = "repeatable_read",
    ) -> Result:
        """Call ``write`` with a connection, again after each conflict, and return its result.

        After a conflict, all writes with the same ``lock_name`` run one at a time, because they
        would only conflict again. ``isolation`` is the isolation level of the transactions that
        ``write`` starts. Raises ``ServiceUnavailable`` after ``MAX_WRITE_ATTEMPTS``.
        """
        if self.is_pooled:
            return await self._run_pooled_write(write, lock_name, isolation)
        async with self.connection() as connection:
            failed_attempts = 0
            if lock_name not in self._contended:
                with suppress(*RETRYABLE):
                    return await write(connection)
                failed_attempts = 1
            with self._serialize_writes(lock_name):
                async with advisory_lock(connection, lock_name):
                    for attempt in range(failed_attempts + 1, MAX_WRITE_ATTEMPTS):
                        with suppress(*RETRYABLE):
                            return await write(connection)
                        pause = random.uniform(0, 0.01) * 2**attempt  # noqa: S311  no secret
                        await asyncio.sleep(pause)
                    return await write(connection)

    async def _run_pooled_write(
        self, write: Callable[[Connection], Awaitable[Result]], lock_name: str, isolation: Isolation
    ) -> Result:
        """Run ``write`` with retries behind a pooler, one transaction for each attempt.

        A retry takes the advisory lock ``lock_name`` in its transaction, because a pooler has no
        sessions that could hold it. Retries for ``LOCK_TIMEOUT_SECONDS``, then raises
        ``ServiceUnavailable``.
        """
        give_up_at = time.monotonic() + LOCK_TIMEOUT_SECONDS
        attempt = int(lock_name in self._contended)
        with ExitStack() as stack:
            while True:
                try:
                    async with AcquireContext(self, isolation=isolation) as connection:
                        if not attempt:
                            return await write(connection)
                        async with advisory_lock(connection, lock_name):
                            return await write(connection)
                except ServiceUnavailable as error:
                    is_conflict = isinstance(error.__cause__, POOLED_RETRYABLE)
                    if not is_conflict or time.monotonic() > give_up_at:
                        raise
                if not attempt:
                    stack.enter_context(self._serialize_writes(lock_name))
                await asyncio.sleep(random.uniform(0, 0.01) * 2 ** min(attempt, 4))  # noqa: S311  no secret
                attempt += 1

    @contextmanager
    def _serialize_writes(self, lock_name: str) -> Iterator[None]:
        """Return a context manager that makes other writes take the lock at their first attempt.

        Otherwise, ``run_write_with_retry`` takes the lock ``lock_name`` only after a conflict.
        While a write retries, more writes without the lock would only conflict with it.
        """
        self._contended[lock_name] += 1
        try:
            yield
        finally:
            self._contended[lock_name] -= 1
            if not self._contended[lock_name]:
                del self._contended[lock_name]
