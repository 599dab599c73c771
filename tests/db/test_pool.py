"""The pool: prepared statements, timeouts, connections in a bad state, and retried writes."""

import asyncio
import logging
import os
import resource
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from sqlalchemy import text
from support.databases import SELECT_ADVISORY_LOCKS, Execute
from support.machine_load import measure_lateness

from case_server.case.resources import ITEMS
from case_server.database_url import parse_database_url
from case_server.db.connector import Connection
from case_server.db.locks import advisory_lock
from case_server.db.pool import MAX_WRITE_ATTEMPTS, SESSION, Database
from case_server.db.read.visibility import compile_entity_query
from case_server.db.semaphore import STALLED_TIMEOUT_SECONDS
from case_server.db.statement import CompiledStatement
from case_server.exceptions import QueryTimeout, ServiceUnavailable
from case_server.settings import Settings

PREPARED = CompiledStatement(text("SELECT count(*) AS count FROM pg_prepared_statements"))
BACKEND = CompiledStatement(text("SELECT pg_backend_pid() AS pid"))


@pytest.fixture
async def single(settings: Settings) -> AsyncIterator[Database]:
    """A pool of one connection."""
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:
        yield database


@pytest.mark.parametrize("prepared", [True, False])
async def test_setting_decides_on_prepared_statements(
    settings: Settings, *, prepared: bool
) -> None:
    changed = settings.model_copy(update={"prepared_statements": prepared, "pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:
        for _ in range(2):
            assert await database.fetch_all(compile_entity_query(ITEMS), identifier="missing") == []
        row = await database.fetch_one(PREPARED)
    assert row is not None
    assert (row["count"] > 0) is prepared


async def test_request_gets_503_in_two_seconds_if_no_connection_is_released(
    single: Database,
) -> None:
    async with single.connection(), measure_lateness() as lateness:
        start = time.monotonic()
        with pytest.raises(ServiceUnavailable) as exc_info:
            await single.fetch_all(compile_entity_query(ITEMS), identifier="missing")
        seconds = time.monotonic() - start
    assert seconds < 2 + lateness.seconds
    assert exc_info.value.headers["Retry-After"]


async def test_request_waits_longer_while_connections_are_released(single: Database) -> None:
    async def hold() -> None:
        async with single.connection():
            await asyncio.sleep(1)

    start = time.monotonic()
    # The last of them waits longer than the timeout of a stalled pool.
    await asyncio.gather(*(hold() for _ in range(4)))
    assert time.monotonic() - start > STALLED_TIMEOUT_SECONDS


async def test_cancelled_waiters_take_no_connection(single: Database) -> None:
    async with single.connection():
        waiting = [
            asyncio.create_task(single.fetch_all(compile_entity_query(ITEMS), identifier="x"))
            for _ in range(5)
        ]
        await asyncio.sleep(0.1)
        for task in waiting:
            task.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
    async with asyncio.timeout(5):
        assert await single.fetch_all(compile_entity_query(ITEMS), identifier="x") == []


async def test_statements_of_a_snapshot_see_the_same_state(settings: Settings, clean: None) -> None:
    count = CompiledStatement(text("SELECT count(*) AS total FROM changes"))
    async with (
        Database.open(settings.database_url, settings) as database,
        database.open_snapshot() as connection,
    ):
        before = await connection.fetchval(count.sql)
        insert = "INSERT INTO changes (kind, identifier, operation) VALUES ('x', 'x', 'create')"
        await asyncio.wait_for(database.fetch_all(CompiledStatement(text(insert))), 10)
        assert await connection.fetchval(count.sql) == before
        row = await database.fetch_one(count)
    assert row is not None
    assert row["total"] == before + 1


async def test_idle_connection_that_was_terminated_is_replaced(
    single: Database, execute: Execute
) -> None:
    before = await single.fetch_one(BACKEND)
    assert before is not None
    assert before == await single.fetch_one(BACKEND), "the connection was not reused"
    await execute("SELECT pg_terminate_backend($1, 5000)", before["pid"])
    await asyncio.sleep(0.1)
    after = await single.fetch_one(BACKEND)
    assert after is not None
    assert after["pid"] != before["pid"]


async def test_connection_of_a_cancelled_statement_can_be_used_again(single: Database) -> None:
    slow = asyncio.create_task(
        single.fetch_one(CompiledStatement(text("SELECT pg_sleep(30) AS pid")))
    )
    await asyncio.sleep(0.2)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    row = await single.fetch_one(BACKEND)
    assert row is not None
    assert row["pid"] > 0


@pytest.mark.parametrize("failure", [None, asyncpg.AdminShutdownError("shutting down")])
async def test_connection_is_released_if_transaction_behind_a_pooler_cannot_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    async def fail(_: Transaction) -> None:
        # asyncpg raises it between the message of a terminated server process and its EOF.
        raise asyncpg.InternalClientError("cannot switch to state 15")

    async def run_block() -> None:
        async with database.connection() as connection:
            connection.terminate()
            if failure:
                raise failure

    url = parse_database_url(settings.database_url).with_pooler_parameter()
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(url, changed) as database:
        with monkeypatch.context() as patches:
            patches.setattr(Transaction, "commit", fail)
            patches.setattr(Transaction, "rollback", fail)
            with pytest.raises(ServiceUnavailable):
                await run_block()
        assert await database.fetch_one(BACKEND)


@pytest.mark.parametrize("is_pooled", [True, False])
@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), QueryTimeout(1), asyncpg.ReadOnlySQLTransactionError("read-only")],
    ids=lambda error: type(error).__name__,
)
async def test_connection_that_was_terminated_meanwhile_is_released(
    settings: Settings, error: BaseException, *, is_pooled: bool
) -> None:
    async def run_block() -> None:
        async with database.connection() as connection:
            connection.terminate()  # as if Postgres had stopped responding
            raise error

    url = settings.database_url
    url = parse_database_url(url).with_pooler_parameter() if is_pooled else url
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(url, changed) as database:
        with pytest.raises((asyncio.CancelledError, ServiceUnavailable)):
            await run_block()
        assert await database.fetch_one(BACKEND)


