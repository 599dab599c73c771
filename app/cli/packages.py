"""The ``import``, ``export`` and ``template`` commands."""

from __future__ import annotations

import asyncio
import gc
import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from ..exceptions import CommandError
from ..formats.file_format import (
    COMPRESSED,
    EXPORT_LAYOUTS,
    FILE_FORMATS,
    TABLES,
    ExportLayout,
    FileFormat,
    detect_file_format,
)
from ..repair.reader import NO_OPTIONS, RepairOptions
from ..sample import read_sample
from ..server.startup import has_database
from ..transfer.console import create_progress_reporter
from ..transfer.sources import PackageSource, iter_sources, require_existing_paths
from .options import (
    add_metadata_options,
    add_token_options,
    create_fetcher,
    dense_option,
    get_metadata_options,
)
from .shared import (
    DatabaseAccess,
    add_output_options,
    add_settings_option,
    convert_output_errors,
    open_atomic_output,
    refuse_overwriting,
    run_on_database,
)

if TYPE_CHECKING:
    from ..db.pool import Database
    from ..settings import Settings
    from ..transfer.importer import Importer, ImportResult


@click.command("import")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--sample", is_flag=True, help="Import the sample framework.")
@click.option("--strict", is_flag=True, help="Refuse invalid packages instead of repairing them.")
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
    metavar="FILE",
    help="Write the result of each source, with its counts, as JSON.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only refusals.")
@add_token_options
@dense_option
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FILE_FORMATS),
    help="File format of the sources. [default: by file name, else case-json]",
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
@add_metadata_options
@add_settings_option
def import_packages(**flags: Any) -> None:
    """Import CASE packages and spreadsheets.

    A SOURCE is a JSON file with a CFPackage, a spreadsheet (.csv, .xlsx) or a JSON Lines file
    (.jsonl) as export writes it, any of these compressed (.gz), a folder of them, the URL of a
    CFPackage on a CASE server, or - for standard input.

    A spreadsheet of your own has a row for each item below a row of headings: code, parent,
    statement, type, … ; `case-server template FILE.xlsx` writes one to fill in.

    Each source is one transaction. It replaces its document, items and associations, and import
    reports how many were added, changed, unchanged and deleted. Common mistakes are repaired
    where there is only one possible meaning; each kind of repair is reported once. Other invalid
    sources are refused with all problems, without storing anything of them; the others are
    imported, with warnings about cycles, items without a parent and equal codes.

    A source that would delete more than half of the stored items of a framework, or all of its
    three or more associations, is refused unless --allow-deletes is given. So is a spreadsheet
    without identifiers that would change the statements of more than half of the three or more
    items with its codes, because it is probably another framework with the same title.

    \b
    case-server import framework.json frameworks/
    case-server import maths.xlsx --dry-run
    case-server import https://example.org/ims/case/v1p0/CFPackages/ID --token TOKEN

    Exit codes: 0 all sources imported; 1 a source was refused; 2 usage error.
    """  # noqa: D301  click keeps the lines after its \b as they are
    # Imported late: the check of the arguments does not need the database code.
    from ..transfer import importer  # noqa: PLC0415  see above

    quiet = flags["quiet"]
    options = _get_repair_options(flags)
    require_existing_paths(flags["sources"])
    report: Path | None = flags["report"]
    if report:
        importer.require_writable_report_path(report)
    sources = _list_sources(flags)
    settings: Settings = flags["settings"]
    loader = importer.Importer(
        strict=flags["strict"],
        dry_run=flags["dry_run"],
        allow_deletes=flags["allow_deletes"],
        metadata=get_metadata_options(sources, flags),
        options=options,
        base_url=settings.base_url,
        progress_of=partial(create_progress_reporter, quiet=quiet),
    )
    results = _import_sources(loader, sources, settings, quiet=quiet)
    if report:
        message = "replaced the report in" if report.exists() else "wrote the report to"
        importer.write_import_report(report, results)
        if not quiet:
            click.echo(f"{message} {report}", err=True)
    sys.exit(1 if any(result.status == "refused" for result in results) else 0)


def _get_repair_options(flags: dict[str, Any]) -> RepairOptions:
    options = RepairOptions(flags["identifiers"] == "uuid5", flags["keep_association_types"])
    if flags["strict"] and options != NO_OPTIONS:
        raise click.UsageError(
            "--strict repairs nothing: remove it, or --identifiers and --keep-association-types"
        )
    return options


def _list_sources(flags: dict[str, Any]) -> list[PackageSource]:
    fetcher, dense = create_fetcher(flags), flags["allow_dense"]
    sources = list(iter_sources(flags["sources"], fetcher, flags["file_format"], allow_dense=dense))
    if flags["sample"]:
        sources.append(PackageSource("the sample", read_sample))
    if not sources:
        raise click.UsageError("missing SOURCE: name a file, a folder or a URL, or add --sample")
    return sources


