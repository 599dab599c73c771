"""`case-server check`: reports, formats and exit codes."""

import csv
import gzip
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from support.factories import Body, association, packed_item
from support.lintable_package import build_clean_package, build_flawed_package
from support.live_server import COMMAND, build_environment, run_live_server
from support.live_server import run_command_in_process as run
from support.terminal import BOLD_RED, GREEN, run_in_terminal

from case_server.lint.output import MAX_EXAMPLES_PER_RULE
from case_server.lint.rules.catalog import RULES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "guides" / "lint.md"

SHEET = "code,parent,statement\nA,B,first\nB,A,second\nC,,third\nC,,fourth\nD,,\n"
TITLE = ("--title", "Letters", "--creator", "a district")

Check = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., str]


@pytest.fixture
def checked(tmp_path: Path) -> Check:
    """Run the command without a server, and with a data directory that cannot be created."""
    blocked_dir = tmp_path / "a file"
    blocked_dir.touch()

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run("check", *arguments, data_dir=blocked_dir / "data", **options)

    return call


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, body: Any) -> str:
        path = tmp_path / name
        path.write_text(json.dumps(body, indent=2))
        return str(path)

    return to


def test_clean_package_has_no_violations(checked: Check, write: Write) -> None:
    result = checked(write("clean.json", build_clean_package()))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith(": no violations\n")


