"""Lint a file of any format: violations name its rows, cells or lines."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from ..case.validation.limits import to_json_bytes
from ..formats.csv import find_row_line_numbers
from ..formats.file_format import TABLES, FileFormat
from ..formats.tabular.cells import get_column_number
from ..lint.linter import REPAIRED, lint_package
from ..lint.positions import JsonPositionFinder
from ..lint.rules.catalog import FILE_FORMAT, SCHEMA
from ..lint.violation import LintResult, Violation
from ..repair.encoding import convert_to_utf8, detect_encoding
from ..repair.metadata_options import MetadataOptions
from ..repair.reader import NO_OPTIONS, RepairOptions
from ..repair.repair_log import RepairSummary

CELL = re.compile(
    r"(?:sheet (?P<sheet>.*), )?"
    r"(?:row (?P<row>\d+)(?:, column (?P<column>[A-Z]+))?|cell (?P<letters>[A-Z]+)(?P<number>\d+))"
)
"""The location of a row or cell in a message about a spreadsheet."""

LINE = re.compile(r"line (?P<line>\d+)(?: \((?P<field>.*)\))?")
"""The location of a field in a message about JSON Lines."""


def lint_file(
    raw: bytes,
    file_format: FileFormat,
    rules: Collection[str],
    metadata: MetadataOptions,
    *,
    allow_dense: bool = True,
) -> LintResult:
    """Lint a file of any format and return a ``LintResult`` with its violations.

    Each violation has its location in the file. ``rules`` are the identifiers of the rules to
    apply. ``metadata`` replaces values of the file, such as its title. Raises ``ContentTooLarge``
    for JSON with too many values per megabyte, unless ``allow_dense`` is true, and ``BadRequest``
    if a spreadsheet or JSON Lines file cannot be read.
    """
    options = NO_OPTIONS if file_format in TABLES else RepairOptions(metadata=metadata)
    if file_format == "case-json":
        return lint_package(raw, rules, allow_dense=allow_dense, options=options)
    # Imported late: openpyxl takes longer than the rest of the command.
    from ..formats.reader import assemble_package  # noqa: PLC0415  see above

    file = assemble_package(raw, file_format, metadata)
    result = lint_package(
        to_json_bytes(file.tree),
        {*rules, SCHEMA.id},
        allow_dense=allow_dense or file_format in TABLES,
        options=options,
        describe_path=file.describe_location,
    )
    violations = [
        replace(violation, path=file.describe_location(violation.path))
        for violation in result.violations
    ]
    violations += [
        Violation(SCHEMA.id, SCHEMA.severity, problem["message"], problem["path"])
        for problem in file.problems
    ]
    violations += [_convert_repair(repair) for repair in file.repairs]
    if file_format == "jsonl":
        lines = convert_to_utf8(raw, detect_encoding(raw)).split(b"\n")
        violations = [_add_line_position(violation, lines) for violation in violations]
    else:
        row_lines = find_row_line_numbers(raw) if file_format == "csv" else ()
        violations = [_add_table_position(violation, row_lines) for violation in violations]
    selected = [violation for violation in violations if violation.rule in rules]
    selected.sort(key=lambda violation: (violation.sheet or "", violation.line, violation.column))
    return replace(result, violations=selected)


def _convert_repair(repair: RepairSummary) -> Violation:
    count = f" ({repair.count:,} times)" if repair.count > 1 else ""
    message = f"{repair.summary.rstrip('.')}{count}"
    return Violation(FILE_FORMAT.id, FILE_FORMAT.severity, message, repair.path, repair=REPAIRED)


def _add_table_position(violation: Violation, row_lines: Sequence[int]) -> Violation:
    """Return a copy of a violation with the sheet, line and column that its path names.

    The path is a location such as "row 5, column B". ``row_lines`` contains the line number of each
    row of a CSV file, where a row may have several lines; for other files it is empty.
    """
    if violation.rule == SCHEMA.id and violation.repair:
        # What import repairs in a table is a matter of the file format, not of the JSON schema.
        violation = replace(violation, rule=FILE_FORMAT.id, severity=FILE_FORMAT.severity)
    cell = CELL.match(violation.path)
    if not cell:
        return replace(violation, line=1, column=1, in_table=True)
    row, letters = int(cell["row"] or cell["number"]), cell["column"] or cell["letters"]
    column = get_column_number(letters) if letters else 1
    line = row_lines[row - 1] if row_lines else row
    return replace(violation, sheet=cell["sheet"], line=line, column=column, in_table=True)


def _add_line_position(violation: Violation, lines: Sequence[bytes]) -> Violation:
    match = LINE.match(violation.path)
    if not match:
        return replace(violation, line=1, column=1)
    number, path, column = int(match["line"]), "", 1
    with suppress(ValueError, RecursionError):  # the line is not JSON, or nested too deeply
        line = lines[number - 1].decode()
        entity = json.loads(line)
        if isinstance(entity, dict) and len(entity) == 1:
            (kind,) = entity
            path = f"{kind}.{match['field']}" if match["field"] else kind
            _, column = JsonPositionFinder(line, {path}).locate(path)
    return replace(violation, path=path, line=number, column=column)
