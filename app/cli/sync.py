"""The ``sync`` command: mirror frameworks from other CASE servers."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from ..db.pool import Database
from ..db.write.upload.change_counts import ChangeCounts
from ..exceptions import BadRequest
from ..net.download import Fetcher
from ..net.ssrf import is_http_url
from ..repair.encoding import require_utf8
from ..server.startup import has_database
from ..settings import Settings
from ..transfer.console import create_progress_reporter, format_counts, format_problems
from ..transfer.sources import URL_ADVICE
from ..transfer.sync import NO_COUNTS, Syncer, SyncResult, format_changes, parse_url_lines
from .options import add_token_options, create_fetcher, dense_option
from .shared import DatabaseAccess, add_settings_option, run_on_database

STATUSES = ("created", "changed", "unchanged", "deleted", "failed")


@click.command("sync")
@click.argument("urls", nargs=-1, metavar="URL...")
@click.option(
    "--from",
    "url_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Read URLs from a file, one per line; # starts a comment.",
)
@click.option("--dry-run", is_flag=True, help="Only report what would change.")
@click.option(
    "--allow-deletes",
    is_flag=True,
    help="Allow deleting most items of a framework, or most frameworks of a list.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only failures.")
@add_token_options
@dense_option
@add_settings_option
def sync_frameworks(urls: tuple[str, ...], url_file: Path | None, **flags: Any) -> None:
    """Mirror frameworks from other CASE servers.

    A URL is that of a CFPackage on a CASE 1.0 or 1.1 server, or of the server's list of CFDocuments
    to mirror all of them. Run sync again, by hand or by cron, to update the copies: unchanged
    packages are not downloaded again, and only the differences of others are written.

    \b
    case-server sync https://example.org/ims/case/v1p0/CFPackages/ID
    case-server sync https://example.org/ims/case/v1p0/CFDocuments

    Entities that a package no longer contains are deleted here: items softly, associations
    permanently. A framework is deleted if its list, read to the end, no longer contains it and its
    own URL returns 404 or 410. If a source fails or is invalid, the copy stays unchanged.

    Refused without --allow-deletes: emptying a framework, deleting more than half of its items,
    dropping more than one framework and more than a tenth of a list at once, and dropping anything
    for a list that is empty.

    Failed requests are retried for up to two minutes; Retry-After is respected.

    Exit codes: 0 all frameworks are up to date; 1 a source failed or was refused; 2 usage error.
    """  # noqa: D301  click keeps the lines after its \b as they are
    work = partial(_sync_urls, create_fetcher(flags), _collect_urls(urls, url_file), flags)
    settings: Settings = flags["settings"]
    access: DatabaseAccess = "compare" if flags["dry_run"] else "write"
    with _use_temporary_database_if_missing(settings, dry_run=flags["dry_run"]) as chosen_settings:
        is_temporary = chosen_settings is not settings
        if is_temporary and not flags["quiet"]:
            click.echo("compared with an empty database, because there is none yet", err=True)
        results = run_on_database(
            chosen_settings, access, work, quiet=flags["quiet"] or is_temporary
        )
    if not flags["quiet"]:
        click.echo(_format_summary(results, dry_run=flags["dry_run"]))
    sys.exit(1 if any(result.status == "failed" for result in results) else 0)


async def _sync_urls(
    fetcher: Fetcher, urls: list[str], flags: dict[str, Any], database: Database
) -> list[SyncResult]:
    """Mirror the frameworks at each URL, print each ``SyncResult``, and return them as a list.

    A package's URL has one result. The URL of a list of documents has one for each framework, and
    possibly one about the list itself. ``fetcher`` downloads the URLs. ``flags`` are the parsed
    command-line options.
    """
    results = []
    for url in urls:
        progress = create_progress_reporter(url, quiet=flags["quiet"])
        syncer = Syncer(
            database,
            fetcher,
            progress,
            allow_deletes=flags["allow_deletes"],
            dry_run=flags["dry_run"],
            allow_dense=flags["allow_dense"],
        )
        async for result in syncer.sync(url):
            progress("")
            _print_result(result, quiet=flags["quiet"], dry_run=flags["dry_run"])
            results.append(result)
    return results


def _collect_urls(urls: tuple[str, ...], url_file: Path | None) -> list[str]:
    """Return ``urls`` and the URLs in the file ``url_file``, without duplicates.

    Raises ``click.UsageError`` if a URL is invalid, the file is not UTF-8 or there are no URLs.
    """
    all_urls = [*urls, *(_read_url_file(url_file) if url_file else ())]
    invalid = [url for url in all_urls if not is_http_url(url)]
    if invalid:
        raise click.UsageError(f"invalid URL {', '.join(invalid)}: {URL_ADVICE}")
    if not all_urls:
        raise click.UsageError("missing URL: name one, or a file of URLs with --from")
    return list(dict.fromkeys(all_urls))


def _read_url_file(path: Path) -> list[str]:
    raw = path.read_bytes()
    try:
        require_utf8(raw)
    except BadRequest as error:
        raise click.UsageError(f"{path}: {error}") from error
    # Editors on Windows write a byte order mark, which utf-8-sig skips.
    return parse_url_lines(raw.decode("utf-8-sig").splitlines())


@contextmanager
def _use_temporary_database_if_missing(settings: Settings, *, dry_run: bool) -> Iterator[Settings]:
    """Yield settings with a temporary data directory if a dry run has no database yet.

    Otherwise yields ``settings``. The embedded Postgres starts empty in that directory, which is
    deleted at the end of the ``with`` block.
    """
    if not dry_run or has_database(settings):
        yield settings
        return
    with TemporaryDirectory(prefix="case-server-") as directory:
        yield settings.model_copy(update={"data_dir": Path(directory)})


def _print_result(result: SyncResult, *, quiet: bool, dry_run: bool) -> None:
    if result.status == "failed":
        click.echo(f"{result.url}: failed, the copy is unchanged: {result.reason}", err=True)
        if result.counts != NO_COUNTS:
            click.echo(f"  would be: {format_counts(result.counts)}", err=True)
        for line in format_problems(result.problems, sys.stderr):
            click.echo(f"  {line}", err=True)
    elif result.status != "noted" and not quiet:
        counts = format_counts(result.counts)
        status = f"would be {result.status}" if dry_run else result.status
        click.echo(f"{result.url}: {status} {result.document}: {counts}")
        for phrase in format_changes(result.changes):
            click.echo(f"  {phrase}")
    if not quiet:
        for note in result.notes:
            click.echo(f"{result.url}: {note}", err=True)


def _format_summary(results: list[SyncResult], *, dry_run: bool) -> str:
    statuses = Counter(result.status for result in results)
    frameworks = ", ".join(f"{statuses[status]:,} {status}" for status in STATUSES)
    counts = [result.counts for result in results if result.status != "failed"]
    total = ChangeCounts(*map(sum, zip(NO_COUNTS, *counts, strict=True)))
    start = "dry run, nothing was written: " if dry_run else ""
    return f"{start}frameworks: {frameworks}; entities: {format_counts(total)}"
