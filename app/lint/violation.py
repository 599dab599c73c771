"""Lint rules, severities and violations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from .. import DOCUMENTATION_URL
from .package_index import Node, PackageIndex

Severity: TypeAlias = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Most severe first."""


class Finding(NamedTuple):
    """One result of a rule: an entity, its wrong field ("" for the whole entity), and a message."""

    node: Node
    field: str
    message: str


class Rule(NamedTuple):
    """A lint rule: its severity, ID, explanation, and the function that finds violations."""

    severity: Severity
    id: str
    explanation: str
    """One sentence: what the rule finds, and why that is bad."""
    standard: str
    """The class, field or chapter of the CASE standard that the rule is about."""
    find: Callable[[PackageIndex], Iterator[Finding]] | None = None
    """None for rules that the reader applies, before the package is indexed."""

    @property
    def anchor(self) -> str:
        """The HTML ID of the rule's section in docs/guides/lint.md."""
        return f"rule-{self.id}"

    @property
    def url(self) -> str:
        """The URL of the rule's section in the online documentation."""
        return f"{DOCUMENTATION_URL}/guides/lint.html#{self.anchor}"


@dataclass(frozen=True)
class Violation:
    """A violation of a rule with its position in the file, as shown in reports."""

    rule: str
    severity: Severity
    message: str
    path: str
    """The path in the file as sent; "" for the whole file."""
    line: int = 1
    column: int = 1
    """From 1, in code points; of the closest enclosing value if there is no such field."""
    identifier: str | None = None
    """The identifier of the entity, if known."""
    repair: str | None = None
    """The repair that `case-server import` makes, if any."""
    sheet: str | None = None
    """The sheet of a workbook."""
    in_table: bool = False
    """True if the path names a row or cell of a spreadsheet, and column is that of the cell.

    ``line`` is the row of a workbook, and the line of a CSV file in which the row begins."""


@dataclass(frozen=True)
class LintResult:
    """The result of linting one package, with the violations in file order."""

    document: str | None
    """The identifier of the document."""
    title: str | None
    violations: list[Violation]


def meets_threshold(severity: Severity, threshold: Severity | Literal["never"]) -> bool:
    """Return whether a severity is at least as severe as ``threshold``.

    ``threshold`` comes from an option such as --fail-on; no severity meets the threshold ``never``.
    """
    if threshold == "never":
        return False
    return SEVERITIES.index(severity) <= SEVERITIES.index(threshold)
