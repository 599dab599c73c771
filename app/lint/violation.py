"""What a check looks for and what it finds: rules, severities, violations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from .package_index import Node, PackageIndex

Severity: TypeAlias = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Gravest first."""


class Match(NamedTuple):
    """What a rule found: at which field of which entity, and what is wrong there."""

    node: Node
    field: str
    message: str


class Rule(NamedTuple):
    """One thing to look for."""

    id: str
    severity: Severity
    explanation: str
    """One sentence: what it finds, or why that is bad."""
    standard: str
    """What of the CASE standard it is about."""
    find: Callable[[PackageIndex], Iterator[Match]] | None = None
    """Nothing for what shows when the package is read, before any rule looks at it."""


@dataclass(frozen=True)
class Violation:
    """One place where a rule found something."""

    rule: str
    severity: Severity
    message: str
    path: str
    """Where it stands in the file as it was sent; the empty text is all of it."""
    line: int
    column: int
    """Of the field, or of the nearest thing around it when there is no such field. From 1, in
    code points."""
    identifier: str | None = None
    """The identifier of the entity it is about."""
    repair: str | None = None
    """What `case-server import` makes of it, when it can repair it."""


@dataclass(frozen=True)
class LintResult:
    """A package and everything that was found in it, in the order of the file."""

    document: str | None
    """The identifier of its document."""
    title: str | None
    violations: list[Violation]


def meets_threshold(severity: Severity, least: Severity | Literal["never"]) -> bool:
    """Whether a severity is as grave as another, or graver; none is as grave as ``never``."""
    if least == "never":
        return False
    return SEVERITIES.index(severity) <= SEVERITIES.index(least)
