"""A private Postgres cluster that can be crashed, frozen and restarted."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

from support.databases import Execute, open_connection
from support.processes import list_postgres_processes, suspend_processes

from case_server.db.postgres import alembic_runner
from case_server.db.postgres.embedded import _Cluster, embedded_postgres


class Cluster:
    """A Postgres cluster that tests can crash, freeze and restart."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self.url, self._own = url, _Cluster(data_dir.resolve())
        self.folder = self._own.data_dir

    def stop(self, mode: str = "immediate") -> None:
        """Stop Postgres with a mode of ``pg_ctl stop``.

        ``immediate`` is like a crash: Postgres writes nothing more to disk and recovers at the next
        start.
        """
        # It may already have stopped by itself.
        self._own._run_unprivileged(self._own.binaries / "pg_ctl", "stop", "-s", "-m", mode)

    def start(self) -> None:
        """Start Postgres after ``stop``; its URL stays the same."""
        assert self._own.ensure_running() == self.url, "it started at another URL"

    def make_directory(self, path: Path) -> Path:
        """Create a directory owned by the Postgres account."""
        path.mkdir(mode=0o700)
        if self._own.account:
            os.chown(path, *self._own.account)
        return path

    def freeze(self) -> AbstractContextManager[None]:
        """Suspend all Postgres processes in a ``with`` block: connections stay open but silent."""
        return suspend_processes(list_postgres_processes(self._own.pgdata))

    @asynccontextmanager
    async def connect_as_admin(self) -> AsyncIterator[Execute]:
        """Connect as the administrator; yield a function that runs SQL and returns the rows."""
        async with open_connection(self.url, timeout=10) as connection:
            yield connection.fetch


@asynccontextmanager
async def run_private_cluster(data_dir: Path) -> AsyncIterator[Cluster]:
    """Run a new Postgres cluster with the current schema in ``data_dir`` in a ``with`` block.

    No other test uses the cluster, so that it can be crashed.
    """
    with embedded_postgres(data_dir) as url:
        await asyncio.to_thread(alembic_runner.migrate, url)
        yield Cluster(data_dir, url)


def kill_process(pid: int) -> None:
    """Kill a process with SIGKILL."""
    os.kill(pid, signal.SIGKILL)


async def wait_until(
    condition: Callable[[], Awaitable[bool]], seconds: float, description: str
) -> float:
    """Poll a condition until it is true, and return how many seconds that took.

    Raises ``AssertionError`` with the description if it takes longer than ``seconds``.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not await condition():
        if loop.time() - started > seconds:
            raise AssertionError(f"not within {seconds} s: {description}")
        await asyncio.sleep(0.05)
    return loop.time() - started
