"""A server process under stress, with monitors of its memory and of its latency."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
from httpx import AsyncClient, Limits, Response
from support.live_server import LiveServer, run_live_server

from stress.cluster import Cluster, run_private_cluster

PREFIX = "/case/1.1"
MEGABYTE = 1_000_000


@contextmanager
def run_server(folder: Path, database_url: str, **settings: object) -> Iterator[LiveServer]:
    """Run a case-server process during a ``with`` block, with its files in ``folder``.

    Keyword arguments are settings without the prefix CASE_SERVER_, such as ``pool_size=8``.
    """
    variables = {f"CASE_SERVER_{name.upper()}": str(value) for name, value in settings.items()}
    variables |= {"CASE_SERVER_DATABASE_URL": database_url, "CASE_SERVER_ACCESS_LOG": "false"}
    with run_live_server(folder / "server", settings=variables) as server:
        yield server


class PrivateServer(NamedTuple):
    """A server with a Postgres cluster of its own, and a client of it."""

    cluster: Cluster
    live: LiveServer
    http: AsyncClient


@asynccontextmanager
async def run_private_server(
    *, connections: int = 64, **settings: object
) -> AsyncIterator[PrivateServer]:
    """Run a new Postgres cluster and a server over it, with these settings, during a block."""
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with run_private_cluster(folder / "postgres") as cluster:
            with run_server(folder, cluster.url, **settings) as live:
                async with create_client(live, connections) as http:
                    yield PrivateServer(cluster, live, http)


def create_client(server: LiveServer, connections: int = 64) -> AsyncClient:
    """Return an HTTP client with a token for all scopes and at most ``connections`` connections."""
    return AsyncClient(
        base_url=server.base_url,
        headers={"Authorization": f"Bearer {server.token()}"},
        timeout=60,
        limits=Limits(max_connections=connections),
    )


def asks_to_retry(response: Response) -> bool:
    """Return whether a response is 503 with Retry-After, which asks the client to retry later."""
    return response.status_code == 503 and "Retry-After" in response.headers


def open_connection(
    server: LiveServer, data: bytes = b"", receive_buffer: int | None = None
) -> socket.socket:
    """Open a TCP connection to a server and send ``data`` on it.

    ``receive_buffer`` limits how many bytes the kernel accepts before the client reads them; a
    small buffer simulates a slow client.
    """
    address = urlsplit(server.base_url)
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(10)
    raw.connect((address.hostname, address.port))
    raw.sendall(data)
    return raw


@dataclass
class MemoryUsage:
    """Memory use of a process in megabytes: the initial value and the highest one sampled."""

    process: psutil.Process
    initial: float = 0.0
    peak: float = 0.0

    def measure(self) -> float:
        """Return the memory that the server uses now, in megabytes, and update the peak."""
        megabytes = float(self.process.memory_info().rss) / MEGABYTE
        self.peak = max(self.peak, megabytes)
        return megabytes

    @property
    def growth(self) -> float:
        """The difference between the peak and the initial value, in megabytes."""
        return self.peak - self.initial

    def __str__(self) -> str:
        return f"RSS {self.initial:.0f} MB, peak {self.peak:.0f} MB (+{self.growth:.0f})"


@asynccontextmanager
async def monitor_memory(server: LiveServer) -> AsyncIterator[MemoryUsage]:
    """Sample a server's memory use every 50 ms during a ``with`` block, to find its peak.

    Yields the ``MemoryUsage`` that is updated.
    """
    memory = MemoryUsage(psutil.Process(server.process.pid))
    memory.initial = memory.measure()

    async def sample() -> None:
        while True:
            memory.measure()
            await asyncio.sleep(0.05)

    sampling = asyncio.create_task(sample())
    try:
        yield memory
    finally:
        sampling.cancel()
        memory.measure()


@asynccontextmanager
async def send_background_requests(server: LiveServer) -> AsyncIterator[list[float]]:
    """Send ten small requests per second during a ``with`` block, to measure their latency.

    Yields the list that collects the durations in seconds.
    """
    seconds: list[float] = []
    stop = asyncio.Event()

    async def send_requests() -> None:
        async with create_client(server) as http:
            while not stop.is_set():
                response = await http.get(f"{PREFIX}/CFItems?limit=1")
                response.raise_for_status()
                seconds.append(response.elapsed.total_seconds())
                await asyncio.sleep(0.1)

    sending = asyncio.create_task(send_requests())
    try:
        yield seconds
    finally:
        stop.set()
        await sending
