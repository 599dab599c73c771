"""Reset and restore of a server in test mode after a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from . import data
from .client import Client
from .lab import (
    QUICK_ITEMS,
    SEED,
    Lab,
    change_one_item,
    measure_seconds,
    report_progress,
    upload_package,
)
from .processes import run_case_server
from .results import ResultRow, compare_with_maximum, format_duration

ENTITIES = (1_000, 11_000)
REPETITIONS = 15
"""Number of calls measured in each round."""

MAX_MEDIAN_SECONDS, MAX_P95_SECONDS = 0.030, 0.060
"""Maximum duration of a reset or restore with 1,000 entities."""

RESET, SNAPSHOT = "/_test/reset", "/_test/snapshots/one"


@dataclass(frozen=True)
class TestServer:
    """A server in test mode to measure: its client, seed data and the options it started with."""

    client: Client
    fsync: str
    entities: int
    package: bytes
    repetitions: int

    def measure_calls(self, path: str, before: Callable[[Client], None]) -> list[float]:
        """Send a POST to ``path`` of the test API repeatedly; return the durations in seconds.

        ``before`` is called before each request, for example to write something that is then reset.
        """
        durations = []
        for _ in range(self.repetitions):
            before(self.client)
            durations.append(self.client.send("POST", path, status=None).seconds)
        return durations

    def create_row(self, action: str, durations: list[float]) -> ResultRow:
        """Create a table row with the durations of an action such as a reset, without a target."""
        title = self._title(action)
        return ResultRow(title, "", format_duration(median(durations)), note=_range(durations))

    def create_target_rows(self, action: str, durations: list[float]) -> Iterator[ResultRow]:
        """Yield table rows for the median and the 95th percentile of an action's durations.

        They have targets if the seed data are 1,000 entities.
        """
        if self.entities > ENTITIES[0]:
            yield self.create_row(action, durations)
            return
        title = self._title(action)
        yield compare_with_maximum(title, median(durations), MAX_MEDIAN_SECONDS, format_duration)
        p95 = quantiles(durations, n=20)[-1]
        yield compare_with_maximum(
            f"{title}, 95th percentile", p95, MAX_P95_SECONDS, format_duration
        )

    def _title(self, action: str) -> str:
        return f"test mode, {action}, {self.entities:,} entities, {self.fsync}"


def test_mode(lab: Lab) -> Iterator[ResultRow]:
    """Measure resets and restores in test mode after a write: 30 ms in the median, 95 % in 60.

    The targets apply to 1,000 entities. Measured with fsync on, and off as in the pytest plugin.
    """
    sizes = ENTITIES[:1] if lab.sizes.items <= QUICK_ITEMS else ENTITIES
    for fsync, is_on in (("fsync on", True), ("fsync off", False)):
        settings = {
            "CASE_SERVER_DATA_DIR": str(lab.folder / fsync.replace(" ", "-")),
            "CASE_SERVER_EMBEDDED_FSYNC": str(is_on),
        }
        with (
            run_case_server(lab.get_log_file(), "--test-mode", **settings) as server,
            Client(server.base_url, server.headers) as client,
        ):
            for entities in sizes:
                report_progress(f"resetting {entities:,} entities, {fsync}")
                package = data.generate_package_json(entities // 2, SEED)
                yield from _measure(
                    TestServer(client, fsync, entities, package, REPETITIONS * lab.rounds)
                )


def _measure(server: TestServer) -> Iterator[ResultRow]:
    client = server.client
    seeding = measure_seconds(
        lambda: client.send("POST", "/_test/seed", server.package, status=200)
    )
    yield server.create_row("seed", [seeding])
    yield server.create_row("reset, nothing written", server.measure_calls(RESET, lambda _: None))
    yield from server.create_target_rows(
        "reset after a write", server.measure_calls(RESET, change_one_item)
    )
    durations = [
        measure_seconds(lambda: client.send("POST", SNAPSHOT, status=201)) for _ in range(3)
    ]
    yield server.create_row("snapshot", durations)
    first = client.send("POST", f"{SNAPSHOT}/restore", status=200).seconds
    yield server.create_row("first restore", [first])
    yield from server.create_target_rows(
        "restore after a write", server.measure_calls(f"{SNAPSHOT}/restore", change_one_item)
    )
    yield server.create_row("for comparison, an upload", [_upload(server) for _ in range(3)])


def _upload(server: TestServer) -> float:
    """Upload the whole seed again and return the seconds, for comparison with a reset."""
    server.client.send("POST", "/_test/seed", b"{}", status=200)
    return upload_package(server.client, server.package)


def _range(durations: list[float]) -> str:
    if len(durations) == 1:
        return ""
    return f"{format_duration(min(durations))} to {format_duration(max(durations))}"
