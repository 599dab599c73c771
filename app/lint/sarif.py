"""Lint reports as SARIF 2.1.0, which code scanning services and editors show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from pydantic_core import to_json

from .. import __version__
from ..formatting import escape_surrogates
from .output import SourceLintResult, strip_indexes_from_path
from .rules.catalog import RULES
from .violation import SEVERITIES, Rule, Violation

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MAX_RESULTS = 25_000
"""GitHub rejects a file with more results in a run."""

PROBLEM_SEVERITIES = {"error": "error", "warning": "warning", "note": "recommendation"}
RULE_INDEXES = {rule.id: index for index, rule in enumerate(RULES)}

Json: TypeAlias = dict[str, Any]


def format_sarif(results: Sequence[SourceLintResult], *, show_all: bool) -> bytes:
    """Format a lint report, given as the results of its sources, as SARIF 2.1.0 in JSON bytes.

    If there are more than 25,000 violations, writes only the most severe, unless ``show_all`` is
    True.
    """
    located = [(result.source, violation) for result in results for violation in result.violations]
    reported = located
    if not show_all:
        by_severity = sorted(located, key=lambda pair: SEVERITIES.index(pair[1].severity))
        reported = by_severity[:MAX_RESULTS]
    unreadable = [result for result in results if result.reason is not None]
    notices = [_build_notice("error", f"{result.source}: {result.reason}") for result in unreadable]
    if len(reported) < len(located):
        text = (
            f"the {len(reported):,} most severe of {len(located):,} results; "
            "--all writes all of them"
        )
        notices.append(_build_notice("warning", text))
    driver = {
        "name": "case-server check",
        "semanticVersion": __version__,
        "rules": [_build_rule(rule) for rule in RULES],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {"executionSuccessful": not unreadable, "toolExecutionNotifications": notices}
        ],
        "artifacts": [
            {"location": {"uri": _build_uri(source)}}
            for source in dict.fromkeys(result.source for result in results)
        ],
        "results": _build_results(reported),
        "columnKind": "unicodeCodePoints",
    }
    return to_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + b"\n"


def _build_notice(level: str, text: str) -> Json:
    return {"level": level, "message": {"text": escape_surrogates(text)}}


def _build_rule(rule: Rule) -> Json:
    description = f"{rule.explanation} In the CASE standard: {rule.standard}."
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": rule.explanation},
        "fullDescription": {"text": description},
        "help": {"text": description},
        "helpUri": rule.url,
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": ["case"], "problem.severity": PROBLEM_SEVERITIES[rule.severity]},
    }


def _build_results(located: list[tuple[str, Violation]]) -> list[Json]:
    counts: Counter[str] = Counter()
    results = []
    for source, violation in located:
        fingerprint = _compute_fingerprint(source, violation)
        counts[fingerprint] += 1
        results.append(_build_result(source, violation, f"{fingerprint}:{counts[fingerprint]}"))
    return results


def _compute_fingerprint(source: str, violation: Violation) -> str:
    """Return a 16-digit hexadecimal hash that identifies a violation across reports.

    ``source`` is the name of the linted file or URL. The hash stays the same when other entities
    are added or removed, so that code scanning services do not report an old violation as a new
    one.
    """
    path = strip_indexes_from_path(violation.path)
    parts = (source, violation.rule, violation.identifier or "", path)
    return sha256("\n".join(parts).encode(errors="backslashreplace")).hexdigest()[:16]


def _build_result(source: str, violation: Violation, fingerprint: str) -> Json:
    path = violation.path or "the file"
    repair = f" Import: {violation.repair}" if violation.repair else ""
    region = {"startLine": violation.line}
    if not violation.in_table:  # columns of SARIF count characters
        region["startColumn"] = violation.column
    location: Json = {
        "physicalLocation": {"artifactLocation": {"uri": _build_uri(source)}, "region": region}
    }
    if violation.path:
        location["logicalLocations"] = [{"fullyQualifiedName": violation.path}]
    return {
        "ruleId": violation.rule,
        "ruleIndex": RULE_INDEXES[violation.rule],
        "level": violation.severity,
        "message": {"text": f"{path}: {violation.message}.{repair}"},
        "locations": [location],
        "partialFingerprints": {"caseServerCheck/v1": fingerprint},
    }


def _build_uri(source: str) -> str:
    """Return the URI of a linted source, which is a file name, a URL or ``-`` for stdin.

    A file below the working directory gets a relative URI. Bytes of its name that are not UTF-8 are
    percent-encoded as well.
    """
    if source.startswith(("http://", "https://")):
        return source
    if source == "-":
        return "stdin"
    path, folder = Path(source).absolute(), Path.cwd()
    if not path.is_relative_to(folder):
        return path.as_uri()
    return quote(os.fsencode(path.relative_to(folder).as_posix()))
