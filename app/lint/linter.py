"""The linter: reads a package strictly, repairs it as import would, and applies the rules."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

from ..case.package import IdentifiedCFPackage, find_package_identifier_problem
from ..case.validation.limits import TREE_DENSITY, check_density
from ..case.validation.parsing import get_standard_name, parse_json_body
from ..case.validation.problems import NULL
from ..exceptions import BadRequest, Problem, UnprocessableContent
from ..repair.reader import (
    NO_OPTIONS,
    WRAPPERS,
    RepairedPackage,
    RepairOptions,
    describe_file_error,
)
from ..repair.repair_log import EXPLANATIONS, RepairLog, iter_ancestor_paths
from .package_index import Node, PackageIndex, get_string
from .positions import JsonPositionFinder
from .rules.catalog import BY_ID, JSON, NONSTANDARD_NAME, RULES, SCHEMA
from .violation import LintResult, Violation

NONSTANDARD = {
    "byte-order-mark": "the file starts with a byte order mark, which JSON does not allow",
    "wrapper": "the package is wrapped in an object, but should be the whole file",
    "field-name": "is not the standard's name of this field",
    "missing-slash": "lacks the slash before its identifier",
    "spaces-around-identifier": "is surrounded by white space",
    "reference": "refers to an entity of the package whose identifier is spelled differently",
}
"""Kinds of repairs of what this server's strict reader accepts, but the standard does not."""

DUPLICATE_RULES = {"duplicate-identifier", "duplicate-association"}
"""Rules for duplicates that import removes where that loses nothing."""

REPAIRED = "It is repaired."

JSON_ERROR_POSITION = re.compile(r"line (\d+) column (\d+)")


