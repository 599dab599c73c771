"""The command ``python -m benchmarks``, which ``make bench`` runs."""

import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import click
import httpx

from case_server.db.postgres.embedded import embedded_postgres
from case_server.exceptions import CommandError

from . import (
    filters,
    large_store,
    machine,
    packages,
    pages,
    peers,
    reads,
    report,
    sdk,
    search,
    slow_reads,
    standbys,
    startup,
    test_mode,
    uploads,
    writes,
    wrk,
)
from .context import FULL_ITEMS, QUICK_ITEMS, BenchmarkContext, BenchmarkSizes, report_progress
from .errors import BenchmarkError
from .postgres import BenchmarkPostgres
from .results import ResultRow, create_failed_row

Case = Callable[[BenchmarkContext], Iterator[ResultRow]]

CASES: dict[str, Case] = {
    "item": reads.measure_item,
    "associations": reads.measure_associations,
    "documents": reads.measure_documents,
    "filters": filters.measure_filters,
    "warm": packages.measure_cached_package,
    "cold": packages.measure_uncached_package,
    "unchanged": packages.measure_unchanged_package,
    "groups": packages.measure_package_tree,
    "uploads": uploads.measure_uploads,
    "writes": writes.measure_writes,
    "start": startup.measure_startup,
    "memory": startup.measure_memory,
    "workers": reads.measure_workers,
    "standbys": standbys.measure_standbys,
    "sdk": sdk.measure_sdk,
    "test-mode": test_mode.measure_test_mode,
    "search": search.measure_search,
    "slow-reads": slow_reads.measure_reads_during_filters,
    "large-store": large_store.measure_large_store,
    "pages": pages.measure_pages,
    "aging": reads.measure_aging,  # last, when the store has been read for the whole run
}
CASE_ERRORS = (BenchmarkError, asyncpg.PostgresError, httpx.HTTPError, OSError)
"""Errors that end one case; the other cases are still measured."""

RESULTS = Path(__file__).with_name("RESULTS.md")


@click.command()
@click.option("--quick", is_flag=True, help="Little data and short rounds, for a quick check.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(CASES)), help="Run this case; repeatable."
)
@click.option(
    "--rounds", type=click.IntRange(1), help="Number of interleaved rounds.  [default: 3; quick: 1]"
)
@click.option(
    "--items",
    type=click.IntRange(20),
    help="Items of one framework; other sizes scale with it.  [default: 15000; quick: 750]",
)
@click.option("--seconds", type=click.IntRange(1), help="Length of a round of load.  [default: 2]")
@click.option("--against", help="Base URL of another CASE server to compare with.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the results.  [default: benchmarks/RESULTS.md, for full runs only]",
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
    """Measure the server on this machine, and compare it with what its stack can do at best."""
    start = time.monotonic()
    try:
        wrk.require_wrk()
        with tempfile.TemporaryDirectory(prefix="case-benchmark-") as folder:
            data_dir = Path(folder) / "data"
            with embedded_postgres(data_dir) as url, ExitStack() as servers:
                context = BenchmarkContext(
                    folder=Path(folder),
                    postgres=BenchmarkPostgres(url, data_dir / "postgres.log"),
                    sizes=BenchmarkSizes(items or (QUICK_ITEMS if quick else FULL_ITEMS)),
                    rounds=rounds or (1 if quick else 3),
                    seconds=seconds or (1 if quick else 2),
                    servers=servers,
                )
                rows = _run_cases(context, only or list(CASES), against)
                facts = machine.describe_machine(url)
    except (BenchmarkError, CommandError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    facts.append(("duration", f"{time.monotonic() - start:.0f} s, {context.rounds} rounds"))
    click.echo(
        f"{report.format_results_table(rows)}\n\n{report.format_notes(rows)}\n\n{report.format_target_summary(rows)}"
    )
    file = output or (None if quick or only or items else RESULTS)
    if file:
        flags = shlex.join(sys.argv[1:])
        command = f'make bench ARGS="{flags}"' if flags else "make bench"
        summaries = [(name, _get_case_summary(CASES[name])) for name in only or CASES]
        file.write_text(report.format_report(rows, facts, command, summaries))
        click.echo(f"results written to {file}", err=True)


def _run_cases(
    context: BenchmarkContext, names: Sequence[str], against: str | None
) -> list[ResultRow]:
    rows: list[ResultRow] = []
    for name in names:
        click.echo(f"{name}: {_get_case_summary(CASES[name])}", err=True)
        rows += _run_case(name, CASES[name](context))
    if against:
        report_progress(against)
        rows += _run_case(against, peers.measure_peer(context, against))
    return rows


def _run_case(name: str, case: Iterator[ResultRow]) -> Iterator[ResultRow]:
    """Yield the rows of a case; turn an error into a row, so that the other cases still run."""
    start = time.monotonic()
    try:
        yield from case
    except CASE_ERRORS as error:
        yield create_failed_row(name, "a result", f"{type(error).__name__}: {error}")
    report_progress(f"{name} took {time.monotonic() - start:.0f} s")


def _get_case_summary(case: Case) -> str:
    return (case.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    main()
