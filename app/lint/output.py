"""What checks of several packages found, for people and as JSON."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic_core import to_json

from .. import __version__
from .rules.catalog import RULES
from .violation import SEVERITIES, Violation

MAX_EXAMPLES_PER_RULE = 5
"""How many violations of a rule people are shown unasked."""

INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class SourceResult:
    """A source and what was found in it, or why it could not be read."""

    source: str
    document: str | None = None
    title: str | None = None
    violations: list[Violation] = field(default_factory=list)
    reason: str | None = None
    """Why it could not be read; nothing when it was."""


def path_pattern(path: str) -> str:
    """A path without its numbers: what violations of one kind share."""
    return INDEX.sub("[]", path)


def count_severities(violations: Sequence[Violation]) -> dict[str, int]:
    """How many violations there are of each severity."""
    found = Counter(violation.severity for violation in violations)
    return {severity: found[severity] for severity in SEVERITIES}


def format_json(results: Sequence[SourceResult]) -> bytes:
    """Everything, in the shape that docs/check.md describes."""
    body: dict[str, Any] = {
        "tool": "case-server check",
        "version": __version__,
        "counts": count_severities([violation for one in results for violation in one.violations]),
        "sources": [{**asdict(one), "counts": count_severities(one.violations)} for one in results],
    }
    return to_json(body, indent=2) + b"\n"


def format_text(results: Sequence[SourceResult], *, width: int | None, everything: bool) -> bytes:
    """Findings by rule, gravest first, as lines of a width or as long as they are."""
    lines = [line for one in results for line in _lines(one, everything=everything)]
    if width:
        lines = [part for line in lines for part in _wrapped(line, width)]
    # A path may hold what no encoding has: file names are bytes.
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")


def _wrapped(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line,
        max(width, 40),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(result: SourceResult, *, everything: bool) -> Iterator[str]:
    if result.reason is not None:
        yield f"{result.source}: cannot be checked: {_one_line(result.reason)}"
        return
    told = [
        _counted(count, what)
        for what, count in count_severities(result.violations).items()
        if count
    ]
    title = _one_line(f"{result.title} ({result.document})" if result.title else "")
    heading = f"{result.source}: {title}: " if title else f"{result.source}: "
    yield f"{heading}{', '.join(told) or 'nothing found'}"
    by_rule: dict[str, list[Violation]] = defaultdict(list)
    for violation in result.violations:
        by_rule[violation.rule].append(violation)
    for rule in RULES:
        if found := by_rule[rule.id]:
            yield f"  {rule.severity} {rule.id} ({len(found):,}): {rule.explanation}"
            yield from _examples(found, everything=everything)


def _examples(violations: list[Violation], *, everything: bool) -> Iterator[str]:
    """The first of each kind, most frequent kinds first; or all of them."""
    if everything:
        yield from (_line(violation, 0) for violation in violations)
        return
    alike: dict[tuple[str, str], list[Violation]] = defaultdict(list)
    for violation in violations:
        alike[path_pattern(violation.path), violation.message].append(violation)
    kinds = sorted(alike.values(), key=len, reverse=True)
    yield from (_line(kind[0], len(kind) - 1) for kind in kinds[:MAX_EXAMPLES_PER_RULE])
    if rest := sum(len(kind) for kind in kinds[MAX_EXAMPLES_PER_RULE:]):
        yield f"    … and {rest:,} more; --all shows them"


def _line(violation: Violation, more: int) -> str:
    others = f" and {more:,} more like it" if more else ""
    repair = " [import repairs it]" if violation.repair else ""
    place = f"{violation.line}:{violation.column}"
    where = violation.path or "the file"
    return f"    {place}  {_one_line(f'{where}{others}: {violation.message}')}{repair}"


def _one_line(text: str) -> str:
    """A text that comes from a file, without what would move a terminal's cursor."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
