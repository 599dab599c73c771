"""Reset and restore of a server in test mode after a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from . import data
from .client import Client
from .lab import QUICK_ITEMS, SEED, Lab, post, report_progress, timed, touch
from .processes import case_server
from .results import Row, below, duration

ENTITIES = (1_000, 11_000)
REPETITIONS = 15
"""Number of measurements of a row in each round."""

MAX_MEDIAN_SECONDS, MAX_P95_SECONDS = 0.030, 0.060
"""Maximum duration of a reset or restore with 1,000 entities."""

RESET, SNAPSHOT = "/_test/reset", "/_test/snapshots/one"


@dataclass(frozen=True)
class TestServer:
    """A server in test mode and its seed data."""

    client: Client
    fsync: str
    entities: int
    package: bytes
    repetitions: int

    def seconds(self, path: str, before: Callable[[Client], None]) -> list[float]:
        """Return the durations of calls in seconds, each after ``before``."""
        durations = []
        for _ in range(self.repetitions):
            before(self.client)
            durations.append(self.client.send("POST", path, status=None).seconds)
        return durations

    def row(self, action: str, durations: list[float]) -> Row:
        """Return a row without a target."""
        title = self._title(action)
        return Row(title, "", duration(median(durations)), note=_range(durations))

    def rows_with_target(self, action: str, durations: list[float]) -> Iterator[Row]:
        """Yield rows with a target, which applies to 1,000 entities."""
        if self.entities > ENTITIES[0]:
            yield self.row(action, durations)
            return
        title = self._title(action)
        yield below(title, median(durations), MAX_MEDIAN_SECONDS, duration)
        p95 = quantiles(durations, n=20)[-1]
        yield below(f"{title}, 95th percentile", p95, MAX_P95_SECONDS, duration)

    def _title(self, action: str) -> str:
        return f"test mode, {action}, {self.entities:,} entities, {self.fsync}"


def test_mode(lab: Lab) -> Iterator[Row]:
    """Reset and restore after each write: with 1,000 entities a median of 30 ms, 95 % in 60.

    With fsync on, and with fsync off as in the pytest plugin.
    """
    sizes = ENTITIES[:1] if lab.sizes.items <= QUICK_ITEMS else ENTITIES
    for fsync, is_on in (("fsync on", True), ("fsync off", False)):
        settings = {
            "CASE_SERVER_DATA_DIR": str(lab.folder / fsync.replace(" ", "-")),
            "CASE_SERVER_EMBEDDED_FSYNC": str(is_on),
        }
        with (
            case_server(lab.log(), "--test-mode", **settings) as server,
            Client(server.base_url, server.headers) as client,
        ):
            for entities in sizes:
                report_progress(f"resetting {entities:,} entities, {fsync}")
                package = data.packed(entities // 2, SEED)
                yield from _measure(
                    TestServer(client, fsync, entities, package, REPETITIONS * lab.rounds)
                )


def _measure(server: TestServer) -> Iterator[Row]:
    client = server.client
    seeding = timed(lambda: client.send("POST", "/_test/seed", server.package, status=200))
    yield server.row("seed", [seeding])
    yield server.row("reset, nothing written", server.seconds(RESET, lambda _: None))
    yield from server.rows_with_target("reset after a write", server.seconds(RESET, touch))
    durations = [timed(lambda: client.send("POST", SNAPSHOT, status=201)) for _ in range(3)]
    yield server.row("snapshot", durations)
    first = client.send("POST", f"{SNAPSHOT}/restore", status=200).seconds
    yield server.row("first restore", [first])
    yield from server.rows_with_target(
        "restore after a write", server.seconds(f"{SNAPSHOT}/restore", touch)
    )
    yield server.row("for comparison, an upload", [_upload(server) for _ in range(3)])


def _upload(server: TestServer) -> float:
    """Upload everything again, as tests without the test mode would, and return the seconds."""
    server.client.send("POST", "/_test/seed", b"{}", status=200)
    return post(server.client, server.package)


def _range(durations: list[float]) -> str:
    if len(durations) == 1:
        return ""
    return f"{duration(min(durations))} to {duration(max(durations))}"