class LintRepairLog(RepairLog):
    """A repair log that also maps each repaired JSON path to the kind of its first repair.

    The linter uses this dict, ``kinds``, to tell the user which violations an import would repair.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, str] = {}

    def record(self, kind: str, path: str, before: Any = None, after: Any = None) -> None:
        """Record a repair, and store its kind in ``kinds`` if it is the first one at ``path``.

        The parameters are those of ``RepairLog.record``.
        """
        super().record(kind, path, before, after)
        self.kinds.setdefault(path, kind)


def lint_package(
    raw: bytes,
    rules: Collection[str] = tuple(BY_ID),
    *,
    allow_dense: bool = True,
    options: RepairOptions = NO_OPTIONS,
    describe_path: Callable[[str], str] = lambda path: path,
) -> LintResult:
    """Check a package, given as JSON bytes, against lint rules and return a ``LintResult``.

    ``rules`` are the IDs of the rules to apply, by default all. Most apply to the package after
    repair, as an import with ``options`` repairs it. ``describe_path`` converts a JSON path to the
    form that messages show, for example the row of a spreadsheet.

    If ``allow_dense`` is False and the package has so many JSON values per megabyte that parsing it
    would need too much memory, raises ``ContentTooLarge``.
    """
    body = raw.removeprefix(BOM_UTF8)
    if not allow_dense:
        check_density(raw, TREE_DENSITY)
    try:
        problems = _find_schema_problems(body)
        package = RepairedPackage(raw, log := LintRepairLog(), allow_dense=True, options=options)
    except BadRequest as error:
        return LintResult(None, None, [_build_json_violation(error)] if JSON.id in rules else [])
    problems = [*problems, *_find_ignored_nulls(log, problems)]
    nodes = []
    for schema, entity in package.entities:
        path = describe_path(log.get_original_path(entity))
        nodes.append(Node(get_standard_name(schema), path, entity))
    index = PackageIndex(nodes)
    violations = list(_apply_rules(rules, index, log))
    package.deduplicate()
    remaining = _find_schema_problems(package.json_bytes) if problems else ()
    unrepairable = [package.locate_in_original(problem) for problem in remaining]
    if SCHEMA.id in rules:
        violations += _report_schema_problems(problems, unrepairable)
    if NONSTANDARD_NAME.id in rules:
        violations += _report_nonstandard_spellings(log, problems)
    document = index.document
    return LintResult(
        document.identifier if document else None,
        get_string(document.body, "title") if document else None,
        _add_positions_and_repairs(body.decode(), violations, log, unrepairable),
    )


def _find_schema_problems(body: bytes) -> list[Problem]:
    """Return a ``Problem`` for each violation of the CASE schema in a package in JSON bytes.

    Duplicates are left out, because other lint rules report them.
    """
    try:
        parsed = parse_json_body(IdentifiedCFPackage, body, WRAPPERS, allow_dense=True)
    except UnprocessableContent as error:
        return error.problems
    return [
        Problem(path=f"{parsed.path_prefix}{problem['path']}", message=problem["message"])
        for problem in find_package_identifier_problem(parsed.entity)
    ]


def _find_ignored_nulls(log: LintRepairLog, problems: list[Problem]) -> Iterator[Problem]:
    """Yield a ``Problem`` for each null that import removes, unless ``problems`` contain it.

    ``problems`` are the results of schema validation, which accepts some nulls.
    """
    reported = {problem["path"] for problem in problems}
    for path, kind in log.kinds.items():
        if kind == "null" and path not in reported:
            yield Problem(path=path, message=NULL)


def _apply_rules(
    rules: Collection[str], index: PackageIndex, log: RepairLog
) -> Iterator[Violation]:
    for rule in RULES:
        if rule.find and rule.id in rules:
            for node, field, message in rule.find(index):
                path = log.get_original_path(node.body, field)
                yield Violation(rule.id, rule.severity, message, path, identifier=node.identifier)


def _report_schema_problems(
    problems: list[Problem], unrepairable: list[Problem]
) -> Iterator[Violation]:
    reported = {problem["path"] for problem in problems}
    unreported = [problem for problem in unrepairable if problem["path"] not in reported]
    for problem in (*problems, *unreported):
        yield Violation(SCHEMA.id, SCHEMA.severity, problem["message"], problem["path"])


def _report_nonstandard_spellings(
    log: LintRepairLog, problems: list[Problem]
) -> Iterator[Violation]:
    rule, reported = NONSTANDARD_NAME, {problem["path"] for problem in problems}
    for path, kind in log.kinds.items():
        if kind in NONSTANDARD and path not in reported:
            yield Violation(rule.id, rule.severity, NONSTANDARD[kind], path)


def _add_positions_and_repairs(
    text: str, violations: list[Violation], log: LintRepairLog, unrepairable: list[Problem]
) -> list[Violation]:
    """Return copies of the violations with line, column and repair, in file order.

    ``text`` is the JSON text of the file. ``log`` contains the repairs of an import, and
    ``unrepairable`` the problems that remain after them.
    """
    invalid_paths = {problem["path"] for problem in unrepairable}
    invalid_paths |= {ancestor for path in invalid_paths for ancestor in iter_ancestor_paths(path)}
    positions = JsonPositionFinder(text, {violation.path for violation in violations})
    located = []
    for violation in violations:
        line, column = positions.locate(violation.path)
        repair = _explain_repair(violation, log, invalid_paths)
        located.append(replace(violation, line=line, column=column, repair=repair))
    return sorted(located, key=lambda violation: (violation.line, violation.column))


def _explain_repair(
    violation: Violation, log: LintRepairLog, invalid_paths: set[str]
) -> str | None:
    """Return a sentence on how import repairs a violation, or None if import does not repair it.

    ``invalid_paths`` are the paths of values that remain invalid after all repairs.
    """
    kind = log.kinds.get(violation.path)
    if violation.rule == SCHEMA.id and violation.path not in invalid_paths:
        return EXPLANATIONS[kind] if kind else REPAIRED
    if violation.rule == NONSTANDARD_NAME.id and kind:
        return EXPLANATIONS[kind]
    if violation.rule in DUPLICATE_RULES:
        kind = log.kinds.get(violation.path.removesuffix(".identifier"), "")
        return EXPLANATIONS[kind] if kind.startswith("duplicate-") else None
    return None


def _build_json_violation(error: BadRequest) -> Violation:
    position = JSON_ERROR_POSITION.search(error.description)
    line, column = (int(position[1]), max(1, int(position[2]))) if position else (1, 1)
    message = describe_file_error(error)
    return Violation(JSON.id, JSON.severity, message, "", max(1, line), column)
