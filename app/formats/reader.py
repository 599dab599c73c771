"""Read files of all formats as a CFPackage.

Problems and repairs are reported with their sheet, row and column, or their line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from ..case.limits import to_json_bytes
from ..case.package import Package
from ..case.package_stream import parse_large_package
from ..case.problems import to_exception
from ..case.resources import ASSOCIATIONS, ITEMS
from ..exceptions import BadRequest, Problem, UnprocessableContent
from ..repair.reader import NO_OPTIONS, Repair, RepairOptions, read_repaired
from . import jsonl
from .assembly import Assembly, Defaults
from .csv import read_csv
from .file_format import FileFormat, refuse_other_spreadsheets
from .rows import CODE_COLUMN, JsonObject, Location, Sheet
from .xlsx import read_workbook

ReadJson: TypeAlias = Callable[[bytes], tuple[Package, list[Repair]]]


def read_framework(  # noqa: PLR0913  each is a choice of its own
    raw: bytes,
    form: FileFormat,
    defaults: Defaults,
    *,
    strict: bool = False,
    allow_dense: bool = False,
    options: RepairOptions = NO_OPTIONS,
) -> tuple[Package, list[Repair]]:
    """Return the package in a file, and the repairs that were needed.

    Raises ``ContentTooLarge`` for JSON with too many values for its size, unless ``allow_dense``;
    ``BadRequest`` if the file does not have the given format; else ``UnprocessableContent`` with
    all problems of its rows and of the package they describe.
    """
    refuse_other_spreadsheets(raw)
    read_json = partial(_read_json, strict=strict, allow_dense=allow_dense, options=options)
    if form in {"case-json", "jsonl"}:
        read_json = partial(read_json, options=replace(options, defaults=defaults))
    if form == "case-json":
        return read_json(raw)
    if form == "jsonl":
        read_json = partial(read_json, is_export=jsonl.is_export(raw))
        return _read_package(*jsonl.read_json_lines(raw), read_json)
    grids = [read_csv(raw)] if form == "csv" else read_workbook(raw)
    assembly = Assembly(grids, defaults, is_strict=strict)
    if not assembly.has_rows:
        raise BadRequest("the spreadsheet has no rows: add rows below a row of headings")
    omissions = [_unknown_sheets(assembly.left_out)] if assembly.left_out else []
    omissions += [_cells_beyond_columns(grid) for grid in grids if grid.beyond]
    if equal_codes := assembly.equal_codes():
        omissions.append(_equal_codes(equal_codes))
    # The limits of spreadsheets are checked by their readers.
    read_json = partial(read_json, allow_dense=True, is_export=assembly.is_export)
    package, repairs = _read_package(
        assembly.package, assembly.places, assembly.problems, read_json
    )
    package = replace(
        package,
        derived_items=tuple(assembly.derived_items),
        derived_times=frozenset(assembly.derived_times),
        derived_order=tuple(assembly.derived_order),
        identifier_source=assembly.identifier_source,
    )
    return package, _merge([*omissions, *assembly.repairs.repairs(), *repairs])


def _read_package(
    tree: JsonObject,
    places: Mapping[str, Location],
    problems: list[Problem],
    read_json: ReadJson,
) -> tuple[Package, list[Repair]]:
    raw = to_json_bytes(tree)
    package: Package | None = None
    repairs: list[Repair] = []
    try:
        package, repairs = read_json(raw)
    except UnprocessableContent as error:
        problems = [
            *problems,
            *(
                Problem(path=_locate(places, one["path"]), message=one["message"])
                for one in error.problems
            ),
        ]
    if problems or package is None:
        raise to_exception("framework", problems)
    package = replace(package, places=_places_by_identifier(tree, places))
    return package, [replace(one, path=_locate(places, one.path)) for one in repairs]


def _places_by_identifier(tree: JsonObject, places: Mapping[str, Location]) -> dict[str, str]:
    """Return the row or line of each item and association."""
    return {
        entity["identifier"]: places[f"{plural}[{index}]"].where
        for plural in (ITEMS.plural, ASSOCIATIONS.plural)
        for index, entity in enumerate(tree[plural])
        if "identifier" in entity
    }


def _read_json(
    raw: bytes,
    *,
    strict: bool,
    allow_dense: bool,
    options: RepairOptions,
    is_export: bool = False,
) -> tuple[Package, list[Repair]]:
    """Read a package. A valid file that ``export`` wrote is read without repairs."""
    if strict or is_export:
        try:
            return parse_large_package(raw, allow_dense=allow_dense), []
        except UnprocessableContent:
            if strict:
                raise
    return read_repaired(raw, allow_dense=allow_dense, options=options)


def _merge(repairs: list[Repair]) -> list[Repair]:
    """Return one repair of each kind, with the sum of the counts."""
    merged: dict[str, Repair] = {}
    for each in repairs:
        if first := merged.get(each.kind):
            fields = dict(Counter(first.fields) + Counter(each.fields))
            merged[each.kind] = replace(first, count=first.count + each.count, fields=fields)
        else:
            merged[each.kind] = each
    return [*merged.values()]


def _locate(places: Mapping[str, Location], path: str) -> str:
    """Return a path into the package as a location in the file."""
    if path.startswith("CFDocument"):
        entity, name = "CFDocument", path.removeprefix("CFDocument").lstrip(".")
        return places[entity].describe(name) if entity in places else path
    entity, name = path, ""
    while entity and entity not in places:
        entity, dot, last = entity.rpartition(".") if "." in entity else ("", "", entity)
        name = f"{last}{dot and name and '.'}{name}"
    return places[entity].describe(name) if entity else path


def _unknown_sheets(sheets: list[str]) -> Repair:
    explanation = "A sheet with an unknown name was left out."
    return Repair("unknown-sheet", explanation, len(sheets), sheets[0], None, None)


MAX_LISTED_CODES = 10


def _equal_codes(places_by_code: dict[str, list[Location]]) -> Repair:
    """Return the warning that names the codes that several items have."""
    codes = [
        f"{code} ({', '.join(place.where.rpartition(', ')[2] for place in places)})"
        for code, places in places_by_code.items()
    ]
    more = len(codes) - MAX_LISTED_CODES
    rest = f" and {more:,} more" if more > 0 else ""
    explanation = (
        "Items have equal codes, and one of them was a number: "
        f"{'; '.join(codes[:MAX_LISTED_CODES])}{rest}. Check whether a final zero was lost."
    )
    second = next(iter(places_by_code.values()))[1]
    path = second.describe(CODE_COLUMN)
    return Repair("equal-codes", explanation, len(codes), path, None, None)


def _cells_beyond_columns(grid: Sheet) -> Repair:
    explanation = "A cell beyond the 256 columns that are read of a sheet was left out."
    path = f"sheet {grid.name}, cell {grid.beyond[0]}"
    return Repair("cell-beyond-columns", explanation, len(grid.beyond), path, None, None)
