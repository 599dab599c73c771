"""Reset and restore of a server in test mode after a write."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from . import data
from .client import TimedClient
from .context import (
    QUICK_ITEMS,
    SEED,
    BenchmarkContext,
    change_one_item,
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
class TestModeServer:
    """A measured server in test mode: a client of it, its seed data and its fsync setting."""

    client: TimedClient
    fsync: str
    entities: int
    package: bytes
    repetitions: int

    def measure_calls(self, path: str, setup: Callable[[TimedClient], None]) -> list[float]:
        """Send a POST to ``path`` of the test API repeatedly; return the durations in seconds.

        ``setup`` is called before each request, for example to write data that is then reset.
        """
        durations = []
        for _ in range(self.repetitions):
            setup(self.client)
            durations.append(self.client.send("POST", path, expected_status=None).seconds)
        return durations

    def create_duration_row(self, action: str, durations: list[float]) -> ResultRow:
        """Create a table row without a target from the durations of an action such as a reset."""
        title = self._title(action)
        return ResultRow(title, "", format_duration(median(durations)), note=_range(durations))

    def create_latency_rows(self, action: str, durations: list[float]) -> Iterator[ResultRow]:
        """Yield table rows with targets for the median and the 95th percentile of an action.

        The targets are for 1,000 entities; for more, yields a row without a target.
        """
        if self.entities > ENTITIES[0]:
            yield self.create_duration_row(action, durations)
            return
        title = self._title(action)
        yield compare_with_maximum(title, median(durations), MAX_MEDIAN_SECONDS, format_duration)
        p95 = quantiles(durations, n=20)[-1]
        title = f"{title}, 95th percentile"
        yield compare_with_maximum(title, p95, MAX_P95_SECONDS, format_duration)

    def _title(self, action: str) -> str:
        return f"test mode, {action}, {self.entities:,} entities, {self.fsync}"


def measure_test_mode(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure resets and restores in test mode after a write; the target is a median of 30 ms.

    95 % must take less than 60 ms. The targets apply to 1,000 entities. Each is measured with fsync
    on, and with fsync off as in the pytest plugin.
    """
    sizes = ENTITIES[:1] if context.sizes.item_count <= QUICK_ITEMS else ENTITIES
    for fsync, is_on in (("fsync on", True), ("fsync off", False)):
        settings = {
            "CASE_SERVER_DATA_DIR": str(context.folder / fsync.replace(" ", "-")),
            "CASE_SERVER_EMBEDDED_FSYNC": str(is_on),
        }
        with (
            run_case_server(context.get_log_path(), "--test-mode", **settings) as server,
            server.open_client() as client,
        ):
            for entities in sizes:
                report_progress(f"resetting {entities:,} entities, {fsync}")
                package = data.generate_package_json(entities // 2, SEED)
                times = REPETITIONS * context.rounds
                yield from _measure(TestModeServer(client, fsync, entities, package, times))


def _measure(server: TestModeServer) -> Iterator[ResultRow]:
    client = server.client
    seeding = client.send("POST", "/_test/seed", server.package, expected_status=200).seconds
    yield server.create_duration_row("seed", [seeding])
    durations = server.measure_calls(RESET, lambda _: None)
    yield server.create_duration_row("reset, nothing written", durations)
    durations = server.measure_calls(RESET, change_one_item)
    yield from server.create_latency_rows("reset after a write", durations)
    durations = [client.send("POST", SNAPSHOT, expected_status=201).seconds for _ in range(3)]
    yield server.create_duration_row("snapshot", durations)
    first_seconds = client.send("POST", f"{SNAPSHOT}/restore", expected_status=200).seconds
    yield server.create_duration_row("first restore", [first_seconds])
    durations = server.measure_calls(f"{SNAPSHOT}/restore", change_one_item)
    yield from server.create_latency_rows("restore after a write", durations)
    durations = [_time_upload(server) for _ in range(3)]
    yield server.create_duration_row("for comparison, an upload", durations)


def _time_upload(server: TestModeServer) -> float:
    server.client.send("POST", "/_test/seed", b"{}", expected_status=200)
    return upload_package(server.client, server.package)


def _range(durations: list[float]) -> str:
    if len(durations) == 1:
        return ""
    return f"{format_duration(min(durations))} to {format_duration(max(durations))}"
