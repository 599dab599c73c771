"""The command that keeps frameworks in step with where they come from."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from ..db.database import Database
from ..mirroring import Mirroring, Synced, read_urls, told
from ..progress import bar
from ..starting import ready_database
from ..terminal import problem_lines
from .common import database_option, settings_of, with_database
from .reaching import fetcher_of, reaching_options


@click.command()
@click.argument("urls", nargs=-1, metavar="URL...")
@click.option(
    "--from",
    "listed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of URLs, one a line; # begins a remark.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say only what failed.")
@reaching_options
@database_option
def sync(urls: tuple[str, ...], listed: Path | None, **flags: Any) -> None:
    """Keep frameworks in step with where they come from.

    A URL is that of a CFPackage on a CASE 1.0 or 1.1 server, or of its list of CFDocuments for all
    of them. Run it again, by hand or by cron: what has not changed is not sent again, and of what
    has only the differences are written.

    \b
    case-server sync https://example.org/ims/case/v1p0/CFPackages/ID
    case-server sync https://example.org/ims/case/v1p0/CFDocuments

    What the source no longer has is deleted here: items and documents softly, associations for
    good. When a source fails, or what it sends cannot be read, the copy stays as it is.

    Exits with 0 when all are in step, 1 when one failed, 2 when the command is not valid.
    """  # noqa: D301  click keeps the lines after its \b as they are
    fetcher = fetcher_of(flags)
    named = [*urls, *(read_urls(listed.read_text().splitlines()) if listed else ())]
    wrong = [url for url in named if not url.startswith(("http://", "https://"))]
    if wrong or not named:
        raise click.UsageError(
            f"not a URL: {', '.join(wrong)}" if wrong else "name a URL, or a file with --from"
        )

    async def work(database: Database) -> bool:
        """Whether all are in step."""
        all_well = True
        for url in dict.fromkeys(named):
            progress = bar(url, quiet=flags["quiet"])
            async for synced in Mirroring(database, fetcher, progress).sync(url):
                progress("")
                _tell(synced, quiet=flags["quiet"])
                all_well = all_well and synced.status != "failed"
        return all_well

    with ready_database(settings_of(database_url=flags["database_url"])) as settings:
        all_well = asyncio.run(with_database(settings, work))
    sys.exit(0 if all_well else 1)


def _tell(synced: Synced, *, quiet: bool) -> None:
    if synced.status == "failed":
        click.echo(f"{synced.url}: kept as it was: {synced.reason}", err=True)
        for line in problem_lines(synced.problems, sys.stderr):
            click.echo(f"  {line}", err=True)
    elif not quiet:
        click.echo(f"{synced.url}: {synced.status} {synced.document}")
        for phrase in told(synced.changes):
            click.echo(f"  {phrase}")