async def test_cancelled_holder_of_a_lock_stays_cancelled_if_its_connection_is_terminated(
    single: Database,
) -> None:
    async def hold() -> None:
        async with single.connection() as connection, advisory_lock(connection, LOCK_NAME):
            connection.terminate()
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await hold()
    assert await single.fetch_one(BACKEND)


async def test_connection_to_server_that_became_read_only_is_replaced(single: Database) -> None:
    async def write() -> None:
        async with single.connection() as connection:
            await connection.execute("SET default_transaction_read_only = on")
            await connection.execute("CREATE TABLE refused ()")

    before = await single.fetch_one(BACKEND)
    with pytest.raises(ServiceUnavailable):
        await write()
    after = await single.fetch_one(BACKEND)
    assert before is not None
    assert after is not None
    assert after["pid"] != before["pid"]


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Leave this process without a free file descriptor."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        files = [stack.enter_context(Path(os.devnull).open())]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files[0].fileno() + 20, before[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        with suppress(OSError):
            while True:
                files.append(stack.enter_context(Path(os.devnull).open()))
        yield


async def test_503_without_a_file_descriptor_names_the_limit(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    changed = settings.model_copy(update={"pool_size": 2})
    async with Database.open(settings.database_url, changed) as database:
        async with database.connection():
            with no_file_descriptors(), pytest.raises(ServiceUnavailable) as exc_info:
                await database.fetch_all(compile_entity_query(ITEMS), identifier="missing")
            assert exc_info.value.status == 503
            assert "file descriptors" in exc_info.value.description
            assert "database" not in exc_info.value.description
            assert exc_info.value.headers["Retry-After"]
            (message,) = [record.getMessage() for record in caplog.records]
            assert "ulimit -n" in message
        assert await database.fetch_all(compile_entity_query(ITEMS), identifier="missing") == []


async def test_slow_statement_survives_lack_of_file_descriptors(settings: Settings) -> None:
    async with Database.open(settings.database_url, settings) as database:
        await database.fetch_one(BACKEND)
        with no_file_descriptors():
            row = await database.fetch_one(
                CompiledStatement(text("SELECT pg_sleep(3)::text AS pid"))
            )
    assert row is not None


LOCK_NAME = "a lock"


def hold_lock(settings: Settings, is_locked: threading.Event, is_done: threading.Event) -> None:
    """Hold an advisory lock until ``is_done`` is set, in an event loop of its own."""

    async def hold() -> None:
        async with (
            Database.open(settings.database_url, settings) as database,
            database.connection() as connection,
            advisory_lock(connection, LOCK_NAME),
        ):
            is_locked.set()
            is_done.wait()

    asyncio.run(hold())


async def test_lock_granted_to_a_cancelled_task_is_released(
    settings: Settings, database_url: str, execute: Execute
) -> None:
    direct = settings.model_copy(update={"database_url": database_url})
    is_locked, is_done = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold_lock, args=(direct, is_locked, is_done))
    holder.start()
    is_locked.wait()

    async with Database.open(database_url, direct) as database:

        async def wait_for_lock() -> None:
            async with database.connection() as connection, advisory_lock(connection, LOCK_NAME):
                await asyncio.sleep(60)

        task = asyncio.create_task(wait_for_lock())
        waiting = f"{SELECT_ADVISORY_LOCKS} AND NOT granted"
        while not await execute(waiting):  # noqa: ASYNC110  no event
            await asyncio.sleep(0.01)
        is_done.set()
        # The event loop does not read the response of Postgres before the task is cancelled.
        holder.join()
        time.sleep(0.2)  # noqa: ASYNC251
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            while await execute(SELECT_ADVISORY_LOCKS):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_lost_connection_is_reported_with_its_reason(
    settings: Settings, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with an InterfaceError of the rollback or of the statement that would unlock."""
    direct = settings.model_copy(update={"database_url": database_url})
    async with Database.open(database_url, direct) as database:
        with pytest.raises(ServiceUnavailable, match="ConnectionDoesNotExistError"):
            async with (
                database.connection() as connection,
                advisory_lock(connection, LOCK_NAME),
                connection.transaction(),
            ):
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert "due to administrator command" in caplog.text


@pytest.mark.parametrize("is_advisory", [True, False], ids=["advisory", "row"])
async def test_write_that_waits_too_long_for_a_lock_names_the_other_write(
    settings: Settings,
    database_url: str,
    execute: Execute,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    is_advisory: bool,
) -> None:
    monkeypatch.setitem(SESSION, "lock_timeout", "100ms")
    direct = settings.model_copy(update={"database_url": database_url})
    await execute("INSERT INTO revisions VALUES ('locked', 0, now()) ON CONFLICT DO NOTHING")

    async def write(connection: Connection) -> None:
        async with AsyncExitStack() as stack:
            if is_advisory:
                await stack.enter_async_context(advisory_lock(connection, LOCK_NAME))
            await connection.execute("UPDATE revisions SET version = 1 WHERE scope = 'locked'")

    async with Database.open(database_url, direct) as database:
        async with database.connection() as connection, AsyncExitStack() as stack:
            if is_advisory:
                await stack.enter_async_context(advisory_lock(connection, LOCK_NAME))
            else:
                await stack.enter_async_context(connection.transaction())
                await write(connection)
            with pytest.raises(ServiceUnavailable) as exc_info:
                await database.run_write_with_retry(write, "another lock")
        await database.run_write_with_retry(write, "another lock")
    assert exc_info.value.description == (
        "waited 10 s for another transaction, probably a write of the same framework or entity "
        "that is still running; retry later"
    )
    assert exc_info.value.headers["Retry-After"]
    assert "database unavailable" not in caplog.text
    assert all(record.levelno < logging.WARNING for record in caplog.records)


CONFLICT = """
DO $$ BEGIN
RAISE EXCEPTION 'conflict' USING ERRCODE = '{}';
END $$"""


@pytest.mark.parametrize("code", ["40001", "40P01"], ids=["serialization", "deadlock"])
async def test_write_is_retried_on_conflict_then_gets_503(settings: Settings, code: str) -> None:
    attempts: list[str] = []

    async with Database.open(settings.database_url, settings) as database:

        async def write_with_conflicts(count: int) -> int:
            attempts.clear()

            async def write(connection: Any) -> int:
                attempts.append("")
                if len(attempts) <= count:
                    await connection.execute(CONFLICT.format(code))
                return len(attempts)

            return await database.run_write_with_retry(write, "lock name")

        assert await write_with_conflicts(0) == 1
        assert await write_with_conflicts(1) == 2
        assert await write_with_conflicts(3) == 4
        with pytest.raises(ServiceUnavailable) as exc_info:
            await write_with_conflicts(1000)
    assert len(attempts) == MAX_WRITE_ATTEMPTS
    assert exc_info.value.description == (
        "the write conflicted with other writes each time it was tried; retry later"
    )
    assert exc_info.value.headers["Retry-After"]