def test_text_report_shows_examples(checked: Check, write: Write) -> None:
    source = write("flawed.json", body := build_flawed_package())
    result = checked(source)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    identifier = body["CFDocument"]["identifier"]
    assert lines[0] == f"{source}: a framework ({identifier}): 1 error, 1 warning, 1 note"
    assert lines[1].startswith("  error schema (1): ")
    row = 1 + next(index for index, line in enumerate(Path(source).read_text().split("\n"))
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
def test_exit_code_depends_on_severity_flags(
    checked: Check, write: Write, flags: tuple[str, ...], code: int
) -> None:
    assert checked(write("flawed.json", build_flawed_package()), *flags).returncode == code


def test_violations_hidden_by_severity_still_fail(checked: Check, write: Write) -> None:
    file = write("one.json", build_flawed_package())
    result = checked(file, "--severity", "error", "--fail-on", "note", "--ignore", "schema")
    assert (result.returncode, result.stdout.endswith("no violations\n")) == (1, True)


def test_unreadable_source_stops_no_other(checked: Check, write: Write, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json.gz"
    broken.write_bytes(gzip.compress(b"{}" * 999)[:-9])
    unreachable = "http://127.0.0.1:9/package"
    valid = write("ok.json", build_clean_package())
    sources = [str(tmp_path / "missing.json"), str(broken), unreachable, valid]
    completed = checked(*sources, "--format", "json")
    assert completed.returncode == 2
    results = json.loads(completed.stdout)["sources"]
    assert [result["source"] for result in results] == sources
    assert [result["reason"] is None for result in results] == [False, False, False, True]
    start = "case-server: error: "
    errors = [line for line in completed.stderr.splitlines() if line.startswith(start)]
    assert len(errors) == 3
    for source, error in zip(sources, errors, strict=False):
        assert error.startswith(f"{start}{source}: ")
    assert checked(*sources).stdout == checked(sources[3]).stdout
    assert "Traceback" not in completed.stderr


def test_report_replaces_a_file_only_with_force(checked: Check, write: Write) -> None:
    source, output = write("ok.json", build_clean_package()), write("mine.json", "mine")
    result = checked(source, "-o", output)
    assert (result.returncode, Path(output).read_text()) == (2, '"mine"')
    assert f"{output} exists already: add --force to replace it" in result.stderr
    result = checked(source, "-o", output, "--force")
    assert (result.returncode, result.stderr) == (0, f"wrote the report to {output}\n")
    assert "no violations" in Path(output).read_text()


def test_folders_compressed_files_and_standard_input_are_read(
    checked: Check, tmp_path: Path
) -> None:
    folder = tmp_path / "frameworks"
    folder.mkdir()
    raw = json.dumps(build_flawed_package()).encode()
    (folder / "one.json").write_bytes(raw)
    (folder / "two.JSON.GZ").write_bytes(gzip.compress(raw))
    (folder / "three.txt").write_text("not one of them")
    (folder / "sheet.csv").write_text(SHEET)
    result = checked(str(folder), "-", "--format", "json", stdin=raw.decode())
    report = json.loads(result.stdout)
    names = [Path(source["source"]).name for source in report["sources"]]
    assert names == ["one.json", "sheet.csv", "two.JSON.GZ", "-"]
    assert report["counts"] == {"error": 7, "warning": 4, "note": 3}


def positions(report: str) -> set[tuple[Any, ...]]:
    (source,) = json.loads(report)["sources"]
    return {
        tuple(violation[name] for name in ("rule", "path", "sheet", "line", "column", "in_table"))
        for violation in source["violations"]
    }


def test_violations_of_csv_name_row_and_column(checked: Check, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text(SHEET)
    source = str(tmp_path / "sheet.csv")
    completed = checked(source, *TITLE, "--format", "json")
    assert completed.returncode == 1
    assert positions(completed.stdout) == {
        ("cycle", "row 3 (destinationNodeURI)", None, 3, 1, True),
        ("duplicate-code", "row 5, column A (humanCodingScheme)", None, 5, 1, True),
        ("schema", "row 6, column C (fullStatement)", None, 6, 3, True),
    }
    text = checked(source, *TITLE).stdout
    assert "\n    row 5, column A (humanCodingScheme): C is also the code of row 4\n" in text
    untitled = checked(source).stdout
    assert "the framework has no title: give it with --title" in untitled
    log = json.loads(checked(source, *TITLE, "--format", "sarif").stdout)
    assert {
        result["ruleId"]: result["locations"][0]["physicalLocation"]["region"]
        for result in log["runs"][0]["results"]
    } == {"cycle": {"startLine": 3}, "duplicate-code": {"startLine": 5}, "schema": {"startLine": 6}}


def test_line_of_a_csv_row_counts_line_breaks_in_cells(checked: Check, tmp_path: Path) -> None:
    rows = 'sep=;\ncode;statement\nA;"two\nlines"\n\nA;second\n'
    (tmp_path / "sheet.csv").write_text(rows)
    result = checked(str(tmp_path / "sheet.csv"), *TITLE, "--format", "json")
    (position,) = positions(result.stdout)
    assert position == ("duplicate-code", "row 4, column A (humanCodingScheme)", None, 6, 1, True)


def test_violations_of_workbook_name_the_sheet(checked: Check, tmp_path: Path) -> None:
    book = Workbook()
    for index, row in enumerate(csv.reader(SHEET.splitlines())):
        book.worksheets[0].append(row if index else [*row, "Colour"])
    book.worksheets[0]["D2"] = "red"
    book.worksheets[0]["A4"] = 1.5
    book.worksheets[0].title = "Items"
    book.save(tmp_path / "book.xlsx")
    source = str(tmp_path / "book.xlsx")
    result = checked(source, *TITLE, "--format", "json", "--ignore", "schema,cycle")
    assert positions(result.stdout) == {
        ("file-format", "sheet Items, row 2, column D (Colour)", "Items", 2, 4, True),
        ("file-format", "sheet Items, row 4, column A (humanCodingScheme)", "Items", 4, 1, True),
    }
    assert result.returncode == 0


def test_violations_of_json_lines_name_line_and_column(checked: Check, tmp_path: Path) -> None:
    body = build_flawed_package()
    entities = [{"CFDocument": body["CFDocument"]}]
    entities += [
        {kind: entity} for kind in ("CFItem", "CFAssociation") for entity in body[f"{kind}s"]
    ]
    lines = [json.dumps(entity) for entity in entities]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{"]))
    result = checked(str(tmp_path / "a.jsonl"), "--format", "json")
    column = lines[1].index('"notes"') + 1
    violations = positions(result.stdout)
    assert ("schema", "CFItem.notes", None, 2, column, False) in violations
    assert ("schema", "", None, len(lines) + 1, 1, False) in violations


@pytest.mark.parametrize("line", ["5", "null", '["x"]', "[" * 100_000])
def test_line_that_is_no_object_is_a_violation_at_this_line(
    checked: Check, tmp_path: Path, line: str
) -> None:
    document = json.dumps({"CFDocument": build_flawed_package()["CFDocument"]})
    (tmp_path / "a.jsonl").write_text(f"{document}\n{line}\n")
    result = checked(str(tmp_path / "a.jsonl"), "--format", "json")
    assert ("schema", "", None, 2, 1, False) in positions(result.stdout), result.stderr


def test_standard_input_needs_its_format(checked: Check) -> None:
    result = checked("-", "--input-format", "csv", *TITLE, "--format", "json", stdin=SHEET)
    assert json.loads(result.stdout)["counts"] == {"error": 2, "warning": 1, "note": 0}


def test_unreadable_workbook_exits_with_2(checked: Check, tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("no workbook")
    result = checked(str(tmp_path / "a.xlsx"))
    assert result.returncode == 2
    assert result.stderr.startswith(f"case-server: error: {tmp_path / 'a.xlsx'}: ")


def test_json_has_the_documented_shape(checked: Check, write: Write) -> None:
    body = build_flawed_package()
    result = checked(write("flawed.json", body), "--format", "json")
    report = json.loads(result.stdout)
    example = json.loads(DOCS.read_text().split("```json")[1].split("```")[0])
    assert report.keys() == example.keys()
    assert report["rules"] == {
        rule.id: rule.url for rule in RULES if rule.id in {"schema", "language", "education-level"}
    }
    (source,) = report["sources"]
    assert source.keys() == example["sources"][0].keys()
    assert source["counts"] == {"error": 1, "warning": 1, "note": 1}
    for violation in source["violations"]:
        assert violation.keys() == example["sources"][0]["violations"][0].keys()
        assert violation["identifier"] in {None, body["CFItems"][0]["identifier"]}


def test_url_is_read_with_token(checked: Check, data_dir: Path) -> None:
    body = build_clean_package()
    with run_live_server(data_dir) as live:
        with live.client() as client:
            posted = client.post("/case/1.1/CFPackages", json=body)
        assert posted.status_code == 201, posted.text
        url = f"{live.base_url}/1edtech/ims/case/v1p1/CFPackages/{body['CFDocument']['identifier']}"
        result = checked(url, "--token", live.token(), "--fail-on", "note")
        assert (result.returncode, result.stderr) == (0, "")
        assert url in result.stdout
        assert checked(url).returncode == 2


def many_alike() -> Body:
    body = build_clean_package()
    top = body["CFDocument"]["identifier"]
    for index in range(9):
        item = packed_item(fullStatement=f"s{index}", notes=None, language=f"language {index}")
        body["CFItems"].append(item)
        body["CFAssociations"].append(association(item["identifier"], top))
    return body


def test_all_shows_every_violation(checked: Check, write: Write) -> None:
    source = write("many.json", many_alike())
    short = checked(source).stdout
    assert "CFItems[2].notes and 8 more like it" in short
    assert short.count("is not a language tag") == MAX_EXAMPLES_PER_RULE
    assert "… and 4 more; --all shows them" in short
    long = checked(source, "--all").stdout
    assert long.count("null is not allowed") == long.count("is not a language tag") == 9
    assert "more" not in long


def test_text_is_wrapped_on_a_terminal(write: Write, tmp_path: Path) -> None:
    source = write("many.json", many_alike())
    code, output = run_in_terminal("check", source, data_dir=tmp_path, columns=60, TERM="dumb")
    assert code == 1
    rows = re.sub(r"\r\x1b\[K[^\r\n]*(?=\r\x1b\[K)|\r\x1b\[K", "", output).splitlines()
    assert len(rows) > 10
    long = [row for row in rows if len(row) > 60]
    assert all(" " not in row.strip() for row in long), long


def test_severities_are_coloured_on_a_terminal(write: Write, tmp_path: Path) -> None:
    source = write("many.json", many_alike())
    _, output = run_in_terminal("check", source, data_dir=tmp_path)
    assert f"{BOLD_RED}  error schema\x1b[0m (" in output
    _, output = run_in_terminal("check", source, data_dir=tmp_path, NO_COLOR="1")
    assert BOLD_RED not in output
    clean = write("clean.json", build_clean_package())
    _, output = run_in_terminal("check", clean, data_dir=tmp_path)
    assert f"{GREEN}: no violations" in output


def test_control_characters_are_escaped(checked: Check, write: Write) -> None:
    body = build_clean_package()
    body["CFItems"][0]["language"] = "x\x1b[2J"
    body["CFDocument"]["title"] = "a\nb\x1b[2J"
    output = checked(write("odd.json", body)).stdout
    assert "\x1b" not in output
    assert "a\\u000ab\\u001b[2J" in output


@pytest.mark.parametrize("content", ["{}", "no JSON"])
@pytest.mark.parametrize("report_format", ["text", "json", "sarif"])
def test_file_name_that_is_not_utf8_is_escaped(
    checked: Check, tmp_path: Path, report_format: str, content: str
) -> None:
    source = os.fsdecode(os.fsencode(tmp_path) + b"/b\xfcrger.json")
    Path(source).write_text(content)
    report = tmp_path / "report"
    result = checked(source, "--format", report_format, "-o", str(report))
    assert result.returncode in {1, 2}
    assert "Traceback" not in result.stderr
    if report_format == "json":
        (listed,) = json.loads(report.read_text())["sources"]
        assert listed["source"] == f"{tmp_path}/b\\udcfcrger.json"
    if report_format == "sarif":
        (run_log,) = json.loads(report.read_text())["runs"]
        assert run_log["artifacts"][0]["location"]["uri"] == f"{tmp_path.as_uri()}/b%FCrger.json"


def test_closed_pipe_ends_quietly(write: Write, tmp_path: Path) -> None:
    body = build_clean_package()
    for _ in range(3000):
        body["CFItems"].append(packed_item(notes=None))
    command = shlex.join((*COMMAND, "check", "--all", write("long.json", body)))
    result = subprocess.run(
        ["bash", "-c", f"{command} | head -c 50"],
        env=build_environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (len(result.stdout), result.stderr) == (50, "")


def test_rules_option_lists_all_rules(checked: Check) -> None:
    result = checked("--rules")
    assert result.returncode == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        [rule.id, rule.severity] for rule in RULES
    ]


def test_documentation_lists_all_options(checked: Check) -> None:
    # Long options may be hyphenated at the end of a line.
    help_text = re.sub(r"-\n\s+", "-", checked("--help").stdout)
    flags = set(re.findall(r"--[a-z-]+", help_text)) - {"--help"}
    assert flags <= set(re.findall(r"--[a-z-]+", DOCS.read_text()))
