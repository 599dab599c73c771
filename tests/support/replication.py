"""A primary Postgres server and its replicating standby, to cut off and to promote."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from support.databases import open_connection
from support.live_server import LiveServer, run_live_server
from support.processes import list_postgres_processes, suspend_processes

from benchmarks.postgres import copy_to_standby
from case_server.database_url import parse_database_url
from case_server.db.postgres import alembic_runner
from case_server.db.postgres.embedded import _Cluster, exclusive_postgres

POLL_SECONDS = 0.05


class ReplicatedServer:
    """A Postgres server that is a primary or a standby."""

    def __init__(self, cluster: _Cluster, url: str) -> None:
        self.cluster, self.url = cluster, url

    @property
    def address(self) -> str:
        """The host and port of the server, in the form that a URL has."""
        ((host, port),) = parse_database_url(self.url).hosts
        return f"{host}:{port}"

    async def execute(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Execute SQL as the administrator and return its rows."""
        async with open_connection(self.url, timeout=10) as connection:
            return await connection.fetch(sql, *arguments)

    async def set(self, name: str, value: str) -> None:
        """Change a setting of the server and reload its configuration."""
        await self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await self.execute("SELECT pg_reload_conf()")

    async def wait_for(self, sql: str, seconds: float = 20) -> None:
        """Wait until a query returns true; fail after ``seconds``."""
        async with asyncio.timeout(seconds):
            while True:
                if (await self.execute(sql))[0][0]:
                    return
                await asyncio.sleep(POLL_SECONDS)

    def count_in_log(self, message: str) -> int:
        """Return how many times the server has logged a message."""
        return (self.cluster.data_dir / "postgres.log").read_text().count(message)

    def list_processes(self) -> list[psutil.Process]:
        """Return the processes of the server, the postmaster first."""
        return list_postgres_processes(self.cluster.pgdata)

    def kill(self) -> None:
        """Kill all processes of the server with SIGKILL, like the loss of its machine."""
        for process in self.list_processes():
            os.kill(process.pid, signal.SIGKILL)

    def freeze(self) -> AbstractContextManager[None]:
        """Suspend all processes of the server; its connections stay open but silent."""
        return suspend_processes(self.list_processes())


class Replication:
    """A primary and its standbys; tests that need one standby use the first."""

    def __init__(self, primary: ReplicatedServer, standbys: list[ReplicatedServer]) -> None:
        self.primary, self.standbys, self.standby = primary, standbys, standbys[0]

    @property
    def url(self) -> str:
        """The connection URL that lists all servers and connects to the one that accepts writes."""
        return (
            self.primary.url.replace(
                self.primary.address, f"{self.primary.address},{self.standby.address}"
            )
            + "?target_session_attrs=read-write"
        )

    async def catch_up(self) -> None:
        """Wait until the first standby has applied all writes of the primary."""
        position = (await self.primary.execute("SELECT pg_current_wal_lsn()::text"))[0][0]
        await self.standby.wait_for(f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn")

    async def cut_off(self) -> None:
        """Stop the first standby's replication; its clients stay connected."""
        await self.standby.set("primary_conninfo", "")
        await self.primary.wait_for("SELECT count(*) = 0 FROM pg_stat_replication")

    async def reconnect(self) -> None:
        """Let the first standby replicate again after ``cut_off``."""
        await self.standby.set("primary_conninfo", self.primary.url)
        await self.primary.wait_for("SELECT count(*) > 0 FROM pg_stat_replication")

    def freeze_replication(self) -> AbstractContextManager[None]:
        """Suspend the primary's processes that send WAL; their connections stay open but silent.

        The postmaster is suspended, too, so that a standby that gives up cannot connect again.
        """
        postmaster, *children = self.primary.list_processes()
        senders = [each for each in children if _is_wal_sender(each)]
        assert len(senders) == len(self.standbys)
        return suspend_processes([postmaster, *senders])

    async def stop_primary(self) -> None:
        """Stop the primary cleanly, so that the standbys receive all of its WAL."""
        await asyncio.to_thread(self.primary.cluster.stop)

    async def demote_primary(self) -> None:
        """Restart the stopped primary as a standby of the first standby, which was promoted."""
        pgdata = self.primary.cluster.pgdata
        signal_file = pgdata / "standby.signal"
        signal_file.touch()
        with (pgdata / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{self.standby.url}'\n")
        if account := self.primary.cluster.account:
            os.chown(signal_file, *account)
        assert await asyncio.to_thread(self.primary.cluster.ensure_running) == self.primary.url

    async def fail_over(self) -> None:
        """Kill the primary and promote the first standby."""
        self.primary.kill()
        await self.standby.execute("SELECT pg_promote()")


@asynccontextmanager
async def run_replicated_postgres(folder: Path, *, standbys: int = 1) -> AsyncIterator[Replication]:
    """Run a primary with the current schema and some standbys, with their data in ``folder``."""
    with ExitStack() as stack:
        url = stack.enter_context(exclusive_postgres(folder / "primary"))
        await asyncio.to_thread(alembic_runner.migrate, url)
        primary = ReplicatedServer(_Cluster((folder / "primary").resolve()), url)
        copies = []
        for number in range(1, standbys + 1):
            copy = folder / f"standby-{number}"
            await asyncio.to_thread(copy_to_standby, primary.cluster, url, copy)
            standby_url = stack.enter_context(exclusive_postgres(copy))
            copies.append(ReplicatedServer(_Cluster(copy.resolve()), standby_url))
        await primary.wait_for(f"SELECT count(*) = {standbys} FROM pg_stat_replication")
        yield Replication(primary, copies)


def serve(stack: ExitStack, folder: Path, server: ReplicatedServer, **settings: str) -> LiveServer:
    """Run a case-server that has another public URL than its address, until ``stack`` is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    chosen = {"database_url": server.url, "public_url": "http://case.test", **settings}
    variables = {f"CASE_SERVER_{name.upper()}": value for name, value in chosen.items()}
    live = stack.enter_context(run_live_server(folder, "--port", port, settings=variables))
    return replace(live, base_url=f"http://127.0.0.1:{port}")


def _is_wal_sender(process: psutil.Process) -> bool:
    return "walsender" in " ".join(process.cmdline())