def _import_sources(
    loader: Importer, sources: list[PackageSource], settings: Settings, *, quiet: bool
) -> list[ImportResult]:
    """Import files, URLs or stdin, print each ``ImportResult``, and return them as a list.

    A dry run uses the database only if there is one. If ``quiet`` is true, prints only the results
    of refused sources.
    """
    from .import_output import print_import_result  # noqa: PLC0415  as in import_packages

    async def run(database: Database | None) -> list[ImportResult]:
        # Imported modules are permanent: without this, full collections scan them repeatedly.
        gc.freeze()
        results = []
        async for result in loader.import_sources(database, sources):
            print_import_result(result, quiet=quiet)
            results.append(result)
        return results

    if loader.dry_run and not has_database(settings):
        # A dry run must not leave a database behind.
        return asyncio.run(run(None))
    access: DatabaseAccess = "compare" if loader.dry_run else "write"
    return run_on_database(settings, access, run, quiet=quiet)


@click.command("export")
@click.argument("identifier", metavar="ID")
@add_output_options
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FILE_FORMATS),
    help="File format. [default: by file name, else case-json]",
)
@click.option(
    "--layout",
    type=click.Choice(EXPORT_LAYOUTS),
    help="Write csv or xlsx for other programs: opensalt is read by OpenSALT and compeito. "
    "[default: all fields, for import]",
)
@click.option("--pretty", is_flag=True, help="Indent case-json.")
@add_settings_option
def export_framework(
    *,
    identifier: str,
    output: Path | None,
    file_format: FileFormat | None,
    layout: ExportLayout | None,
    pretty: bool,
    force: bool,
    settings: Settings,
) -> None:
    """Export a framework as JSON or a spreadsheet.

    \b
    case-json   a CASE package, as the standard defines it
    csv         one table with a row for each item, association and definition
    xlsx        a workbook with a sheet for each of these
    jsonl       JSON Lines: one entity per line under its class name

    Importing any of these restores the same framework. `--layout opensalt` writes a table or
    workbook as OpenSALT does, and reports which values that layout cannot represent.

    ID is the identifier of the document or of its package, or a unique prefix of one;
    `case-server list` shows them. A file name that ends in .gz is compressed. The file appears
    only when it is complete.

    \b
    Example: case-server export 5a7f2c1e-0d7e-4a53-9c67-0b8d2f1e6a34 -o framework.xlsx
    """  # noqa: D301  click keeps the lines after its \b as they are
    # Imported late: template does without the database code.
    from ..transfer import exporter  # noqa: PLC0415  see above
    from ..transfer.framework_ids import resolve_framework_id  # noqa: PLC0415  see above

    name = output.name if output else ""
    file_format = file_format or _get_output_format(output)
    if pretty and file_format != "case-json":
        raise click.UsageError(f"--pretty is for case-json, not for {file_format}")
    if layout and file_format not in TABLES:
        raise click.UsageError(f"--layout is for csv and xlsx, not for {file_format}")
    refuse_overwriting(output, force=force)
    if output is None and file_format == "xlsx" and sys.stdout.isatty():
        raise click.UsageError(f"{file_format} is binary: add -o FILE, or redirect the output")
    notes: list[str] = []  # none if the reader of a pipe has enough
    with (
        convert_output_errors(output),
        open_atomic_output(output) as file,
        _compress_if_gz(file, name) as target,
    ):

        async def run(database: Database) -> list[str]:
            document = await resolve_framework_id(database, identifier)
            return await exporter.export_framework(
                database, document, file_format, target, pretty=pretty, layout=layout
            )

        notes = run_on_database(settings, "read", run)
    if output:
        click.echo(f"exported to {output}", err=True)
    for note in notes:
        click.echo(f"  {note}", err=True)


def _get_output_format(output: Path | None) -> FileFormat:
    """Return the file format that the output file's extension implies; by default case-json.

    Raises ``click.UsageError`` if the extension is unknown.
    """
    name = output.name if output else ""
    file_format = detect_file_format(name)
    if output and output.suffix and file_format is None:
        raise click.UsageError(
            f"unknown file format of {name!r}: use a name that ends in .json, .csv, .xlsx or "
            ".jsonl, each also with .gz, or add --format"
        )
    return file_format or "case-json"


@contextmanager
def _compress_if_gz(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Yield a gzip writer to ``file`` if ``name`` ends in ``.gz``, otherwise ``file`` itself.

    The writer is closed at the end of the ``with`` block; ``file`` stays open.
    """
    if not name.lower().endswith(COMPRESSED):
        yield file
        return
    # Without a timestamp, so that the same framework gives the same file.
    with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as compressed:
        yield cast("BinaryIO", compressed)


@click.command("template")
@click.argument("file", type=click.Path(path_type=Path))
def write_template(file: Path) -> None:
    """Write an empty spreadsheet to fill in and import.

    FILE.xlsx gets a sheet for the framework, one for its items, one for associations between them,
    and one that explains every column. FILE.csv gets only the headings of items; to import it,
    give the framework's title and creator with --title and --creator.

    \b
    Example: case-server template maths.xlsx
    """  # noqa: D301  click keeps the lines after its \b as they are
    from ..formats import template as templates  # noqa: PLC0415  import and export do without it

    writers = {"csv": templates.write_csv_template, "xlsx": templates.write_workbook_template}
    file_format = detect_file_format(file.name) or ""
    if file_format not in writers:
        raise click.UsageError(f"invalid FILE {file.name!r}: it must end in .xlsx or .csv")
    if file.exists():
        raise CommandError(f"{file} exists already; name another file")
    with convert_output_errors(file), open_atomic_output(file) as output:
        writers[file_format](output)
    click.echo(f"wrote the template to {file}", err=True)
