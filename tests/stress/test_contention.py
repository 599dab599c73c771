"""Short runs of concurrent writers and of large reads."""

from pathlib import Path

import pytest
from support.databases import Execute
from support.machine_load import measure_slowdown

from stress import contention, load
from stress.cluster import wait_until
from stress.server import create_client, run_server

ROUNDS = 40
"""Enough rounds for every kind of conflict to occur."""
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def test_concurrent_writers_lose_none(database_url: str, tmp_path: Path, clean: None) -> None:
    with run_server(tmp_path, database_url) as live:
        async with create_client(live) as http:
            report = await contention.run_conflicts(http, rounds=2, seed=1)
    assert report.violations == []
    # Concurrent writers wait for one another instead of getting 503.
    assert not any(name.endswith(" 503") for name in report.counts)
    assert report.counts["same item 201"] == 2 * contention.WRITERS


@pytest.mark.slow
async def test_writers_of_one_item_do_not_deadlock(
    database_url: str, tmp_path: Path, clean: None, execute: Execute
) -> None:
    (others,), (before,) = await execute(CONNECTIONS), await execute(DEADLOCKS)

    async def are_closed() -> bool:
        """Postgres counts deadlocks when connections close."""
        return bool((await execute(CONNECTIONS))[0]["count"] <= others["count"])

    with run_server(tmp_path, database_url) as live:
        async with create_client(live) as http:
            report = await contention.run_same_item_conflicts(http, rounds=ROUNDS, seed=1)
    assert report.counts["same item 201"] == ROUNDS * contention.WRITERS
    # Postgres detects a deadlock only after a second.
    await wait_until(are_closed, 10, "every connection of the server is gone")
    assert await execute(DEADLOCKS) == [before]


@pytest.mark.slow
async def test_large_reads_do_not_slow_other_requests() -> None:
    slowdown = measure_slowdown()
    report = await load.run_load(item_count=300, seconds=2, slow_count=4, seed=1)
    assert report.violations == []
    assert all(memory.growth < 150 for memory in report.memory.values())
    assert report.get_quantile(load.SMALL_READS, 0.99) < 2 * max(slowdown, measure_slowdown())
