"""The pool: prepared statements on or off, and how long anybody waits for a connection."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from case_server.case.resources import ITEMS
from case_server.db.pool import MAX_WRITE_ATTEMPTS, STALLED_TIMEOUT_SECONDS, Database
from case_server.db.read.visibility import select_entity
from case_server.db.statement import CompiledStatement
from case_server.exceptions import ServiceUnavailable
from case_server.settings import Settings

PREPARED = CompiledStatement(text("SELECT count(*) AS kept FROM pg_prepared_statements"))
BACKEND = CompiledStatement(text("SELECT pg_backend_pid() AS pid"))


@pytest.mark.parametrize("prepared", [True, False])
async def test_prepared_statements_are_kept_unless_told_not_to(
    settings: Settings, *, prepared: bool
) -> None:
    changed = settings.model_copy(update={"prepared_statements": prepared, "pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:
        for _ in range(2):
            assert await database.fetch_all(select_entity(ITEMS), identifier="nobody") == []
        found = await database.fetch_one(PREPARED)
    assert found is not None
    assert (found["kept"] > 0) is prepared


async def test_nobody_waits_long_for_a_connection(settings: Settings) -> None:
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, changed) as database, database.connection():
        start = time.monotonic()
        with pytest.raises(ServiceUnavailable) as told:
            await database.fetch_all(select_entity(ITEMS), identifier="nobody")
        assert time.monotonic() - start < 10
    assert told.value.headers["Retry-After"]


async def test_who_waits_in_a_line_that_moves_is_not_turned_away(settings: Settings) -> None:
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:

        async def hold() -> None:
            async with database.connection():
                await asyncio.sleep(1)

        begun = time.monotonic()
        # The last of them waits for longer than anybody does in a line that stands.
        await asyncio.gather(*(hold() for _ in range(4)))
        assert time.monotonic() - begun > STALLED_TIMEOUT_SECONDS


async def test_who_gives_up_in_line_takes_no_turn(settings: Settings) -> None:
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:
        async with database.connection():
            waiting = [
                asyncio.create_task(database.fetch_all(select_entity(ITEMS), identifier="x"))
                for _ in range(5)
            ]
            await asyncio.sleep(0.1)
            for task in waiting:
                task.cancel()
            told = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in told)
        assert (
            await asyncio.wait_for(database.fetch_all(select_entity(ITEMS), identifier="x"), 5)
            == []
        )


async def test_snapshot_sees_one_moment(settings: Settings, clean: None) -> None:
    count = CompiledStatement(text("SELECT count(*) AS total FROM changes"))
    async with (
        Database.open(settings.database_url, settings) as database,
        database.snapshot() as connection,
    ):
        before = await connection.fetchval(count.sql)
        insert = "INSERT INTO changes (kind, identifier, operation) VALUES ('x', 'x', 'create')"
        await asyncio.wait_for(database.fetch_all(CompiledStatement(text(insert))), 10)
        assert await connection.fetchval(count.sql) == before
        found = await database.fetch_one(count)
    assert found is not None
    assert found["total"] == before + 1


async def test_a_connection_cut_off_while_nobody_used_it_is_not_given_to_the_next(
    settings: Settings,
) -> None:
    changed = settings.model_copy(update={"pool_size": 1})
    async with (
        Database.open(settings.database_url, changed) as database,
        Database.open(settings.database_url, settings) as other,
    ):
        mine = await database.fetch_one(BACKEND)
        assert mine is not None
        assert mine == await database.fetch_one(BACKEND), "it is kept, not opened anew each time"
        await other.fetch_one(
            CompiledStatement(text(f"SELECT pg_terminate_backend({mine['pid']}, 5000)"))
        )
        await asyncio.sleep(0.1)
        next_one = await database.fetch_one(BACKEND)
        assert next_one is not None
        assert next_one["pid"] != mine["pid"]


async def test_a_connection_that_was_left_in_the_middle_is_whole_for_the_next(
    settings: Settings,
) -> None:
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:
        slow = asyncio.create_task(
            database.fetch_one(CompiledStatement(text("SELECT pg_sleep(30) AS pid")))
        )
        await asyncio.sleep(0.2)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        found = await database.fetch_one(BACKEND)
    assert found is not None
    assert found["pid"] > 0


async def test_connection_to_a_server_that_became_read_only_is_not_used_again(
    settings: Settings,
) -> None:
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:

        async def write() -> None:
            async with database.connection() as connection:
                await connection.execute("SET default_transaction_read_only = on")
                await connection.execute("CREATE TABLE refused ()")

        before = await database.fetch_one(BACKEND)
        with pytest.raises(ServiceUnavailable):
            await write()
        after = await database.fetch_one(BACKEND)
    assert before is not None
    assert after is not None
    assert after["pid"] != before["pid"]


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Leave this process without a free file descriptor."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        opened = [stack.enter_context(Path(os.devnull).open())]
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened[0].fileno() + 20, before[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        with suppress(OSError):
            while True:
                opened.append(stack.enter_context(Path(os.devnull).open()))
        yield


async def test_request_without_a_file_descriptor_is_answered_503_and_names_the_limit(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    changed = settings.model_copy(update={"pool_size": 2})
    async with Database.open(settings.database_url, changed) as database:
        async with database.connection():
            with no_file_descriptors(), pytest.raises(ServiceUnavailable) as refused:
                await database.fetch_all(select_entity(ITEMS), identifier="nobody")
            assert refused.value.status == 503
            assert "file descriptors" in refused.value.description
            assert "database" not in refused.value.description
            assert refused.value.headers["Retry-After"]
            (line,) = [record.getMessage() for record in caplog.records]
            assert "ulimit -n" in line
        assert await database.fetch_all(select_entity(ITEMS), identifier="nobody") == []


async def test_statement_that_takes_long_is_not_cut_off_for_want_of_file_descriptors(
    settings: Settings,
) -> None:
    async with Database.open(settings.database_url, settings) as database:
        await database.fetch_one(BACKEND)
        with no_file_descriptors():
            row = await database.fetch_one(
                CompiledStatement(text("SELECT pg_sleep(3)::text AS pid"))
            )
    assert row is not None


CROSSES = """
DO $$ BEGIN
RAISE EXCEPTION 'met another' USING ERRCODE = '{}';
END $$"""


@pytest.mark.parametrize("code", ["40001", "40P01"], ids=["serialisation", "deadlock"])
async def test_who_meets_another_tries_again_and_is_told_to_come_again(
    settings: Settings, code: str
) -> None:
    tried: list[str] = []

    async with Database.open(settings.database_url, settings) as database:

        async def meets(times: int) -> int:
            tried.clear()

            async def work(connection: Any) -> int:
                tried.append("")
                if len(tried) <= times:
                    await connection.execute(CROSSES.format(code))
                return len(tried)

            return await database.run_write(work, "a name")

        assert await meets(0) == 1
        assert await meets(1) == 2
        assert await meets(3) == 4
        with pytest.raises(ServiceUnavailable) as told:
            await meets(1000)
    assert len(tried) == MAX_WRITE_ATTEMPTS
    assert told.value.headers["Retry-After"]
