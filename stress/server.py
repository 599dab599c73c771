"""A server process to be hurt: what it holds is looked at while that happens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from support.live_server import Live, serving

PREFIX = "/case/1.1"
MEGABYTE = 1_000_000


@contextmanager
def server(folder: Path, url: str, **settings: object) -> Iterator[Live]:
    """A server over the database at ``url``; settings by their name without CASE_SERVER_."""
    named = {f"CASE_SERVER_{name.upper()}": str(value) for name, value in settings.items()}
    named |= {"CASE_SERVER_DATABASE_URL": url, "CASE_SERVER_ACCESS_LOG": "false"}
    with serving(folder / "server", settings=named) as live:
        yield live


def client(live: Live, connections: int = 64) -> httpx.AsyncClient:
    """A client that may do everything."""
    return httpx.AsyncClient(
        base_url=live.base_url,
        headers={"Authorization": f"Bearer {live.token()}"},
        timeout=60,
        limits=httpx.Limits(max_connections=connections),
    )


def connect(live: Live, sent: bytes = b"", receive_buffer: int | None = None) -> socket.socket:
    """A raw connection that says what it is told to; a small buffer reads slowly on purpose."""
    address = urlsplit(live.base_url)
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(10)
    raw.connect((address.hostname, address.port))
    raw.sendall(sent)
    return raw


@dataclass
class Memory:
    """Resident memory of a process, in megabytes: before, and the most there was since."""

    process: psutil.Process
    before: float = 0.0
    most: float = 0.0

    def look(self) -> float:
        """How much it is now."""
        now = float(self.process.memory_info().rss) / MEGABYTE
        self.most = max(self.most, now)
        return now

    @property
    def added(self) -> float:
        """By how much it grew at most."""
        return self.most - self.before

    def __str__(self) -> str:
        return f"RSS {self.before:.0f} MB, at most {self.most:.0f} MB (+{self.added:.0f})"


@asynccontextmanager
async def watched(live: Live) -> AsyncIterator[Memory]:
    """The memory of a server, looked at every twentieth of a second."""
    memory = Memory(psutil.Process(live.process.pid))
    memory.before = memory.look()

    async def look() -> None:
        while True:
            memory.look()
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(look())
    try:
        yield memory
    finally:
        watching.cancel()
        memory.look()


@dataclass
class Others:
    """How long somebody else waited meanwhile who asks for little, in seconds."""

    waited: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return f"others waited {max(self.waited):.2f} s at most in {len(self.waited):,} requests"


@asynccontextmanager
async def asked(live: Live) -> AsyncIterator[Others]:
    """A server that somebody else asks ten times a second."""
    others, leaving = Others(), asyncio.Event()

    async def ask() -> None:
        async with client(live) as http:
            while not leaving.is_set():
                answer = await http.get(f"{PREFIX}/CFItems?limit=1")
                answer.raise_for_status()
                others.waited.append(answer.elapsed.total_seconds())
                await asyncio.sleep(0.1)

    asking = asyncio.create_task(ask())
    try:
        yield others
    finally:
        leaving.set()
        await asking
