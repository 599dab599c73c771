"""What checks found as SARIF 2.1.0, which code scanning services and editors show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from pydantic_core import to_json

from .. import __version__
from .output import SourceResult, path_pattern
from .rules.catalog import RULES
from .violation import SEVERITIES, Rule, Violation

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MAX_RESULTS = 25_000
"""How many results of a run GitHub reads; it refuses a file with more."""

PROBLEM = {"error": "error", "warning": "warning", "note": "recommendation"}
INDEX = {rule.id: index for index, rule in enumerate(RULES)}

Json: TypeAlias = dict[str, Any]


def format_sarif(results: Sequence[SourceResult], *, everything: bool) -> bytes:
    """One run over all sources; its gravest results when there are too many to be read."""
    found = [(one.source, violation) for one in results for violation in one.violations]
    shown = found if everything else _gravest(found)
    unread = [one for one in results if one.reason is not None]
    notices = [_notice("error", f"{one.source}: {one.reason}") for one in unread]
    if len(shown) < len(found):
        text = f"the {len(shown):,} gravest of {len(found):,} results; --all writes all of them"
        notices.append(_notice("warning", text))
    run = {
        "tool": {"driver": _driver()},
        "invocations": [{"executionSuccessful": not unread, "toolExecutionNotifications": notices}],
        "artifacts": [
            {"location": {"uri": _uri(source)}}
            for source in dict.fromkeys(one.source for one in results)
        ],
        "results": _results(shown),
        "columnKind": "unicodeCodePoints",
    }
    return to_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + b"\n"


def _gravest(found: list[tuple[str, Violation]]) -> list[tuple[str, Violation]]:
    return sorted(found, key=lambda one: SEVERITIES.index(one[1].severity))[:MAX_RESULTS]


def _notice(level: str, text: str) -> Json:
    return {"level": level, "message": {"text": text}}


def _driver() -> Json:
    return {
        "name": "case-server check",
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in RULES],
    }


def _rule(rule: Rule) -> Json:
    about = f"{rule.explanation} In the CASE standard: {rule.standard}."
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": rule.explanation},
        "fullDescription": {"text": about},
        "help": {"text": about},
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": ["case"], "problem.severity": PROBLEM[rule.severity]},
    }


def _results(found: list[tuple[str, Violation]]) -> list[Json]:
    seen: Counter[str] = Counter()
    results = []
    for source, violation in found:
        print_ = _fingerprint(source, violation)
        seen[print_] += 1
        results.append(_result(source, violation, f"{print_}:{seen[print_]}"))
    return results


def _fingerprint(source: str, violation: Violation) -> str:
    """What stays the same when other entities come and go before this one."""
    told = (source, violation.rule, violation.identifier or "", path_pattern(violation.path))
    return sha256("\n".join(told).encode(errors="backslashreplace")).hexdigest()[:16]


def _result(source: str, violation: Violation, fingerprint: str) -> Json:
    path = violation.path or "the file"
    repair = f" Import: {violation.repair}" if violation.repair else ""
    location: Json = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(source)},
            "region": {"startLine": violation.line, "startColumn": violation.column},
        }
    }
    if violation.path:
        location["logicalLocations"] = [{"fullyQualifiedName": violation.path}]
    return {
        "ruleId": violation.rule,
        "ruleIndex": INDEX[violation.rule],
        "level": violation.severity,
        "message": {"text": f"{path}: {violation.message}.{repair}"},
        "locations": [location],
        "partialFingerprints": {"caseServerCheck/v1": fingerprint},
    }


def _uri(source: str) -> str:
    """A source as a uri: relative where it lies below the folder of the command."""
    if source.startswith(("http://", "https://")):
        return source
    if source == "-":
        return "stdin"
    path, here = Path(source).absolute(), Path.cwd()
    if not path.is_relative_to(here):
        return path.as_uri()
    return quote(path.relative_to(here).as_posix())
