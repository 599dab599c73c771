"""A private Postgres that may be stopped without warning, frozen, and started again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from support.databases import dsn

from case_server.db.postgres import alembic_runner
from case_server.db.postgres.embedded import _Cluster, embedded_postgres

Sql = Callable[..., Awaitable[list[asyncpg.Record]]]


class Cluster:
    """The server behind ``url``, and what can happen to it."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self.url, self._own = url, _Cluster(data_dir.resolve())
        self.folder = self._own.data_dir

    def stop(self, how: str = "immediate") -> None:
        """Stop it; ``immediate`` is how a crash looks: nothing is flushed, recovery follows."""
        # That it is gone is what was asked for; whether it went by itself does not matter.
        self._own._run(self._own.binaries / "pg_ctl", "stop", "-s", "-m", how)

    def start(self) -> None:
        """Start it again where it was."""
        assert self._own.start() == self.url, "it came back at another address"

    def make_folder(self, path: Path) -> Path:
        """A new folder that Postgres may write into."""
        path.mkdir(mode=0o700)
        if self._own.account:
            os.chown(path, *self._own.account)
        return path

    def restart(self) -> None:
        """Stop it in an orderly way, throwing everybody out, and start it again."""
        self.stop("fast")
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold every process of it still: connections stay open and nothing answers."""
        processes = self._processes()
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                if process.is_running():
                    process.resume()

    def _processes(self) -> list[psutil.Process]:
        pid = int((self._own.pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        return [postmaster, *postmaster.children(recursive=True)]

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[Sql]:
        """Runs SQL beside the server, as its administrator."""
        connection = await asyncpg.connect(dsn(self.url), timeout=10)

        async def run(text: str, *arguments: Any) -> list[asyncpg.Record]:
            return await connection.fetch(text, *arguments)

        try:
            yield run
        finally:
            await connection.close(timeout=10)


@asynccontextmanager
async def private_cluster(data_dir: Path) -> AsyncIterator[Cluster]:
    """A new Postgres in ``data_dir`` with the current schema, for one use."""
    with embedded_postgres(data_dir) as url:
        await asyncio.to_thread(alembic_runner.migrate, url)
        yield Cluster(data_dir, url)


def kill(pid: int) -> None:
    """``kill -9``: the process does not get to say a word."""
    os.kill(pid, signal.SIGKILL)


async def until(true: Callable[[], Awaitable[bool]], seconds: float, what: str) -> float:
    """Wait until something is so; how many seconds that took. Fails when it takes too long."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not await true():
        if loop.time() - begun > seconds:
            raise AssertionError(f"after {seconds} seconds {what} is still not so")
        await asyncio.sleep(0.05)
    return loop.time() - begun
