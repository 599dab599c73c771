"""The check of one package: read strictly, mended as import would mend it, looked at by rules."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from ..case.limits import TREE_DENSITY, check_density
from ..case.package import NamedCFPackage, check_package_identifier
from ..case.parsing import parse
from ..case.problems import NULL
from ..exceptions import BadRequest, Problem, UnprocessableContent
from ..repair.reader import WRAPPERS, RepairedPackage
from ..repair.repair_log import EXPLANATIONS, RepairLog
from .package_index import Node, PackageIndex, get_string, kind_of
from .positions import JsonPositions, ancestor_paths
from .rules.catalog import BY_ID, JSON, NONSTANDARD_NAME, RULES, SCHEMA
from .violation import LintResult, Violation

NONSTANDARD = {
    "byte-order-mark": "the file begins with a byte order mark, which JSON does not allow",
    "wrapper": "the package stands under a name of its own, where it should be the whole file",
    "field-name": "is not the standard's name of this field",
    "missing-slash": "lacks the slash before its identifier",
    "spaces-around-identifier": "has white space around it",
    "reference": "means an entity of the package whose identifier is spelt otherwise",
}
"""Kinds of repair for what the strict reader of this server takes, but not the standard."""

DUPLICATES = {"duplicate-identifier", "duplicate-association"}
"""Rules for what import collapses, where that loses nothing."""

REPAIRED = "It is repaired."

POSITION = re.compile(r"line (\d+) column (\d+)")


class Found(NamedTuple):
    """A violation before it has its place in the text."""

    rule: str
    path: str
    message: str
    identifier: str | None = None


class DetailedRepairLog(RepairLog):
    """Every repair with its place, where an importer wants each kind once."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, str] = {}

    def record(self, kind: str, path: str, before: Any = None, after: Any = None) -> None:
        """Remember a repair; the first at a place says what was wrong there."""
        super().record(kind, path, before, after)
        self.kinds.setdefault(path, kind)


def lint_package(
    raw: bytes, rules: Collection[str] = tuple(BY_ID), *, allow_dense: bool = True
) -> LintResult:
    """Everything that some rules, or all, find in a package as bytes.

    Raises ``TooLarge`` for a package that is too dense to be read as a whole, unless
    ``allow_dense``.
    """
    body = raw.removeprefix(BOM_UTF8)
    if not allow_dense:
        check_density(raw, TREE_DENSITY)
    try:
        problems = _problems(body)
        mended = RepairedPackage(raw, notes := DetailedRepairLog(), allow_dense=True)
    except BadRequest as error:
        return LintResult(None, None, [_unreadable(error)] if JSON.id in rules else [])
    problems = [*problems, *_null_fields(notes, problems)]
    nodes = [
        Node(kind_of(schema), notes.path_of(entity), entity) for schema, entity in mended.entities
    ]
    index = PackageIndex(nodes)
    found = [
        Found(
            rule.id,
            notes.path_of(match.node.body, match.field),
            match.message,
            match.node.identifier,
        )
        for rule in RULES
        if rule.find and rule.id in rules
        for match in rule.find(index)
    ]
    mended.deduplicate()
    left = _left(mended) if problems else []
    if SCHEMA.id in rules:
        found += _of_schema(problems, left)
    if NONSTANDARD_NAME.id in rules:
        found += _of_dialect(notes, problems)
    root = index.document
    return LintResult(
        root.identifier if root else None,
        get_string(root.body, "title") if root else None,
        _placed(body.decode(), found, _repairs(notes, found, left)),
    )


def _problems(body: bytes) -> list[Problem]:
    """What the strict reader says of the fields; what repeats has rules of its own."""
    try:
        read_ = parse(NamedCFPackage, body, WRAPPERS, allow_dense=True)
    except UnprocessableContent as error:
        return error.problems
    return [
        Problem(path=f"{read_.path_prefix}{one['path']}", message=one["message"])
        for one in check_package_identifier(read_.entity)
    ]


def _null_fields(notes: DetailedRepairLog, problems: list[Problem]) -> Iterator[Problem]:
    """Yield a problem for each null that this server reads as absent, but the standard forbids."""
    named = {problem["path"] for problem in problems}
    for path, kind in notes.kinds.items():
        if kind == "null" and path not in named:
            yield Problem(path=path, message=NULL)


def _left(mended: RepairedPackage) -> list[Problem]:
    """What repair leaves, with paths into what was sent."""
    return [mended.as_sent(problem) for problem in _problems(mended.json)]


def _of_schema(problems: list[Problem], left: list[Problem]) -> Iterator[Found]:
    """Every problem, and those that show only when others are repaired."""
    said = {problem["path"] for problem in problems}
    later = [problem for problem in left if problem["path"] not in said]
    for problem in (*problems, *later):
        yield Found(SCHEMA.id, problem["path"], problem["message"])


def _of_dialect(notes: DetailedRepairLog, problems: list[Problem]) -> Iterator[Found]:
    said = {problem["path"] for problem in problems}
    for path, kind in notes.kinds.items():
        if kind in NONSTANDARD and path not in said:
            yield Found(NONSTANDARD_NAME.id, path, NONSTANDARD[kind])


def _placed(text_: str, found: list[Found], repairs: dict[Found, str]) -> list[Violation]:
    """What was found, with its lines, in the order of the file."""
    lines = JsonPositions(text_, {one.path for one in found})
    violations = [
        Violation(
            one.rule,
            BY_ID[one.rule].severity,
            one.message,
            one.path,
            *lines.locate(one.path),
            identifier=one.identifier,
            repair=repairs.get(one),
        )
        for one in found
    ]
    return sorted(violations, key=lambda one: (one.line, one.column))


def _repairs(notes: DetailedRepairLog, found: list[Found], left: list[Problem]) -> dict[Found, str]:
    """What import makes of what it does not refuse."""
    refused = {problem["path"] for problem in left}
    refused |= {above for path in refused for above in ancestor_paths(path)}
    repairs = {}
    for one in found:
        kind = notes.kinds.get(one.path)
        if one.rule == SCHEMA.id and one.path not in refused:
            repairs[one] = EXPLANATIONS[kind] if kind else REPAIRED
        elif one.rule == NONSTANDARD_NAME.id and kind:
            repairs[one] = EXPLANATIONS[kind]
        elif one.rule in DUPLICATES:
            kind = notes.kinds.get(one.path.removesuffix(".identifier"), "")
            if kind.startswith("repeated-"):
                repairs[one] = EXPLANATIONS[kind]
    return repairs


def _unreadable(error: BadRequest) -> Violation:
    """A file that is not a JSON object."""
    position = POSITION.search(error.description)
    line, column = (int(position[1]), max(1, int(position[2]))) if position else (1, 1)
    message = error.description.replace("the body", "the file", 1)
    return Violation(JSON.id, JSON.severity, message, "", max(1, line), column)
