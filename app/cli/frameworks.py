"""Commands about frameworks: load them, write them out."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

from .. import loading
from ..api.profiles import EXPORT
from ..api.rendering import Renderer
from ..db.database import Database
from ..db.framework import open_framework
from ..errors import StartupError
from ..sample import sample as sample_framework
from ..serving import ready_database
from ..sources import Source, sources
from .common import database_option, opened, settings_of, with_database
from .reaching import fetcher_of, reaching_options


@click.command("import")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--sample", is_flag=True, help="Load the sample framework that comes with this.")
@click.option("--strict", is_flag=True, help="Refuse what is not valid instead of repairing it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be repaired or refused.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write what became of each source as JSON."
)
@click.option("--quiet", "-q", is_flag=True, help="Say only what was refused.")
@reaching_options
@database_option
def import_packages(**flags: Any) -> None:
    """Load CASE packages.

    A SOURCE is a JSON file as GET CFPackages answers it (.json or .json.gz), a folder of them, the
    URL of a CFPackage on a CASE server, or - for standard input.

    Each is one transaction: its document, items and associations become exactly what the source
    says. What is not valid is repaired where that needs no guessing, and each kind of repair is
    said once. What cannot be repaired is refused with every reason, and nothing of it is stored;
    the others are loaded.

    Exits with 0 when all were loaded, 1 when one was refused, 2 when the command is not valid.
    """
    found = list(sources(flags["sources"], fetcher_of(flags)))
    if flags["sample"]:
        found.append(Source("the sample", sample_framework))
    if not found:
        raise click.UsageError("name a SOURCE, or --sample")
    loader = loading.Loader(strict=flags["strict"], quiet=flags["quiet"])
    if flags["dry_run"]:
        outcomes = asyncio.run(loader.load(None, found))
    else:
        with ready_database(settings_of(database_url=flags["database_url"])) as settings:
            outcomes = asyncio.run(
                with_database(settings, lambda database: loader.load(database, found))
            )
    if flags["report"]:
        loading.write_report(flags["report"], outcomes)
    sys.exit(1 if any(outcome.status == "refused" for outcome in outcomes) else 0)


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; else stdout.")
@database_option
def export(identifier: str, output: Path | None, database_url: str | None) -> None:
    """Write a framework as a CASE package, in the standard's own form.

    ID is the identifier of its document or of its package. A file appears only when it is whole.
    """
    with ready_database(settings_of(database_url=database_url)) as settings:
        try:
            with opened(output) as file:
                asyncio.run(
                    with_database(settings, lambda database: _write(database, identifier, file))
                )
        except BrokenPipeError:
            # Whoever read it has had enough; Python would complain again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            reason = f"{output or 'stdout'} cannot be written: {error.strerror}"
            raise StartupError(reason) from error


async def _write(database: Database, identifier: str, file: BinaryIO) -> None:
    renderer = Renderer(EXPORT, base_url="")
    async with open_framework(database, identifier) as framework:
        async for piece in renderer.package(framework):
            file.write(piece)
    file.write(b"\n")
    file.flush()
