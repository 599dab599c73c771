"""``make stress``: every part in turn, with what was tried and what went wrong.

Each part has its own Postgres and its own server, and its share of the time there is. A part ends
in good order when its share is over, and says so when it did less than it is there for; time that
it leaves goes to those after it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from support.databases import dsn

from stress import (
    adversarial,
    contention,
    disk,
    durability,
    filter_fuzz,
    load,
    openapi_fuzz,
    outage,
    random_histories,
    slow_reads,
)
from stress.clock import Clock, too_few
from stress.cluster import private_cluster
from stress.server import client, server

SECONDS_TO_END = 25
"""How long a part may still take, once its share is over, to end what it is in the middle of."""

SERVER, POSTGRES = "kills of the server", "kills of Postgres"
FAULTS, HISTORIES, WRITES, READ, FILTERS = (
    "requests into faults",
    "histories",
    "writes",
    "packages read",
    "slow filters",
)


class Outcome(NamedTuple):
    """What came of a part."""

    told: object
    wrong: list[str]
    counts: dict[str, int]


class Part(NamedTuple):
    """One way to break the server."""

    run: Callable[[int, Clock], Awaitable[Outcome]]
    weight: int
    """Its share of the time, beside those of the others."""
    wanted: dict[str, int]
    """How often it does what it does, if there is time."""
    promised: dict[str, int] = {}  # noqa: RUF012  nobody changes it
    """Below which it has failed, however well all went."""


async def _durability(seed: int, clock: Clock) -> Outcome:
    kills = sum(PARTS["durability"].wanted.values())
    tally = await durability.run(kills, seed, clock)
    counts = {SERVER: tally.kills["the server"], POSTGRES: tally.kills["Postgres"]}
    return Outcome(tally, tally.wrong, counts)


async def _model(seed: int, clock: Clock) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        async with private_cluster(Path(name) / "postgres") as cluster:
            wanted = PARTS["model"].wanted[HISTORIES]
            run = partial(random_histories.run, cluster.url, "model", wanted, 25, seed, clock)
            tally = await asyncio.to_thread(run)
    return Outcome(tally, [], {HISTORIES: tally.histories})


async def _away(_: int, clock: Clock) -> Outcome:
    tally = await outage.run(170, clock=clock)
    return Outcome(tally, tally.wrong, {FAULTS: tally.faults.total()})


async def _disk(_: int, clock: Clock) -> Outcome:
    tally = await disk.run(clock)
    return Outcome(tally, tally.wrong, {disk.FULL: tally.full})


async def _load(seed: int, clock: Clock) -> Outcome:
    seconds = min(30.0, clock.left / 3)
    tally = await load.run(items=11_000, seconds=seconds, slow=25, seed=seed, clock=clock)
    return Outcome(tally, tally.wrong, {READ: tally.answers["package 200"]})


async def _writers(seed: int, clock: Clock) -> Outcome:
    rounds = 15
    tally = await _served(lambda _, http: contention.run(http, rounds, seed, clock))
    return Outcome(tally, tally.wrong, {WRITES: sum(c.total() for c in tally.answers.values())})


async def _hostile(_: int, __: Clock) -> Outcome:
    megabytes = 5
    tally = await _served(lambda live, _: adversarial.run(live, megabytes), max_body_mb=megabytes)
    return Outcome(tally, tally.wrong, {})


async def _filters(seed: int, _: Clock) -> Outcome:
    tally = await _served(lambda _, http: filter_fuzz.run(http, 5000, seed))
    return Outcome(tally, tally.wrong, {})


async def _described(seed: int, _: Clock) -> Outcome:
    tally = await _served(lambda live, _: asyncio.to_thread(openapi_fuzz.run, live, 20, seed))
    return Outcome(tally, tally.wrong, {})


async def _slow_reads(_: int, clock: Clock) -> Outcome:
    items = 100_000
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with private_cluster(folder / "postgres") as cluster:
            with server(folder, cluster.url) as live:
                async with client(live) as http:
                    await slow_reads.fill(dsn(cluster.url), http, items)
                    seconds = min(30.0, clock.left / 2)
                    tally = await slow_reads.run(http, items, seconds, clock)
    counts = {FILTERS: tally.filters.total()}
    return Outcome(tally, tally.wrong, counts)


async def _served(work: Callable[[Any, Any], Awaitable[Any]], **settings: object) -> Any:
    """What comes of work with a server of its own."""
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        folder = Path(name)
        async with private_cluster(folder / "postgres") as cluster:
            with server(folder, cluster.url, **settings) as live:
                async with client(live) as http:
                    return await work(live, http)


PARTS: dict[str, Part] = {
    "durability": Part(
        _durability, 36, {SERVER: 30, POSTGRES: 30}, promised={SERVER: 30, POSTGRES: 30}
    ),
    "away": Part(_away, 8, {FAULTS: 1000}, promised={FAULTS: 1000}),
    "load": Part(_load, 8, {READ: load.READERS}, promised={READ: load.READERS}),
    "slow-reads": Part(_slow_reads, 4, {FILTERS: slow_reads.FILTERING_CLIENTS}),
    "disk": Part(_disk, 4, {disk.FULL: 2}),
    "writers": Part(_writers, 2, {WRITES: 1000}),
    "hostile": Part(_hostile, 7, {}),
    "filters": Part(_filters, 2, {}),
    "described": Part(_described, 7, {}),
    # Last, as it is never done: it has whatever the others left.
    "model": Part(_model, 5, {HISTORIES: 1000}),
}
"""In this order: what is promised comes first, while there is most time."""


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]))
@click.option("--seed", type=int, help="What chance begins with; it is printed.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long all of it may take.",
)
def main(parts: tuple[str, ...], seed: int | None, minutes: float) -> None:
    """Break the server on purpose: all PARTS, or those named.

    Exits with 1 when one broke, or did less than it is there for.
    """
    seed = random.randrange(10**6) if seed is None else seed
    names = list(parts or PARTS)
    click.echo(f"seed {seed}, {minutes:g} minutes for {', '.join(names)}")
    clock, broken = Clock(minutes * 60 - SECONDS_TO_END), []
    for number, name in enumerate(names):
        weights = [PARTS[one].weight for one in names[number:]]
        if clock.is_up:
            click.echo(f"{name}: not begun, as the time is over")
            broken.append(name)
        elif not _told(name, seed, clock.left * weights[0] / sum(weights)):
            broken.append(name)
    click.echo(f"{clock.passed:.0f} s in all")
    if broken:
        click.echo(f"broken: {', '.join(broken)}; again with --seed {seed} {' '.join(broken)}")
        sys.exit(1)


def _told(name: str, seed: int, seconds: float) -> bool:
    """Run a part and say what came of it; whether all was well."""
    part, begun = PARTS[name], time.monotonic()
    click.echo(f"{name}: {seconds:.0f} s at most")
    clock = Clock(seconds, lambda how_far: click.echo(f"  {how_far}"))
    try:
        limit = seconds + SECONDS_TO_END
        found = asyncio.run(asyncio.wait_for(part.run(seed, clock), limit))
    except TimeoutError:
        click.echo(f"{name}: failed: did not end after {time.monotonic() - begun:.0f} s")
        return False
    except Exception as error:  # noqa: BLE001  whatever it is, the other parts are run, too
        click.echo(f"{name}: failed after {time.monotonic() - begun:.0f} s: {error!r}")
        return False
    click.echo(f"{name}: {found.told} ({time.monotonic() - begun:.0f} s)")
    for line in found.wrong[:20]:
        click.echo(f"  {line}")
    failed = too_few(found.counts, part.promised)
    for line in too_few(found.counts, part.wanted):
        click.echo(f"  it came to {line} only")
    for line in failed:
        click.echo(f"  too few, so it has failed: {line}")
    return not (found.wrong or failed)


if __name__ == "__main__":
    main()
