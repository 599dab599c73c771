"""The pool: prepared statements on or off, and how long anybody waits for a connection."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text

from case_server.case.resources import ITEMS
from case_server.db.database import Database
from case_server.db.statement import Statement
from case_server.db.visible import one
from case_server.errors import Unavailable
from case_server.settings import Settings

PREPARED = Statement(text("SELECT count(*) AS kept FROM pg_prepared_statements"))


@pytest.mark.parametrize("prepared", [True, False])
async def test_prepared_statements_are_kept_unless_told_not_to(
    settings: Settings, *, prepared: bool
) -> None:
    changed = settings.model_copy(update={"prepared_statements": prepared, "pool_size": 1})
    async with Database.open(settings.database_url, changed) as database:
        for _ in range(2):
            assert await database.rows(one(ITEMS), identifier="nobody") == []
        found = await database.row(PREPARED)
    assert found is not None
    assert (found["kept"] > 0) is prepared


async def test_nobody_waits_long_for_a_connection(settings: Settings) -> None:
    changed = settings.model_copy(update={"pool_size": 1})
    async with Database.open(settings.database_url, changed) as database, database.connection():
        start = time.monotonic()
        with pytest.raises(Unavailable) as told:
            await database.rows(one(ITEMS), identifier="nobody")
        assert time.monotonic() - start < 10
    assert told.value.headers["Retry-After"]


async def test_snapshot_sees_one_moment(settings: Settings, clean: None) -> None:
    count = Statement(text("SELECT count(*) AS total FROM changes"))
    async with (
        Database.open(settings.database_url, settings) as database,
        database.snapshot() as connection,
    ):
        before = await connection.fetchval(count.sql)
        insert = "INSERT INTO changes (kind, identifier, operation) VALUES ('x', 'x', 'create')"
        await asyncio.wait_for(database.rows(Statement(text(insert))), 10)
        assert await connection.fetchval(count.sql) == before
        found = await database.row(count)
    assert found is not None
    assert found["total"] == before + 1
