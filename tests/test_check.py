"""`case-server check`: what it says, in which form, and how it exits."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import Body, association, new_id, package, packed_item
from jsonschema import Draft202012Validator
from live import COMMAND, environment, run, serving

from case_server.check.checker import check
from case_server.check.finding import SEVERITIES
from case_server.check.report import EXAMPLES, Result
from case_server.check.rules import RULES
from case_server.check.sarif import LARGEST, as_sarif

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "check.md"

Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checked(tmp_path: Path) -> Check:
    """Runs the command where there is no database, no server and nowhere to put one."""
    nowhere = tmp_path / "a file"
    nowhere.touch()

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run("check", *arguments, data_dir=nowhere / "data", **options)

    return call


def clean() -> Body:
    body = package()
    top = body["CFItems"][0]["identifier"]
    body["CFAssociations"].append(association(top, body["CFDocument"]["identifier"]))
    return body


def spoilt() -> Body:
    """One error, one warning, one note."""
    body = clean()
    body["CFItems"][0] |= {"notes": None, "language": "English", "educationLevel": ["5"]}
    return body


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def to(name: str, body: Any) -> str:
        path = tmp_path / name
        path.write_text(json.dumps(body, indent=2))
        return str(path)

    return to


def test_clean(checked: Check, write: Callable[..., str]) -> None:
    ran = checked(write("clean.json", clean()))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith(": nothing found\n")


def test_text(checked: Check, write: Callable[..., str]) -> None:
    source = write("spoilt.json", body := spoilt())
    ran = checked(source)
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    identifier = body["CFDocument"]["identifier"]
    assert lines[0] == f"{source}: a framework ({identifier}): 1 error, 1 warning, 1 note"
    assert lines[1].startswith("  error schema (1): ")
    row = 1 + next(at for at, line in enumerate(Path(source).read_text().split("\n"))
                   if '"notes": null' in line)  # fmt: skip
    assert lines[2] == (
        f"    {row}:7  CFItems[0].notes: null is not allowed; leave the field out "
        "[import repairs it]"
    )


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ((), 1),
        (("--fail-on", "never"), 0),
        (("--ignore", "schema"), 0),
        (("--ignore", "schema", "--fail-on", "warning"), 1),
        (("--ignore", "schema,language", "--fail-on", "warning"), 0),
        (("--select", "education-level", "--fail-on", "note"), 1),
        (("--select", "education-level"), 0),
        (("--select", "cycle", "--select", "orphan", "--fail-on", "note"), 0),
    ],
)
def test_exit_codes(
    checked: Check, write: Callable[..., str], flags: tuple[str, ...], code: int
) -> None:
    assert checked(write("spoilt.json", spoilt()), *flags).returncode == code


def test_severity_hides_but_does_not_forgive(checked: Check, write: Callable[..., str]) -> None:
    ran = checked(write("one.json", spoilt()), "--severity", "error", "--fail-on", "note",
                  "--ignore", "schema")  # fmt: skip
    assert (ran.returncode, ran.stdout.endswith("nothing found\n")) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a SOURCE"),
        (("x.json", "--ignore", "schemas"), "no rule is called 'schemas'; schema?"),
        (("x.json", "--format", "xml"), "xml"),
        (("x.json", "--fail-on", "fatal"), "fatal"),
    ],
)
def test_commands_that_are_not_valid(
    checked: Check, arguments: tuple[str, ...], message: str
) -> None:
    ran = checked(*arguments)
    assert ran.returncode == 2
    assert message in ran.stderr


def test_what_cannot_be_read_does_not_stop_the_others(
    checked: Check, write: Callable[..., str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json.gz"
    broken.write_bytes(gzip.compress(b"{}" * 999)[:-9])
    refused = "http://127.0.0.1:9/package"
    sources = [str(tmp_path / "missing.json"), str(broken), refused, write("ok.json", clean())]
    ran = checked(*sources, "--format", "json")
    assert ran.returncode == 2
    told = json.loads(ran.stdout)["sources"]
    assert [one["source"] for one in told] == sources
    assert [one["reason"] is None for one in told] == [False, False, False, True]
    assert all(source in ran.stderr for source in sources[:3])
    assert "Traceback" not in ran.stderr


def test_output_that_cannot_be_written(checked: Check, write: Callable[..., str]) -> None:
    ran = checked(write("ok.json", clean()), "-o", "/nowhere/at/all")
    assert ran.returncode == 2
    assert "/nowhere/at/all cannot be written" in ran.stderr


def test_folders_compressed_files_and_standard_input(checked: Check, tmp_path: Path) -> None:
    folder = tmp_path / "frameworks"
    folder.mkdir()
    raw = json.dumps(spoilt()).encode()
    (folder / "one.json").write_bytes(raw)
    (folder / "two.json.gz").write_bytes(gzip.compress(raw))
    (folder / "three.txt").write_text("not one of them")
    ran = checked(str(folder), "-", "--format", "json", stdin=raw.decode())
    told = json.loads(ran.stdout)
    assert [Path(one["source"]).name for one in told["sources"]] == ["one.json", "two.json.gz", "-"]
    assert told["counts"] == {"error": 3, "warning": 3, "note": 3}


def test_json_has_the_documented_shape(checked: Check, write: Callable[..., str]) -> None:
    body = spoilt()
    ran = checked(write("spoilt.json", body), "--format", "json")
    told = json.loads(ran.stdout)
    example = json.loads(DOCS.read_text().split("```json")[1].split("```")[0])
    assert told.keys() == example.keys()
    (source,) = told["sources"]
    assert source.keys() == example["sources"][0].keys()
    assert source["counts"] == {"error": 1, "warning": 1, "note": 1}
    for finding in source["findings"]:
        assert finding.keys() == example["sources"][0]["findings"][0].keys()
        assert finding["identifier"] in {None, body["CFItems"][0]["identifier"]}


def test_urls_with_a_token(checked: Check, write: Callable[..., str], tmp_path: Path) -> None:
    body = clean()
    with serving(tmp_path / "data") as live:
        posted = live.client().post("/case/1.1/CFPackages", json=body)
        assert posted.status_code == 201, posted.text
        url = f"{live.base_url}/1edtech/ims/case/v1p1/CFPackages/{body['CFDocument']['identifier']}"
        ran = checked(url, "--token", live.token(), "--fail-on", "note")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert url in ran.stdout
        assert checked(url).returncode == 2


def many_alike() -> Body:
    body = clean()
    top = body["CFDocument"]["identifier"]
    for at in range(9):
        item = packed_item(fullStatement=f"s{at}", notes=None, language=f"language {at}")
        body["CFItems"].append(item)
        body["CFAssociations"].append(association(item["identifier"], top))
    return body


def test_examples_and_all(checked: Check, write: Callable[..., str]) -> None:
    source = write("many.json", many_alike())
    short = checked(source).stdout
    assert "CFItems[2].notes and 8 more like it" in short
    assert short.count("is not a language tag") == EXAMPLES
    assert "… and 4 more; --all shows them" in short
    long = checked(source, "--all").stdout
    assert long.count("null is not allowed") == long.count("is not a language tag") == 9
    assert "more" not in long


def test_lines_fit_a_terminal(write: Callable[..., str], tmp_path: Path) -> None:
    source = write("many.json", many_alike())
    here, there = pty.openpty()
    command = shlex.join((*COMMAND, "check", source))
    with subprocess.Popen(
        ["sh", "-c", f"stty cols 60 rows 40; {command}"],
        stdin=there, stdout=there, stderr=there, env=environment(tmp_path, TERM="xterm"),
    ) as process:  # fmt: skip
        os.close(there)
        shown = b""
        try:
            while part := os.read(here, 4096):
                shown += part
        except OSError:
            pass  # the other side is closed: this is how a terminal says so
    os.close(here)
    assert process.returncode == 1
    rows = re.sub(r"\r\x1b\[K[^\r\n]*(?=\r\x1b\[K)|\r\x1b\[K", "", shown.decode()).splitlines()
    assert len(rows) > 10
    long = [row for row in rows if len(row) > 60]
    assert all(" " not in row.strip() for row in long)


def test_texts_of_a_file_cannot_move_the_cursor(checked: Check, write: Callable[..., str]) -> None:
    body = clean()
    body["CFItems"][0]["language"] = "x\x1b[2J"
    body["CFDocument"]["title"] = "a\nb\x1b[2J"
    shown = checked(write("odd.json", body)).stdout
    assert "\x1b" not in shown
    assert "a\\u000ab\\u001b[2J" in shown


def test_a_reader_that_has_had_enough(write: Callable[..., str], tmp_path: Path) -> None:
    body = clean()
    for _ in range(3000):
        body["CFItems"].append(packed_item(notes=None))
    command = shlex.join((*COMMAND, "check", "--all", write("long.json", body)))
    ran = subprocess.run(
        ["bash", "-c", f"{command} | head -c 50"],
        env=environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (len(ran.stdout), ran.stderr) == (50, "")


def test_sarif(checked: Check, write: Callable[..., str], tmp_path: Path) -> None:
    source, target = write("a file.json", spoilt()), tmp_path / "out.sarif"
    ran = checked(source, "--format", "sarif", "-o", str(target))
    assert (ran.returncode, ran.stdout) == (1, "")
    log = json.loads(target.read_text())
    Draft202012Validator(SARIF).validate(log)
    (one,) = log["runs"]
    rules = one["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES]
    assert one["invocations"][0]["executionSuccessful"]
    for result in one["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == Path(source).as_uri()
        row = (
            Path(source)
            .read_text()
            .split("\n")[place["physicalLocation"]["region"]["startLine"] - 1]
        )
        field = place["logicalLocations"][0]["fullyQualifiedName"].rpartition(".")[2]
        begins = place["physicalLocation"]["region"]["startColumn"] - 1
        assert row[begins:].startswith(f'"{field}"')
    prints = [result["partialFingerprints"]["caseServerCheck/v1"] for result in one["results"]]
    assert len(set(prints)) == len(prints) == 3


def text(**more: Any) -> Body:
    return {
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"minLength": 1}},
        **more,
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
                            "artifactLocation": {
                                "properties": {"uri": {"pattern": r"^[!-~]+$"}},
                            },
                            "region": {
                                "additionalProperties": False,
                                "properties": {
                                    "startLine": {"type": "integer", "minimum": 1},
                                    "startColumn": {"type": "integer", "minimum": 1},
                                },
                            },
                        },
                    },
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
"""What SARIF 2.1.0 and code scanning ask of a file like ours."""


def test_sarif_of_files_below_here_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = check(json.dumps(spoilt()).encode()).findings
    names = ["some/ä b.json", str(tmp_path / "c.json"), "-", "https://x.test/p?q=1"]
    results = [Result(name, findings=found) for name in names]
    log = json.loads(as_sarif(results, everything=True))
    uris = [one["location"]["uri"] for one in log["runs"][0]["artifacts"]]
    assert uris == ["some/%C3%A4%20b.json", "c.json", "stdin", "https://x.test/p?q=1"]


def test_sarif_has_no_more_than_is_read(tmp_path: Path) -> None:
    body = spoilt()
    body["CFItems"] += [packed_item(notes=None, statusEndDate=None) for _ in range(13_000)]
    found = check(json.dumps(body).encode()).findings
    results = [Result("x.json", findings=found)]
    log = json.loads(as_sarif(results, everything=False))["runs"][0]
    assert len(log["results"]) == LARGEST < len(found)
    assert {one["level"] for one in log["results"]} == {"error"}
    (notice,) = log["invocations"][0]["toolExecutionNotifications"]
    assert f"{len(found):,}" in notice["message"]["text"]
    assert len(json.loads(as_sarif(results, everything=True))["runs"][0]["results"]) == len(found)


def test_sarif_says_what_was_not_read(checked: Check, tmp_path: Path) -> None:
    ran = checked(str(tmp_path / new_id()), "--format", "sarif")
    (invocation,) = json.loads(ran.stdout)["runs"][0]["invocations"]
    assert not invocation["executionSuccessful"]
    assert "cannot be read" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_fingerprints_stay_when_others_come_and_go() -> None:
    def fingerprints(body: Body) -> set[str]:
        result = Result("x.json", findings=check(json.dumps(body).encode()).findings)
        log = json.loads(as_sarif([result], everything=True))
        return {
            one["partialFingerprints"]["caseServerCheck/v1"] for one in log["runs"][0]["results"]
        }

    body = spoilt()
    before = fingerprints(body)
    body["CFItems"].insert(0, packed_item())
    assert before <= fingerprints(body)


def test_rules_lists_all(checked: Check) -> None:
    ran = checked("--rules")
    assert ran.returncode == 0
    assert [line.split()[:2] for line in ran.stdout.splitlines()] == [
        [rule.id, rule.severity] for rule in RULES
    ]


def test_documented_rules_are_those_of_the_code() -> None:
    told = re.findall(
        r"^\| `([a-z-]+)` \| (\w+) \| (.+?) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE
    )
    assert told == [(rule.id, rule.severity, rule.explanation, rule.standard) for rule in RULES]


def test_documented_flags_are_those_of_the_command(checked: Check) -> None:
    flags = set(re.findall(r"--[a-z-]+", checked("--help").stdout)) - {"--help"}
    assert flags <= set(re.findall(r"--[a-z-]+", DOCS.read_text()))
