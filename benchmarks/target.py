"""How fast a target goes back, as a test sees it: reset and restore after a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from . import data
from .client import Client
from .lab import QUICK_ITEMS, SEED, Lab, post, say, timed, touch
from .processes import case_server
from .results import Row, below, duration

ENTITIES = (1_000, 11_000)
TIMES = 15
"""Measurements of one row in each round."""

MEDIAN, SLOWEST = 0.030, 0.060
"""Seconds that going back may take with 1,000 entities, at the median and the 95th percentile."""

RESET, SNAPSHOT = "/_test/reset", "/_test/snapshots/one"


@dataclass(frozen=True)
class Target:
    """A target, and what it holds."""

    client: Client
    where: str
    entities: int
    package: bytes
    times: int

    def seconds(self, path: str, before: Callable[[Client], None]) -> list[float]:
        """What calls take, each after something was done."""
        found = []
        for _ in range(self.times):
            before(self.client)
            found.append(self.client.send("POST", path, status=None).seconds)
        return found

    def row(self, what: str, found: list[float]) -> Row:
        """A row that demands nothing."""
        return Row(self._named(what), "", duration(median(found)), note=_spread(found))

    def rows_held(self, what: str, found: list[float]) -> Iterator[Row]:
        """Rows of what is to be fast with as many entities as a test may have."""
        if self.entities > ENTITIES[0]:
            yield self.row(what, found)
            return
        yield below(self._named(what), median(found), MEDIAN, duration)
        slow = quantiles(found, n=20)[-1]
        yield below(f"{self._named(what)}, 95th percentile", slow, SLOWEST, duration)

    def _named(self, what: str) -> str:
        return f"target, {what}, {self.entities:,} entities, {self.where}"


def target(lab: Lab) -> Iterator[Row]:
    """Reset and restore after each write, without a pause: 30 ms with 1,000 entities, 95 % in 60.

    On a Postgres that waits for the disk, and on one that does not, as the pytest plugin has it.
    """
    sizes = ENTITIES[:1] if lab.sizes.items <= QUICK_ITEMS else ENTITIES
    for where, durable in (("fsync on", True), ("fsync off", False)):
        settings = {
            "CASE_SERVER_DATA_DIR": str(lab.folder / where.replace(" ", "-")),
            "CASE_SERVER_EMBEDDED_FSYNC": str(durable),
        }
        with (
            case_server(lab.log(), "--test-mode", **settings) as server,
            Client(server.base_url, server.headers) as client,
        ):
            for entities in sizes:
                say(f"going back with {entities:,} entities, {where}")
                package = data.packed(entities // 2, SEED)
                yield from _ways_back(Target(client, where, entities, package, TIMES * lab.rounds))


def _ways_back(here: Target) -> Iterator[Row]:
    client = here.client
    seeding = timed(lambda: client.send("POST", "/_test/seed", here.package, status=200))
    yield here.row("seed", [seeding])
    yield here.row("reset, nothing written", here.seconds(RESET, lambda _: None))
    yield from here.rows_held("reset after a write", here.seconds(RESET, touch))
    taking = [timed(lambda: client.send("POST", SNAPSHOT, status=201)) for _ in range(3)]
    yield here.row("snapshot", taking)
    first = client.send("POST", f"{SNAPSHOT}/restore", status=200).seconds
    yield here.row("first restore", [first])
    yield from here.rows_held("restore after a write", here.seconds(f"{SNAPSHOT}/restore", touch))
    yield here.row("for comparison, an upload of it", [_put(here) for _ in range(3)])


def _put(here: Target) -> float:
    """What one would do without a target: load everything again."""
    here.client.send("POST", "/_test/seed", b"{}", status=200)
    return post(here.client, here.package)


def _spread(found: list[float]) -> str:
    return "" if len(found) == 1 else f"{duration(min(found))} to {duration(max(found))}"
