"""Statements that read are cancelled after a timeout, and take at most half of the pool."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from sqlalchemy import make_url, text
from support import factories
from support.databases import Execute

from case_server.case.resources import ITEMS
from case_server.db.pool import Database
from case_server.db.read.package import open_framework_snapshot
from case_server.db.read.visibility import compile_entity_query
from case_server.db.statement import CompiledStatement
from case_server.exceptions import QueryTimeout, ServiceUnavailable
from case_server.settings import Settings

SLEEP = CompiledStatement(text("SELECT pg_sleep(600)"))
SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'"
)
BACKEND = CompiledStatement(text("SELECT pg_backend_pid() AS pid"))


@asynccontextmanager
async def opened(
    settings: Settings, url: str = "", *, pool_size: int = 1, read_timeout: float | None = 60
) -> AsyncIterator[Database]:
    changed = settings.model_copy(update={"pool_size": pool_size})
    async with Database.open(
        url or settings.database_url, changed, read_timeout=read_timeout
    ) as database:
        yield database


@contextmanager
def short_read_timeout(database: Database) -> Iterator[None]:
    """Limit reads to 0.3 s during a block, which a quick read on a busy machine may exceed."""
    before, database._read_timeout = database._read_timeout, 0.3
    try:
        yield
    finally:
        database._read_timeout = before


async def wait_until_finished(reads: list[asyncio.Task[Any]], count: int) -> None:
    """Wait until ``count`` reads have ended, and another second in which others could."""
    async with asyncio.timeout(30):
        while sum(read.done() for read in reads) < count:  # noqa: ASYNC110  no event
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)


async def no_statement_sleeps(execute: Execute) -> None:
    """Wait until Postgres has cancelled the statement, which it would run for ten minutes."""
    while await execute(SLEEPING):  # noqa: ASYNC110  Postgres sends no event
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("read", ["run_heavy_read", "fetch_all", "fetch_one"])
async def test_slow_statement_is_cancelled_and_its_connection_reused(
    settings: Settings, execute: Execute, read: str
) -> None:
    async with opened(settings) as database:
        before = await database.fetch_one(BACKEND)
        for _ in range(2):
            with short_read_timeout(database), pytest.raises(QueryTimeout) as exc_info:
                await getattr(database, read)(SLEEP)
        await asyncio.wait_for(no_statement_sleeps(execute), 30)
        after = await database.fetch_one(BACKEND)
        assert before == after, "the connection was replaced, not used again"
    assert exc_info.value.status == 503
    assert int(exc_info.value.headers["Retry-After"]) >= 1


async def test_slow_reads_leave_connections_to_others(settings: Settings, execute: Execute) -> None:
    """Of a pool of eight, four connections run heavy reads, and two of them slow ones."""
    async with opened(settings, pool_size=8) as database:
        heavy_reads = [asyncio.create_task(database.run_heavy_read(SLEEP)) for _ in range(6)]
        for _ in range(20):
            assert await database.run_heavy_read(BACKEND)
            await asyncio.sleep(0.1)
        await wait_until_finished(heavy_reads, 4)
        finished = [read for read in heavy_reads if read.done()]
        running = [read for read in heavy_reads if not read.done()]
        assert len(running) == database._max_slow_reads == 2
        for read in finished:
            with pytest.raises(QueryTimeout, match=r"took longer than 1 s and was cancelled"):
                read.result()
        for read in running:
            read.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    await asyncio.wait_for(no_statement_sleeps(execute), 30)


async def test_statement_of_a_write_has_no_timeout(settings: Settings) -> None:
    async with opened(settings, read_timeout=0.05) as database:
        assert await database.run_write(CompiledStatement(text("SELECT pg_sleep(0.5)"))) is not None


async def test_statement_of_a_command_has_no_timeout(settings: Settings) -> None:
    async with opened(settings, read_timeout=None) as database:
        assert await database.run_heavy_read(CompiledStatement(text("SELECT pg_sleep(0.5)")))


class SlowProxy:
    """Forwards connections to Postgres; new ones only once ``is_open`` is set."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        address = self.url.set(host="127.0.0.1", port=port, query={})
        yield address.render_as_string(hide_password=False)
        server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = self.url.host or str(self.url.query.get("host", "localhost"))
        port = self.url.port or int(str(self.url.query.get("port", 5432)))
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.is_open.wait()
        back_reader, back_writer = await self._connect()
        for source, target in ((reader, back_writer), (back_reader, writer)):
            task = asyncio.create_task(self._copy(source, target))
            self.tasks.add(task)

    @staticmethod
    async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        target.close()


async def test_timeout_is_reported_before_cancellation(
    settings: Settings, execute: Execute
) -> None:
    proxy = SlowProxy(settings.database_url)
    async with proxy.serve() as url, opened(settings, url) as database:
        assert await database.fetch_all(compile_entity_query(ITEMS), identifier="x") == []
        proxy.is_open.clear()  # a cancel request needs a new connection
        with short_read_timeout(database), pytest.raises(QueryTimeout):
            await database.run_heavy_read(SLEEP)
        assert await execute(SLEEPING), "the statement still runs"
        proxy.is_open.set()
        await asyncio.wait_for(no_statement_sleeps(execute), 30)
        assert await database.fetch_all(compile_entity_query(ITEMS), identifier="x") == []


async def test_heavy_reads_take_at_most_half_of_the_pool(settings: Settings) -> None:
    async with opened(settings, pool_size=4, read_timeout=None) as database:
        heavy_reads = [asyncio.create_task(database.run_heavy_read(SLEEP)) for _ in range(6)]
        try:
            await wait_until_finished(heavy_reads, 4)
            finished = [read for read in heavy_reads if read.done()]
            assert len(finished) == 4
            for read in finished:
                error = read.exception()
                assert isinstance(error, ServiceUnavailable)
                assert error.headers["Retry-After"]
            assert await database.fetch_all(compile_entity_query(ITEMS), identifier="x") == []
        finally:
            for read in heavy_reads:
                read.cancel()
            await asyncio.gather(*heavy_reads, return_exceptions=True)


async def test_package_timeout_applies_to_each_batch(settings: Settings, client: Any) -> None:
    body = factories.package(CFItems=[factories.packed_item() for _ in range(900)])
    body["CFAssociations"] = []
    assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    identifier = body["CFDocument"]["identifier"]
    count = 0
    async with (
        opened(settings, read_timeout=1) as database,
        open_framework_snapshot(database, identifier) as framework,
    ):
        async for bodies in framework.iter_bodies(ITEMS):
            count += len(bodies)
            await asyncio.sleep(0.4)
    assert count == 900
