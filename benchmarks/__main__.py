"""The command: ``python -m benchmarks``, which is what ``make bench`` runs."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import asyncpg
import click
import httpx

from case_server.db.postgres.embedded import embedded_postgres
from case_server.exceptions import StartupError

from . import (
    filters,
    machine,
    packages,
    pages,
    peers,
    reads,
    report,
    sdk,
    search,
    slow_reads,
    starting,
    target,
    uploads,
    writes,
    wrk,
)
from .errors import BenchmarkError
from .lab import FULL_ITEMS, QUICK_ITEMS, Lab, Sizes, say
from .postgres import Postgres
from .results import Row, failed

Case = Callable[[Lab], Iterator[Row]]

CASES: dict[str, Case] = {
    "item": reads.item,
    "associations": reads.associations,
    "documents": reads.documents,
    "filters": filters.filters,
    "warm": packages.warm,
    "cold": packages.cold,
    "unchanged": packages.unchanged,
    "groups": packages.groups,
    "uploads": uploads.uploads,
    "writes": writes.writes,
    "start": starting.start,
    "memory": starting.worked,
    "workers": reads.workers,
    "sdk": sdk.sdk,
    "target": target.target,
    "search": search.search,
    "slow-reads": slow_reads.slow_reads,
    "pages": pages.pages,
}
STOPPING = (BenchmarkError, asyncpg.PostgresError, httpx.HTTPError, OSError)
"""What ends one case, while the others are still measured."""

RESULTS = Path(__file__).with_name("RESULTS.md")


@click.command()
@click.option("--quick", is_flag=True, help="Little data and short rounds: a try, no figures.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(CASES)), help="This case; may be repeated."
)
@click.option(
    "--rounds", type=click.IntRange(1), help="Interleaved rounds.  [default: 3; quick: 1]"
)
@click.option(
    "--items",
    type=click.IntRange(20),
    help="Items of one framework; the rest grows with it.  [default: 15000; quick: 750]",
)
@click.option("--seconds", type=click.IntRange(1), help="Length of a round of load.  [default: 2]")
@click.option("--against", help="Base URL of another CASE server to read beside this one.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to keep the results.  [default: benchmarks/RESULTS.md, of a full run only]",
)
def main(
    *,
    quick: bool,
    only: Sequence[str],
    rounds: int | None,
    items: int | None,
    seconds: int | None,
    against: str | None,
    output: Path | None,
) -> None:
    """Measure the server beside the limits of what it stands on, in one run on this machine."""
    begun = time.monotonic()
    try:
        wrk.require()
        with tempfile.TemporaryDirectory(prefix="case-benchmark-") as folder:
            data_dir = Path(folder) / "data"
            with embedded_postgres(data_dir) as url:
                lab = Lab(
                    folder=Path(folder),
                    postgres=Postgres(url, data_dir / "postgres.log"),
                    sizes=Sizes(items or (QUICK_ITEMS if quick else FULL_ITEMS)),
                    rounds=rounds or (1 if quick else 3),
                    seconds=seconds or (1 if quick else 2),
                )
                rows = _measured(lab, only or list(CASES), against)
                facts = machine.description(url)
    except (BenchmarkError, StartupError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    facts.append(("duration", f"{time.monotonic() - begun:.0f} s, {lab.rounds} rounds"))
    click.echo(f"{report.table(rows)}\n\n{report.remarks(rows)}\n\n{report.summary(rows)}")
    kept = output or (None if quick or only or items else RESULTS)
    if kept:
        flags = shlex.join(sys.argv[1:])
        command = f'make bench ARGS="{flags}"' if flags else "make bench"
        limits = [(name, _meaning(CASES[name])) for name in only or CASES]
        kept.write_text(report.document(rows, facts, command, limits))
        click.echo(f"kept in {kept}", err=True)


def _measured(lab: Lab, names: Sequence[str], against: str | None) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        click.echo(f"{name}: {_meaning(CASES[name])}", err=True)
        rows += _rows(name, CASES[name](lab))
    if against:
        say(against)
        rows += _rows(against, peers.peer(lab, against))
    return rows


def _rows(name: str, case: Iterator[Row]) -> Iterator[Row]:
    """The rows of a case; what stops it is a row, so that the others are still measured."""
    begun = time.monotonic()
    try:
        yield from case
    except STOPPING as error:
        yield failed(name, "an answer", f"{type(error).__name__}: {error}")
    say(f"{name} took {time.monotonic() - begun:.0f} s")


def _meaning(case: Case) -> str:
    """The first line of a case's docstring says what it is held to."""
    return (case.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    main()
