"""A Postgres that answers late keeps its connections; one that does not answer gets 503 soon."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from support.machine_load import measure_lateness
from support.pgbouncer import run_pgbouncer

from case_server.db.pool import Database
from case_server.db.statement import CompiledStatement
from case_server.exceptions import QueryTimeout, ServiceUnavailable
from case_server.settings import Settings
from stress.cluster import Cluster, run_private_cluster

BACKEND = CompiledStatement(text("SELECT pg_backend_pid()"))
SLOW = CompiledStatement(text("SELECT pg_backend_pid(), pg_sleep(6)"))

MAX_SILENCE_SECONDS = 2.0
"""A Postgres that is silent for this time is only slow."""

MAX_503_SECONDS = {"direct": 4.0, "pooled": 8.0}
"""Time until the first 503, including a second for a busy machine."""


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with run_private_cluster(tmp_path_factory.mktemp("postgres") / "data") as cluster:
        yield cluster


@pytest.fixture(params=["direct", "pooled"])
def route(request: pytest.FixtureRequest) -> str:
    """How the server reaches Postgres: without or with PgBouncer in transaction mode."""
    return str(request.param)


@pytest.fixture
def url(cluster: Cluster, route: str, tmp_path: Path) -> Iterator[str]:
    if route == "direct":
        yield cluster.url
        return
    with run_pgbouncer(cluster.url, tmp_path, "transaction") as port:
        pooled = make_url(cluster.url).set(host="127.0.0.1", port=port)
        pooled = pooled.update_query_dict({"pgbouncer": "true"})
        yield pooled.render_as_string(hide_password=False)


@pytest.fixture
async def database(url: str, settings: Settings) -> AsyncIterator[Database]:
    async with Database.open(url, settings) as database:
        await database.fetch_one(BACKEND)
        yield database


async def test_postgres_that_responds_within_the_limit_is_not_reported_unavailable(
    cluster: Cluster, database: Database
) -> None:
    with cluster.freeze():
        task = asyncio.create_task(database.fetch_one(BACKEND))
        await asyncio.sleep(MAX_SILENCE_SECONDS)
    assert await task


async def test_time_of_starved_server_does_not_count(cluster: Cluster, database: Database) -> None:
    """The check of Postgres is delayed by the server itself, while a statement is slow."""
    task = asyncio.create_task(database.fetch_one(SLOW))
    await asyncio.sleep(0.3)
    with cluster.freeze():
        await asyncio.sleep(1)  # the check has begun, and waits
    time.sleep(3)  # noqa: ASYNC251  the event loop is starved
    assert await task


async def test_read_that_timed_out_keeps_no_connection_to_a_frozen_postgres(
    cluster: Cluster, settings: Settings
) -> None:
    """Postgres cannot cancel its statement, so that the connection must be closed."""
    single_connection = settings.model_copy(update={"pool_size": 1})
    async with Database.open(cluster.url, single_connection, read_timeout=0.5) as database:
        with cluster.freeze():
            with pytest.raises(QueryTimeout):
                await database.fetch_one(BACKEND)
            async with asyncio.timeout(MAX_503_SECONDS["direct"] + 1):
                while not database._semaphore.free:  # noqa: ASYNC110  no event
                    await asyncio.sleep(0.1)


async def test_task_cancelled_at_the_end_of_its_block_releases_its_connection(
    cluster: Cluster, url: str, settings: Settings
) -> None:
    """Behind a pooler, the task then waits for its transaction to end."""
    single_connection = settings.model_copy(update={"pool_size": 1})
    async with Database.open(url, single_connection) as database:
        is_used = asyncio.Event()

        async def use_connection() -> None:
            async with database.connection() as connection:
                await connection.fetchval(BACKEND.sql)
                is_used.set()
                await asyncio.sleep(0.2)

        task = asyncio.create_task(use_connection())
        await is_used.wait()
        with cluster.freeze():
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await asyncio.wait_for(database.fetch_one(BACKEND), 10)


async def test_pool_is_closed_while_postgres_is_frozen(
    cluster: Cluster, url: str, settings: Settings
) -> None:
    context = Database.open(url, settings)
    database = await context.__aenter__()
    reads = [asyncio.create_task(database.fetch_one(SLOW)) for _ in range(2)]
    await asyncio.sleep(0.3)
    with cluster.freeze():
        reads[0].cancel()
        async with asyncio.timeout(20):
            await context.__aexit__(None, None, None)
    await asyncio.gather(*reads, return_exceptions=True)


async def test_frozen_postgres_gets_503_soon_and_then_at_once(
    cluster: Cluster, database: Database, route: str
) -> None:
    with cluster.freeze():
        for seconds in (MAX_503_SECONDS[route], 0.5):
            async with measure_lateness() as lateness:
                start = time.monotonic()
                with pytest.raises(ServiceUnavailable) as exc_info:
                    await database.fetch_one(BACKEND)
                waited = time.monotonic() - start
            assert waited < seconds + lateness.seconds
            assert exc_info.value.headers["Retry-After"]
    async with asyncio.timeout(30), measure_lateness() as lateness:
        start = time.monotonic()
        while True:
            try:
                assert await database.fetch_one(BACKEND)
                break
            except ServiceUnavailable:
                await asyncio.sleep(0.1)
        waited = time.monotonic() - start
    assert waited < MAX_503_SECONDS[route] + lateness.seconds
