"""Read files of all formats as a CFPackage.

Problems and repairs are reported with their sheet, row and column, or their line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..case.package import DerivedValues, PreparedPackage
from ..case.package_stream import parse_large_package
from ..case.resources import ASSOCIATIONS, ITEMS
from ..case.validation.limits import to_json_bytes
from ..case.validation.problems import create_validation_error
from ..exceptions import BadRequest, Problem, UnprocessableContent
from ..formatting import join_first, truncate
from ..repair.metadata_options import MetadataOptions
from ..repair.reader import NO_OPTIONS, RepairOptions, repair_and_parse
from ..repair.repair_log import RepairSummary, get_value_at, iter_ancestor_paths
from . import jsonl
from .csv import read_csv
from .file_format import TABLES, FileFormat, reject_unsupported_spreadsheet
from .tabular.assembly import PackageAssembler
from .tabular.cells import get_column_number
from .tabular.rows import CODE_COLUMN, JsonObject, RowLocation, Sheet
from .xlsx import read_workbook

MAX_VALUE_CHARS = 100
"""Characters of a cell's value in a message."""


@dataclass(frozen=True)
class AssembledPackage:
    """An unvalidated package, built from the rows of a spreadsheet or from JSON Lines."""

    tree: JsonObject
    locations: Mapping[str, RowLocation]
    """The location of each entity in the file, by its path in ``tree``."""
    problems: list[Problem]
    """Problems of rows and lines, with their locations."""
    repairs: Sequence[RepairSummary] = ()
    is_export: bool = False
    """True if ``export`` wrote the file."""
    derived: DerivedValues | None = None
    """Values that the rows of a spreadsheet do not give."""

    def describe_location(self, path: str) -> str:
        """Convert the path of a problem, such as ``CFItems[0].notes``, to a location in the file.

        The location is text such as "row 5, column B". If it is unknown, returns the path itself.
        """
        for entity in (path, *iter_ancestor_paths(path)):
            if entity in self.locations:
                return self.locations[entity].describe(path[len(entity) :].removeprefix("."))
        return path

    def locate_problem(self, problem: Problem) -> Problem:
        """Return a copy of a problem with its location in the file in place of its JSON path.

        If the message begins with "must", the invalid value is put before it.
        """
        path, message = problem["path"], problem["message"]
        value = get_value_at(self.tree, path)
        if message.startswith("must ") and isinstance(value, str | int | float):
            message = f"{truncate(repr(value), MAX_VALUE_CHARS)} {message}"
        return Problem(path=self.describe_location(path), message=message)


def read_framework(  # noqa: PLR0913  each is a choice of its own
    raw: bytes,
    file_format: FileFormat,
    metadata: MetadataOptions,
    *,
    strict: bool = False,
    allow_dense: bool = False,
    options: RepairOptions = NO_OPTIONS,
) -> tuple[PreparedPackage, list[RepairSummary]]:
    """Read a file and return (package, repairs): the valid package and a summary of each repair.

    ``metadata`` replaces values of the file, such as its title. ``strict`` turns repairs off.
    Raises ``BadRequest`` if the file is not of this format, and ``UnprocessableContent`` with all
    problems. JSON with too many values per megabyte raises ``ContentTooLarge``, unless
    ``allow_dense`` is true.
    """
    if file_format not in TABLES:
        options = replace(options, metadata=metadata)
    if file_format == "case-json":
        reject_unsupported_spreadsheet(raw)
        return _parse_package_json(raw, strict=strict, allow_dense=allow_dense, options=options)
    file = assemble_package(raw, file_format, metadata, strict=strict)
    package: PreparedPackage | None = None
    repairs: list[RepairSummary] = []
    problems = file.problems
    try:
        package, repairs = _parse_package_json(
            to_json_bytes(file.tree),
            strict=strict,
            # The limits of spreadsheets are checked by their readers.
            allow_dense=allow_dense or file_format in TABLES,
            options=options,
            is_export=file.is_export,
        )
    except UnprocessableContent as error:
        problems = [*problems, *map(file.locate_problem, error.problems)]
    if problems or package is None:
        # Cells that could not be read are often the reason of another problem.
        warnings = [
            Problem(path=repair.path, message=repair.explanation)
            for repair in file.repairs
            if repair.kind in UNREAD_CELLS
        ]
        raise create_validation_error("framework", _sort_problems([*warnings, *problems]))
    locations = _map_identifiers_to_locations(file.tree, file.locations)
    located = [replace(repair, path=file.describe_location(repair.path)) for repair in repairs]
    package = replace(package, locations=locations, derived=file.derived or package.derived)
    return package, _merge_repairs([*file.repairs, *located])


LOCATION = re.compile(r"(sheet .*?, )?(?:rows?|line) (\d+)(?:.*?, column ([A-Z]+))?")


def _sort_problems(problems: Sequence[Problem]) -> list[Problem]:
    """Return the distinct problems in a new list, sorted by sheet, row and column.

    Problems without a row come first, and sheets stay in the order in which they first occur.
    Duplicates occur if several entities inherited the same invalid value, for example the change
    time of the document.
    """
    sheets: dict[str, int] = {}

    def get_position(problem: Problem) -> tuple[int, int, int]:
        match = LOCATION.match(problem["path"])
        if match is None:
            return -1, 0, 0
        sheet, row, column = match.groups()
        number = sheets.setdefault(sheet or "", len(sheets))
        return number, int(row), get_column_number(column or "")

    unique = {(problem["path"], problem["message"]): problem for problem in problems}
    return sorted(unique.values(), key=get_position)


