"""The command that mirrors frameworks from other CASE servers."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from ..db.pool import Database
from ..db.write.change_counts import ChangeCounts
from ..server.startup import has_database
from ..settings import Settings
from ..transfer.progress import progress_bar
from ..transfer.sync import NO_COUNTS, Syncer, SyncResult, format_changes, read_urls
from ..transfer.terminal import format_counts, problem_lines
from .http_options import dense_option, fetcher_of, reaching_options
from .shared import Direction, command_database, database_option, settings_of, with_database

STATUSES = ("created", "changed", "unchanged", "dropped", "failed")


@click.command()
@click.argument("urls", nargs=-1, metavar="URL...")
@click.option(
    "--from",
    "listed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of URLs, one a line; # begins a remark.",
)
@click.option("--dry-run", is_flag=True, help="Only report what would change.")
@click.option(
    "--allow-deletes",
    is_flag=True,
    help="Allow deleting most items of a framework, or most frameworks of a list.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say only what failed.")
@reaching_options
@dense_option
@database_option
def sync(urls: tuple[str, ...], listed: Path | None, **flags: Any) -> None:
    """Keep frameworks in step with where they come from.

    A URL is that of a CFPackage on a CASE 1.0 or 1.1 server, or of its list of CFDocuments for all
    of them. Run it again, by hand or by cron: what has not changed is not sent again, and of what
    has only the differences are written.

    \b
    case-server sync https://example.org/ims/case/v1p0/CFPackages/ID
    case-server sync https://example.org/ims/case/v1p0/CFDocuments

    What a package no longer has is deleted here: items softly, associations for good. A framework
    is dropped when its list, read to its end, does not name it and its own URL answers 404 or 410.
    When a source fails, or what it sends cannot be read, the copy stays as it is.

    Refused without --allow-deletes: emptying a framework, deleting more than half of its items,
    dropping more than one framework and more than a tenth of a list at once, and dropping anything
    for a list that is empty.

    Failed requests are retried for up to two minutes, as Retry-After asks.

    Exits with 0 when all are in step, 1 when one failed or was refused, 2 when the command is not
    valid.
    """  # noqa: D301  click keeps the lines after its \b as they are
    fetcher = fetcher_of(flags)
    named = [*urls, *(read_urls(listed.read_text().splitlines()) if listed else ())]
    wrong = [url for url in named if not url.startswith(("http://", "https://"))]
    if wrong or not named:
        raise click.UsageError(
            f"not a URL: {', '.join(wrong)}" if wrong else "name a URL, or a file with --from"
        )

    async def work(database: Database) -> list[SyncResult]:
        results = []
        for url in dict.fromkeys(named):
            progress = progress_bar(url, quiet=flags["quiet"])
            mirroring = Syncer(
                database,
                fetcher,
                progress,
                allow_deletes=flags["allow_deletes"],
                dry_run=flags["dry_run"],
                allow_dense=flags["allow_dense"],
            )
            async for result in mirroring.sync(url):
                progress("")
                _print_result(result, quiet=flags["quiet"], dry_run=flags["dry_run"])
                results.append(result)
        return results

    settings = settings_of(database_url=flags["database_url"])
    direction: Direction = "compared with" if flags["dry_run"] else "into"
    with (
        _kept_or_temporary(settings, dry_run=flags["dry_run"]) as kept,
        command_database(kept, direction, quiet=flags["quiet"]) as ready,
    ):
        results = asyncio.run(with_database(ready, work))
    if not flags["quiet"]:
        click.echo(_summary(results, dry_run=flags["dry_run"]))
    sys.exit(1 if any(result.status == "failed" for result in results) else 0)


@contextmanager
def _kept_or_temporary(settings: Settings, *, dry_run: bool) -> Iterator[Settings]:
    """Yield the settings; of a dry run without a database, with a temporary data directory."""
    if not dry_run or has_database(settings):
        yield settings
        return
    with TemporaryDirectory(prefix="case-server-") as directory:
        yield settings.model_copy(update={"data_dir": Path(directory)})


def _print_result(result: SyncResult, *, quiet: bool, dry_run: bool) -> None:
    if result.status == "failed":
        click.echo(f"{result.url}: kept as it was: {result.reason}", err=True)
        if result.counts != NO_COUNTS:
            click.echo(f"  would be: {format_counts(result.counts)}", err=True)
        for line in problem_lines(result.problems, sys.stderr):
            click.echo(f"  {line}", err=True)
    elif result.status != "noted" and not quiet:
        counts = format_counts(result.counts)
        status = f"would be {result.status}" if dry_run else result.status
        click.echo(f"{result.url}: {status} {result.document}: {counts}")
        for phrase in format_changes(result.changes):
            click.echo(f"  {phrase}")
    if not quiet:
        for text in result.notes:
            click.echo(f"{result.url}: {text}", err=True)


def _summary(results: list[SyncResult], *, dry_run: bool) -> str:
    """Return the totals of a run; of what was refused, nothing counts."""
    statuses = Counter(result.status for result in results)
    frameworks = ", ".join(f"{statuses[status]:,} {status}" for status in STATUSES)
    done = [result.counts for result in results if result.status != "failed"]
    total = ChangeCounts(*map(sum, zip(*done, strict=True))) if done else NO_COUNTS
    start = "dry run, nothing was written: " if dry_run else ""
    return f"{start}frameworks: {frameworks}; entities: {format_counts(total)}"
