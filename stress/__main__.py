"""``make stress``: run all scenarios in turn and print their reports.

Each scenario has its own Postgres and server, and a share of the time, after which it ends. Unused
time goes to the following scenarios. A scenario fails if it did not reach its minimum counts.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from stress import (
    adversarial,
    contention,
    disk,
    durability,
    failover,
    filter_fuzz,
    load,
    openapi_fuzz,
    outage,
    random_histories,
    slow_reads,
)
from stress.cluster import run_private_cluster
from stress.report import ScenarioReport
from stress.server import run_private_server
from stress.timer import ScenarioTimer, list_shortfalls

END_TIMEOUT_SECONDS = 25
"""Time for a scenario to finish its current step after its share of the time."""


class ScenarioPlan(NamedTuple):
    """A stress-test scenario: its function, its share of the time, and how much it must do."""

    run: Callable[[int, ScenarioTimer], Awaitable[ScenarioReport]]
    weight: int
    """Its share of the time, relative to the other scenarios."""
    targets: dict[str, int]
    """Counts, such as 1,000 requests, after which the scenario ends early; a missed target is
    reported."""
    minimums: dict[str, int] = {}  # noqa: RUF012  never modified
    """Counts that the scenario must reach; otherwise it fails."""


async def _durability(seed: int, timer: ScenarioTimer) -> ScenarioReport:
    return await durability.run_durability(sum(KILLS.values()), seed, timer)


async def _model(seed: int, timer: ScenarioTimer) -> ScenarioReport:
    with tempfile.TemporaryDirectory(prefix="case-stress-") as name:
        async with run_private_cluster(Path(name) / "postgres") as cluster:
            run = partial(random_histories.run_histories, cluster.url, "model", MAX_HISTORIES, 25)
            return await asyncio.to_thread(run, seed, timer)


async def _outage(_: int, timer: ScenarioTimer) -> ScenarioReport:
    return await outage.run_outages(170, timer=timer)


async def _failover(_: int, timer: ScenarioTimer) -> ScenarioReport:
    return await failover.run_failovers(timer)


async def _disk(_: int, timer: ScenarioTimer) -> ScenarioReport:
    return await disk.run_full_disks(timer)


async def _load(seed: int, timer: ScenarioTimer) -> ScenarioReport:
    seconds = min(30.0, timer.remaining_seconds / 3)
    return await load.run_load(
        item_count=11_000, seconds=seconds, slow_count=25, seed=seed, timer=timer
    )


async def _contention(seed: int, timer: ScenarioTimer) -> ScenarioReport:
    async with run_private_server() as private:
        return await contention.run_conflicts(private.http, 15, seed, timer)


async def _adversarial(_: int, __: ScenarioTimer) -> ScenarioReport:
    megabytes = 5
    async with run_private_server(max_body_mb=megabytes) as private:
        return await adversarial.send_hostile_requests(private.live, megabytes)


async def _filter_fuzz(seed: int, _: ScenarioTimer) -> ScenarioReport:
    async with run_private_server() as private:
        return await filter_fuzz.fuzz_filters(private.http, 5000, seed)


async def _openapi_fuzz(seed: int, _: ScenarioTimer) -> ScenarioReport:
    async with run_private_server() as private:
        return await asyncio.to_thread(openapi_fuzz.fuzz_operations, private.live, 20, seed)


async def _slow_reads(_: int, timer: ScenarioTimer) -> ScenarioReport:
    async with run_private_server() as private:
        await slow_reads.insert_items(private.cluster.url, private.http, 100_000)
        seconds = min(30.0, timer.remaining_seconds / 2)
        return await slow_reads.run_slow_filters(private.http, seconds, timer)


KILLS = {durability.SERVER_KILLS: 30, durability.POSTGRES_KILLS: 30}
REQUESTS = {outage.REQUESTS: 1000}
PACKAGES_READ = {load.PACKAGES_READ: load.READERS}
MAX_HISTORIES = 1000

SCENARIOS: dict[str, ScenarioPlan] = {
    "durability": ScenarioPlan(_durability, 36, KILLS, minimums=KILLS),
    "outage": ScenarioPlan(_outage, 8, REQUESTS, minimums=REQUESTS),
    "failover": ScenarioPlan(_failover, 12, {failover.EVENTS: len(failover.ACTIONS)}),
    "load": ScenarioPlan(_load, 8, PACKAGES_READ, minimums=PACKAGES_READ),
    "slow-reads": ScenarioPlan(_slow_reads, 4, {slow_reads.FILTERS: slow_reads.FILTERING_CLIENTS}),
    "disk": ScenarioPlan(_disk, 4, {disk.FULL: 2}),
    "contention": ScenarioPlan(_contention, 2, {contention.WRITES: 1000}),
    "adversarial": ScenarioPlan(_adversarial, 7, {}),
    "filter-fuzz": ScenarioPlan(_filter_fuzz, 2, {}),
    "openapi-fuzz": ScenarioPlan(_openapi_fuzz, 7, {}),
    # Last, because more histories are always useful: it gets all unused time.
    "model": ScenarioPlan(_model, 5, {random_histories.HISTORIES: MAX_HISTORIES}),
}
"""Scenarios with minimums come first, while there is most time."""


@click.command()
@click.argument("scenarios", nargs=-1, type=click.Choice([*SCENARIOS]))
@click.option("--seed", type=int, help="Seed of the random numbers; printed if not given.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Total time limit.",
)
def main(scenarios: tuple[str, ...], seed: int | None, minutes: float) -> None:
    """Run the stress tests: all of them, or the named SCENARIOS.

    Exits with 1 if any scenario fails or does not reach its minimum counts.
    """
    seed = random.randrange(10**6) if seed is None else seed
    names = list(scenarios or SCENARIOS)
    click.echo(f"seed {seed}, {minutes:g} minutes for {', '.join(names)}")
    timer, failed = ScenarioTimer(minutes * 60 - END_TIMEOUT_SECONDS), []
    for number, name in enumerate(names):
        weights = [SCENARIOS[other].weight for other in names[number:]]
        if timer.is_expired:
            click.echo(f"{name}: not started, no time left")
            failed.append(name)
        elif not _run_scenario(name, seed, timer.remaining_seconds * weights[0] / sum(weights)):
            failed.append(name)
    click.echo(f"{timer.elapsed_seconds:.0f} s in total")
    if failed:
        click.echo(f"failed: {', '.join(failed)}; rerun with --seed {seed} {' '.join(failed)}")
        sys.exit(1)


def _run_scenario(name: str, seed: int, seconds: float) -> bool:
    """Run a scenario for at most ``seconds``, print its report and return whether it succeeded."""
    scenario, started = SCENARIOS[name], time.monotonic()
    click.echo(f"{name}: up to {seconds:.0f} s")
    timer = ScenarioTimer(seconds, lambda progress: click.echo(f"  {progress}"))
    try:
        limit = seconds + END_TIMEOUT_SECONDS
        report = asyncio.run(asyncio.wait_for(scenario.run(seed, timer), limit))
    except TimeoutError:
        click.echo(f"{name}: failed: still running after {time.monotonic() - started:.0f} s")
        return False
    except Exception as error:  # noqa: BLE001  whatever it is, run the other scenarios
        click.echo(f"{name}: failed after {time.monotonic() - started:.0f} s: {error!r}")
        return False
    click.echo(f"{name}: {report} ({time.monotonic() - started:.0f} s)")
    for line in report.violations[:20]:
        click.echo(f"  {line}")
    shortfalls = list_shortfalls(report.counts, scenario.minimums)
    for line in list_shortfalls(report.counts, scenario.targets):
        click.echo(f"  below the target: {line}")
    for line in shortfalls:
        click.echo(f"  failed, below the minimum: {line}")
    return not (report.violations or shortfalls)


if __name__ == "__main__":
    main()