def assemble_package(
    raw: bytes, file_format: FileFormat, metadata: MetadataOptions, *, strict: bool = False
) -> AssembledPackage:
    """Build an unvalidated ``AssembledPackage`` from a spreadsheet or JSON Lines.

    ``metadata`` gives the title, creator and identifier that replace those in the file. ``strict``
    turns repairs off. Raises ``BadRequest`` if the file is not of this format.
    """
    reject_unsupported_spreadsheet(raw)
    if file_format == "jsonl":
        return AssembledPackage(
            *jsonl.read_json_lines(raw), is_export=jsonl.is_json_lines_export(raw)
        )
    sheets = [read_csv(raw)] if file_format == "csv" else read_workbook(raw)
    assembler = PackageAssembler(sheets, metadata, is_strict=strict)
    if not assembler.has_rows:
        raise BadRequest("the spreadsheet has no rows: add rows below a row of headings")
    return AssembledPackage(
        assembler.package,
        assembler.locations,
        assembler.problems,
        [*_iter_warnings(assembler, sheets), *assembler.repairs.summarize()],
        assembler.is_export,
        assembler.derived,
    )


def _map_identifiers_to_locations(
    tree: JsonObject, locations: Mapping[str, RowLocation]
) -> dict[str, str]:
    return {
        entity["identifier"]: locations[f"{collection}[{index}]"].text
        for collection in (ITEMS.collection, ASSOCIATIONS.collection)
        for index, entity in enumerate(tree[collection])
        if "identifier" in entity
    }


def _parse_package_json(
    raw: bytes, *, strict: bool, allow_dense: bool, options: RepairOptions, is_export: bool = False
) -> tuple[PreparedPackage, list[RepairSummary]]:
    """Parse the JSON of a package, repair it unless ``strict``, and return (package, repairs).

    A valid package that ``export`` wrote (``is_export``) is not repaired either, unless ``options``
    contain metadata that replace values. Raises ``UnprocessableContent`` for an invalid package.
    """
    has_overrides = options.metadata is not None and options.metadata.has_overrides
    if strict or (is_export and not has_overrides):
        try:
            return parse_large_package(raw, allow_dense=allow_dense), []
        except UnprocessableContent:
            if strict:
                raise
    return repair_and_parse(raw, allow_dense=allow_dense, options=options)


def _merge_repairs(repairs: list[RepairSummary]) -> list[RepairSummary]:
    """Merge all repairs of the same kind into one, and add up their counts."""
    summaries: dict[str, RepairSummary] = {}
    for repair in repairs:
        first = summaries.setdefault(repair.kind, repair)
        if first is not repair:
            fields = dict(Counter(first.fields) + Counter(repair.fields))
            summaries[repair.kind] = replace(first, count=first.count + repair.count, fields=fields)
    return [*summaries.values()]


MAX_LISTED = 10
"""Number of codes, sheets or cells that a report lists."""

UNREAD_CELLS = {
    "cell-beyond-columns": "A cell beyond the 256 columns that are read of a sheet was left out.",
    "merged-cells": "Cells were merged over several rows; their value was read for the first row.",
    "formula-without-result": "A formula has no stored result, so that its cell was read as empty; "
    "open the workbook in a spreadsheet program and save it.",
}


def _iter_warnings(assembler: PackageAssembler, sheets: Sequence[Sheet]) -> Iterator[RepairSummary]:
    """Yield a summary of each kind of sheets, headings, cells and codes that may be misread."""
    if names := assembler.left_out:
        explanation = f"A sheet with an unknown name was left out: {join_first(names, MAX_LISTED)}."
        yield RepairSummary("unknown-sheet", explanation, len(names), names[0])
    if headings := assembler.misspelled_headings:
        hints = [f"{each.heading!r}: did you mean {each.column!r}?" for each in headings]
        explanation = (
            "An unknown heading resembles a known one; rename it, or its values stay under "
            f"extensions. {join_first(hints, MAX_LISTED, ' ')}"
        )
        yield RepairSummary("similar-heading", explanation, len(hints), headings[0].location)
    for sheet in sheets:
        yield from _iter_unread_cell_warnings(sheet)
    if locations_by_code := assembler.find_duplicate_numeric_codes():
        codes = [
            f"{code} ({', '.join(location.text.rpartition(', ')[2] for location in locations)})"
            for code, locations in locations_by_code.items()
        ]
        explanation = (
            "Items have equal codes, and one of them was a number: "
            f"{join_first(codes, MAX_LISTED, '; ')}. Check whether a final zero was lost."
        )
        path = next(iter(locations_by_code.values()))[1].describe(CODE_COLUMN)
        yield RepairSummary("equal-codes", explanation, len(codes), path)


def _iter_unread_cell_warnings(sheet: Sheet) -> Iterator[RepairSummary]:
    if sheet.unread is None:
        return
    names = (sheet.unread.beyond, sheet.unread.merged, sheet.unread.formulas)
    for (kind, explanation), cells in zip(UNREAD_CELLS.items(), names, strict=True):
        if cells:
            path = f"sheet {sheet.name}, cell {cells[0]}"
            listed = f"{explanation} Cells: {join_first(cells, MAX_LISTED)}."
            yield RepairSummary(kind, listed, len(cells), path)
