"""Commands about frameworks: load them, write them out."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

from ..exceptions import StartupError
from ..formats import template as templates
from ..formats.assembly import Defaults
from ..formats.file_format import COMPRESSED, FILE_FORMATS, TABLES, FileFormat, file_format_of
from ..repair.reader import NO_OPTIONS, RepairOptions
from ..sample import sample as sample_framework
from ..server.startup import has_database
from ..transfer import exporter, importer
from ..transfer.sources import Source, refuse_missing, sources
from .http_options import dense_option, fetcher_of, reaching_options
from .shared import Direction, command_database, database_option, opened, settings_of, with_database


@click.command("import")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--sample", is_flag=True, help="Load the sample framework that comes with this.")
@click.option("--strict", is_flag=True, help="Refuse what is not valid instead of repairing it.")
@click.option(
    "--dry-run", is_flag=True, help="Store nothing; report what would change or be refused."
)
@click.option(
    "--allow-deletes",
    is_flag=True,
    help="Let a source delete or overwrite most of a stored framework.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Write what became of each source, with its counts, as JSON.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say only what was refused.")
@reaching_options
@dense_option
@click.option(
    "--format",
    "form",
    type=click.Choice(FILE_FORMATS),
    help="What the sources are written in. [default: what their names say, else case-json]",
)
@click.option(
    "--keep-association-types",
    is_flag=True,
    help="Keep association types of other vocabularies, as ext:name.",
)
@click.option(
    "--identifiers",
    type=click.Choice(["exact", "uuid5"]),
    default="exact",
    show_default=True,
    help="uuid5 replaces identifiers that are URLs by UUIDs made from them, and keeps the URLs as "
    "uris.",
)
@click.option("--title", help="Title of a framework whose spreadsheet does not say it.")
@click.option("--creator", help="Creator of a framework whose spreadsheet does not say it.")
@click.option("--document-id", help="Identifier of the framework that a spreadsheet is.")
@database_option
def import_packages(**flags: Any) -> None:
    """Load CASE packages.

    A SOURCE is a JSON file as GET CFPackages answers it, a spreadsheet (.csv, .xlsx) or a file of
    lines (.jsonl) as export writes them, any of these compressed (.gz), a folder of them, the URL
    of a CFPackage on a CASE server, or - for standard input.

    A spreadsheet of your own has a row for each item under a row of headings: code, parent,
    statement, type, … ; `case-server template FILE.xlsx` makes one to fill in.

    Each is one transaction: its document, items and associations become exactly what the source
    says, and import reports how many were added, changed, unchanged and deleted. What is not valid
    is repaired where that needs no guessing, and each kind of repair is said once. What cannot be
    repaired is refused with every reason, and nothing of it is stored; the others are loaded.

    A source that would delete more than half of the items stored of a framework, or all of its
    associations, is refused unless --allow-deletes is given; so is a spreadsheet without
    identifiers that would change the statements of more than half of the items with its codes,
    which is probably another framework of the same title.

    Exits with 0 when all were loaded, 1 when one was refused, 2 when the command is not valid.
    """
    options = RepairOptions(flags["identifiers"] == "uuid5", flags["keep_association_types"])
    if flags["strict"] and options != NO_OPTIONS:
        raise click.UsageError(
            "--strict repairs nothing; leave it out, or --identifiers and --keep-association-types"
        )
    refuse_missing(flags["sources"])
    report: Path | None = flags["report"]
    if report and (report.is_dir() or not report.parent.is_dir()):
        # Noticed before anything is loaded, as a missing source is.
        raise StartupError(
            f"the report cannot be written to {report}: name a file in a folder that exists"
        )
    fetcher, dense = fetcher_of(flags), flags["allow_dense"]
    found = list(sources(flags["sources"], fetcher, flags["form"], allow_dense=dense))
    if flags["sample"]:
        found.append(Source("the sample", sample_framework))
    if not found:
        raise click.UsageError("name a SOURCE, or --sample")
    settings = settings_of(database_url=flags["database_url"])
    loader = importer.Importer(
        strict=flags["strict"],
        quiet=flags["quiet"],
        dry_run=flags["dry_run"],
        allow_deletes=flags["allow_deletes"],
        defaults=_defaults(found, flags),
        options=options,
        base_url=settings.base_url,
    )
    if flags["dry_run"] and not has_database(settings):
        # A dry run must not leave a database behind.
        outcomes = asyncio.run(loader.load(None, found))
    else:
        direction: Direction = "compared with" if flags["dry_run"] else "into"
        with command_database(settings, direction, quiet=flags["quiet"]) as ready:
            outcomes = asyncio.run(
                with_database(ready, lambda database: loader.load(database, found))
            )
    if report:
        importer.write_report(report, outcomes)
    sys.exit(1 if any(outcome.status == "refused" for outcome in outcomes) else 0)


def _defaults(found: list[Source], flags: dict[str, Any]) -> Defaults:
    """What the flags say of the one spreadsheet that they can be about."""
    about = {"title": flags["title"], "creator": flags["creator"]}
    about["identifier"] = flags["document_id"]
    if any(about.values()) and [source.form in TABLES for source in found] != [True]:
        raise click.UsageError("--title, --creator and --document-id are about one spreadsheet")
    return Defaults(**about)


@click.command()
@click.argument("identifier", metavar="ID")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; else stdout.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FILE_FORMATS),
    help="What to write it as. [default: what the file's name says, else case-json]",
)
@database_option
def export(
    identifier: str, output: Path | None, form: FileFormat | None, database_url: str | None
) -> None:
    """Write a framework to a file, whole: import reads the same from each of them.

    \b
    case-json   a CASE package, in the standard's own form
    csv         one table, a row for each item, association and definition
    xlsx        a workbook, a sheet for each of these
    jsonl       one entity a line, under the name of its class

    ID is the identifier of its document or of its package. What a name ending in .gz names is
    compressed. A file appears only when it is whole.
    """  # noqa: D301  click keeps the lines after its \b as they are
    name = output.name if output else ""
    form = form or file_format_of(name) or "case-json"
    with command_database(settings_of(database_url=database_url), "from") as settings:
        try:
            with opened(output) as file, _compressed(file, name) as target:
                asyncio.run(
                    with_database(
                        settings, lambda held: exporter.export(held, identifier, form, target)
                    )
                )
        except BrokenPipeError:
            # Whoever read it has had enough; Python would complain again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            reason = f"{output or 'stdout'} cannot be written: {error.strerror}"
            raise StartupError(reason) from error


@contextmanager
def _compressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The file, or one that compresses what is written to it."""
    if not name.lower().endswith(COMPRESSED):
        yield file
        return
    # Without a time in it, so that the same framework is the same file.
    with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        yield cast("BinaryIO", packed)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def template(file: Path) -> None:
    """Write an empty spreadsheet to fill in, and to import.

    FILE.xlsx gets a sheet for the framework, one for its items, one for associations between them,
    and one that explains every column. FILE.csv gets the headings of items alone; its title and
    creator are given to import, with --title and --creator.
    """
    writers = {"csv": templates.write_csv, "xlsx": templates.write_workbook}
    form = file_format_of(file.name) or ""
    if form not in writers:
        raise click.UsageError(f"name a FILE that ends in .xlsx or .csv, not {file.name}")
    if file.exists():
        raise StartupError(f"{file} is there already; name another file")
    try:
        with opened(file) as opened_file:
            writers[form](opened_file)
    except OSError as error:
        raise StartupError(f"{file} cannot be written: {error.strerror}") from error
