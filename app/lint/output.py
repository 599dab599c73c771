"""Lint reports as text and JSON."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic_core import to_json

from .. import __version__
from ..formatting import escape_control_characters, escape_surrogates, format_count
from .rules.catalog import RULES
from .violation import SEVERITIES, Violation

MAX_EXAMPLES_PER_RULE = 5
MIN_WIDTH = 40

POSITION = re.compile(r"(?<=\[)\d+(?=\])|(?<=\b(?:line|cell) )\w+|(?<=\brow )\d+")
"""An array index, or the number of a row or line, in a path."""


@dataclass(frozen=True)
class SourceLintResult:
    """The violations in one source (a file or URL), or the reason why the source is unreadable."""

    source: str
    document: str | None = None
    title: str | None = None
    violations: list[Violation] = field(default_factory=list)
    reason: str | None = None
    format: str = "case-json"
    """The file format of the source."""


def strip_indexes_from_path(path: str) -> str:
    """Return a path without its numbers, so that similar violations can be grouped.

    ``CFItems[3].uri`` becomes ``CFItems[].uri``. In paths of tables and text files, the numbers of
    rows, lines and cells are removed, such as that in ``row 5``.
    """
    return POSITION.sub("", path)


def count_severities(violations: Sequence[Violation]) -> dict[str, int]:
    """Return a dict from each severity to its number of violations, which is 0 if it has none."""
    counts = Counter(violation.severity for violation in violations)
    return {severity: counts[severity] for severity in SEVERITIES}


def format_json(results: Sequence[SourceLintResult]) -> bytes:
    """Format a lint report as JSON in the structure that docs/guides/lint.md describes."""
    violations = [violation for result in results for violation in result.violations]
    violated = {violation.rule for violation in violations}
    body: dict[str, Any] = {
        "tool": "case-server check",
        "version": __version__,
        "counts": count_severities(violations),
        "rules": {rule.id: rule.url for rule in RULES if rule.id in violated},
        "sources": [
            {
                **asdict(result),
                "source": escape_surrogates(result.source),
                "reason": None if result.reason is None else escape_surrogates(result.reason),
                "counts": count_severities(result.violations),
            }
            for result in results
        ],
    }
    return to_json(body, indent=2) + b"\n"


def format_text(results: Sequence[SourceLintResult], *, width: int | None, show_all: bool) -> bytes:
    """Format a lint report as text: for each source, its violated rules with examples.

    The most severe rules come first, each with at most five examples, or with all violations if
    ``show_all`` is True. Lines are wrapped to ``width`` columns unless it is None. Unreadable
    sources are left out.
    """
    lines = [line for result in results for line in _format_result(result, show_all=show_all)]
    if width:
        lines = [part for line in lines for part in _wrap_line(line, width)]
    # File names are bytes, so that a path may contain what no encoding has.
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


def _wrap_line(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line,
        max(width, MIN_WIDTH),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _format_result(result: SourceLintResult, *, show_all: bool) -> Iterator[str]:
    if result.reason is not None:
        return
    counts = count_severities(result.violations).items()
    summary = ", ".join(format_count(count, severity) for severity, count in counts if count)
    title = escape_control_characters(f"{result.title} ({result.document})" if result.title else "")
    heading = f"{result.source}: {title}: " if title else f"{result.source}: "
    yield f"{heading}{summary or 'no violations'}"
    by_rule: dict[str, list[Violation]] = defaultdict(list)
    for violation in result.violations:
        by_rule[violation.rule].append(violation)
    for rule in RULES:
        if violations := by_rule[rule.id]:
            yield f"  {rule.severity} {rule.id} ({len(violations):,}): {rule.explanation}"
            lines = _format_examples(violations, show_all=show_all)
            yield from (f"    {line}" for line in lines)


def _format_examples(violations: list[Violation], *, show_all: bool) -> Iterator[str]:
    """Yield a line for each violation of a rule if ``show_all`` is set, or else five examples.

    An example represents all violations with the same message at similar paths.
    """
    if show_all:
        yield from (_format_violation(violation, 0) for violation in violations)
        return
    groups_by_message: dict[tuple[str, str], list[Violation]] = defaultdict(list)
    for violation in violations:
        groups_by_message[strip_indexes_from_path(violation.path), violation.message].append(
            violation
        )
    groups = sorted(groups_by_message.values(), key=len, reverse=True)
    shown_groups, hidden_groups = groups[:MAX_EXAMPLES_PER_RULE], groups[MAX_EXAMPLES_PER_RULE:]
    yield from (_format_violation(group[0], len(group) - 1) for group in shown_groups)
    if hidden_count := sum(len(group) for group in hidden_groups):
        yield f"… and {hidden_count:,} more; --all shows them"


def _format_violation(violation: Violation, similar_count: int) -> str:
    suffix = f" and {similar_count:,} more like it" if similar_count else ""
    repair = " [import repairs it]" if violation.repair else ""
    path = violation.path or "the file"
    position = "" if violation.in_table else f"{violation.line}:{violation.column}  "
    text = escape_control_characters(f"{path}{suffix}: {violation.message}")
    return f"{position}{text}{repair}"
