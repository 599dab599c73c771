"""SARIF output: structure, the limit of results, and stable fingerprints."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.factories import Body, new_id, packed_item
from support.lintable_package import build_flawed_package
from support.live_server import run_command_in_process as run

from case_server import DOCUMENTATION_URL
from case_server.lint import sarif
from case_server.lint.linter import lint_package
from case_server.lint.output import SourceLintResult
from case_server.lint.rules.catalog import RULES
from case_server.lint.sarif import format_sarif
from case_server.lint.violation import SEVERITIES

DOCS = Path(__file__).parents[2] / "docs" / "guides" / "lint.md"


def test_sarif_is_valid_and_locates_each_violation(tmp_path: Path) -> None:
    source, target = str(tmp_path / "a file.json"), tmp_path / "out.sarif"
    Path(source).write_text(json.dumps(build_flawed_package(), indent=2))
    completed = run("check", source, "--format", "sarif", "-o", str(target), data_dir=tmp_path)
    assert (completed.returncode, completed.stdout) == (1, "")
    log = json.loads(target.read_text())
    Draft202012Validator(SARIF).validate(log)
    (run_log,) = log["runs"]
    rules = run_log["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES]
    page, rows = DOCS.read_text(), Path(source).read_text().split("\n")
    for rule in rules:
        address, _, anchor = rule["helpUri"].partition("#")
        assert address == f"{DOCUMENTATION_URL}/guides/lint.html"
        assert f'<a id="{anchor}"></a>`{rule["id"]}`' in page
    assert run_log["invocations"][0]["executionSuccessful"]
    for result in run_log["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        location = result["locations"][0]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == Path(source).as_uri()
        region = location["physicalLocation"]["region"]
        row = rows[region["startLine"] - 1]
        field = location["logicalLocations"][0]["fullyQualifiedName"].rpartition(".")[2]
        assert row[region["startColumn"] - 1 :].startswith(f'"{field}"')
    prints = [result["partialFingerprints"]["caseServerCheck/v1"] for result in run_log["results"]]
    assert len(set(prints)) == len(prints) == 3


def test_relative_file_name_that_is_not_utf8_is_percent_encoded() -> None:
    violation = lint_package(json.dumps(build_flawed_package()).encode()).violations[0]
    log = json.loads(
        format_sarif([SourceLintResult("b\udcfcrger.json", violations=[violation])], show_all=False)
    )
    (result,) = log["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == log["runs"][0]["artifacts"][0]["location"]["uri"] == "b%FCrger.json"


def text(**fields: Any) -> Body:
    return {
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"minLength": 1}},
        **fields,
    }


RESULT = {
    "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
    "properties": {
        "level": {"enum": [*SEVERITIES]},
        "message": text(),
        "locations": {
            "minItems": 1,
            "items": {
                "required": ["physicalLocation"],
                "properties": {
                    "physicalLocation": {
                        "required": ["artifactLocation", "region"],
                        "properties": {
                            "artifactLocation": {"properties": {"uri": {"pattern": r"^[!-~]+$"}}},
                            "region": {
                                "additionalProperties": False,
                                "properties": {
                                    "startLine": {"type": "integer", "minimum": 1},
                                    "startColumn": {"type": "integer", "minimum": 1},
                                },
                            },
                        },
                    }
                },
            },
        },
    },
}
SARIF = {
    "required": ["$schema", "version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "minItems": 1,
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"items": RESULT},
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name", "rules"],
                                "properties": {
                                    "rules": {
                                        "uniqueItems": True,
                                        "items": {
                                            "required": ["id", "shortDescription", "help"],
                                            "properties": {"shortDescription": text()},
                                        },
                                    }
                                },
                            }
                        },
                    },
                },
            },
        },
    },
}
"""JSON Schema of what SARIF 2.1.0 and GitHub code scanning require."""


def test_sarif_paths_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    violations = lint_package(json.dumps(build_flawed_package()).encode()).violations
    names = ["some/ä b.json", str(tmp_path / "c.json"), "-", "https://x.test/p?q=1"]
    results = [SourceLintResult(name, violations=violations) for name in names]
    log = json.loads(format_sarif(results, show_all=True))
    uris = [artifact["location"]["uri"] for artifact in log["runs"][0]["artifacts"]]
    assert uris == ["some/%C3%A4%20b.json", "c.json", "stdin", "https://x.test/p?q=1"]


def test_sarif_is_limited_to_what_github_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sarif.MAX_RESULTS == 25_000
    monkeypatch.setattr(sarif, "MAX_RESULTS", 100)  # linting 13,000 items takes 6 CPU seconds
    body = build_flawed_package()
    body["CFItems"] += [packed_item(notes=None, statusEndDate=None) for _ in range(60)]
    violations = lint_package(json.dumps(body).encode()).violations
    results = [SourceLintResult("x.json", violations=violations)]
    log = json.loads(format_sarif(results, show_all=False))["runs"][0]
    assert len(log["results"]) == sarif.MAX_RESULTS < len(violations)
    assert {result["level"] for result in log["results"]} == {"error"}
    (notice,) = log["invocations"][0]["toolExecutionNotifications"]
    assert f"{len(violations):,}" in notice["message"]["text"]
    assert len(json.loads(format_sarif(results, show_all=True))["runs"][0]["results"]) == len(
        violations
    )


def test_sarif_reports_unreadable_sources(tmp_path: Path) -> None:
    result = run("check", str(tmp_path / new_id()), "--format", "sarif", data_dir=tmp_path)
    (invocation,) = json.loads(result.stdout)["runs"][0]["invocations"]
    assert not invocation["executionSuccessful"]
    assert "cannot be read" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_fingerprints_do_not_depend_on_other_violations() -> None:
    def fingerprints(body: Body) -> set[str]:
        result = SourceLintResult(
            "x.json", violations=lint_package(json.dumps(body).encode()).violations
        )
        log = json.loads(format_sarif([result], show_all=True))
        return {
            result["partialFingerprints"]["caseServerCheck/v1"]
            for result in log["runs"][0]["results"]
        }

    body = build_flawed_package()
    before = fingerprints(body)
    body["CFItems"].insert(0, packed_item())
    assert before <= fingerprints(body)
