"""`case-server import`, `export` and `template` with files of every form."""

import gzip
import json
import re
from pathlib import Path

import pytest
from openpyxl import load_workbook
from support.live_server import run_command_in_process as run
from support.live_server import run_command_with_bytes

from case_server.lint.rules.catalog import BY_ID
from case_server.sample import SAMPLE_DOCUMENT_ID

SHEET = "code,parent,statement\nA,,Algebra\nA.1,A,Solve\n"
FLAGS = ("--title", "Mathematics", "--creator", "a district", "--document-id", "maths")


@pytest.fixture(scope="module")
def data_dir(running_data_dir: Path) -> Path:
    result = run("import", "--sample", data_dir=running_data_dir)
    assert result.returncode == 0, result.stderr
    return running_data_dir


@pytest.mark.parametrize("name", ["a.json.gz", "a.csv", "a.xlsx", "a.jsonl.gz"])
def test_file_name_selects_the_format(data_dir: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    result = run("export", SAMPLE_DOCUMENT_ID, "-o", str(target), data_dir=data_dir)
    assert result.returncode == 0
    assert re.fullmatch("reading from the embedded Postgres in .*\nexported to .*\n", result.stderr)
    assert target.read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    second_result = run("import", "--strict", str(target), data_dir=data_dir)
    assert ": unchanged " in second_result.stdout, second_result.stderr
    assert list(tmp_path.iterdir()) == [target]


def test_format_option_selects_the_format_of_pipes(data_dir: Path, tmp_path: Path) -> None:
    for form in ("xlsx", "jsonl"):
        export = ("export", SAMPLE_DOCUMENT_ID, "--format", form)
        exported = run_command_with_bytes(*export, data_dir=data_dir)
        assert exported.returncode == 0, exported.stderr
        command = ("import", "-", "--format", form)
        imported = run_command_with_bytes(*command, data_dir=data_dir, stdin=exported.stdout)
        assert imported.returncode == 0, imported.stderr
        assert b": unchanged " in imported.stdout
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert lines[0].keys() == {"CFDocument"}
    assert {"CFItem", "CFAssociation", "CFRubric"} <= {kind for line in lines for kind in line}


@pytest.mark.parametrize("command", [("check",), ("import", "--strict"), ("import", "--dry-run")])
def test_gzip_on_standard_input_is_named(data_dir: Path, command: tuple[str, ...]) -> None:
    stdin = gzip.compress(SHEET.encode())
    result = run_command_with_bytes(*command, "-", data_dir=data_dir, stdin=stdin)
    assert result.returncode > 0
    assert b"is compressed with gzip: decompress it" in result.stderr


def test_string_too_long_for_xlsx_is_refused(data_dir: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "long.csv", tmp_path / "long.xlsx"
    source.write_text(f"code,statement\nA,{'x' * 40_000}\n")
    flags = ("--title", "Long", "--creator", "a district", "--document-id", "long")
    assert run("import", str(source), *flags, data_dir=data_dir).returncode == 0
    result = run("export", "long", "-o", str(target), data_dir=data_dir)
    assert result.returncode == 1
    assert "sheet CFItems, row 2, column E (fullStatement): 40,000 characters" in result.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_sheet_imported_twice_is_one_framework(data_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "maths.csv"
    source.write_text(SHEET)
    result = run("import", str(source), data_dir=data_dir)
    assert result.returncode == 1
    assert "--title" in result.stderr
    assert "--creator" in result.stderr
    for sheet, outcome in (
        (SHEET, "created maths: 2 items, 2 associations"),
        (SHEET, ": unchanged "),
        (SHEET.replace("A.1,A,Solve", "A.2,A,Graph"), "replaced maths: 2 items"),
    ):
        source.write_text(sheet)
        assert outcome in run("import", str(source), *FLAGS, data_dir=data_dir).stdout
    package = json.loads(run("export", "maths", data_dir=data_dir).stdout)
    assert [item["humanCodingScheme"] for item in package["CFItems"]] == ["A", "A.2"]
    assert len(package["CFAssociations"]) == 2


def test_folder_with_all_formats_is_imported(data_dir: Path, tmp_path: Path) -> None:
    for name in ("a.xlsx", "b.jsonl.gz"):
        result = run("export", SAMPLE_DOCUMENT_ID, "-o", str(tmp_path / name), data_dir=data_dir)
        assert result.returncode == 0
    (tmp_path / "~$a.xlsx").write_bytes(b"a lock file of Excel for an open workbook")
    result = run("import", str(tmp_path), data_dir=data_dir)
    assert (result.returncode, result.stdout.count(": unchanged ")) == (0, 2)


def test_filled_in_template_is_imported(data_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "standards.xlsx"
    assert run("template", str(target), data_dir=data_dir).returncode == 0
    result = run("template", str(target), data_dir=data_dir)
    assert (result.returncode, "exists already" in result.stderr) == (1, True)
    book = load_workbook(target)
    fill(book["CFDocument"], title="Mathematics", creator="a district")
    fill(book["CFItems"], humanCodingScheme="A", fullStatement="Algebra", CFItemType="Domain")
    fill(book["CFItems"], humanCodingScheme="A.1", fullStatement="Solve", parent="A")
    fill(
        book["CFAssociations"],
        **{"originNodeURI.identifier": "A.1", "destinationNodeURI.identifier": "A"},
        associationType="isRelatedTo",
    )
    book.save(target)
    result = run("import", "--strict", str(target), data_dir=data_dir)
    assert "2 items, 3 associations" in result.stdout, result.stderr


def fill(sheet: object, **cells: str) -> None:
    """Append a row with these cells under their headings."""
    # openpyxl's types allow for sheets without cells, such as charts.
    headings = [cell.value for cell in sheet[1]]  # type: ignore[index]
    assert cells.keys() <= set(headings)
    sheet.append([cells.get(name) for name in headings])  # type: ignore[attr-defined]


def test_template_of_another_extension_is_refused(data_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "standards.csv"
    assert run("template", str(target), data_dir=data_dir).returncode == 0
    assert "humanCodingScheme" in target.read_text(encoding="utf-8-sig")
    result = run("template", str(tmp_path / "standards.ods"), data_dir=data_dir)
    assert (result.returncode, ".xlsx or .csv" in result.stderr) == (2, True)


def test_compressed_exports_are_reproducible(data_dir: Path, tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("a.csv.gz", "b.csv.gz"))
    for target in (first, second):
        result = run("export", SAMPLE_DOCUMENT_ID, "-o", str(target), data_dir=data_dir)
        assert result.returncode == 0, result.stderr
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()).startswith(b"\xef\xbb\xbf")


def test_import_warns_about_the_structure(data_dir: Path, tmp_path: Path) -> None:
    sheet, report = tmp_path / "sheet.csv", tmp_path / "report.json"
    rows = ["A,B,first", "B,A,second", *["C1,,same code"] * 8]
    sheet.write_text("\n".join(["code,parent,statement", *rows]))
    flags = ("--title", "Cycle", "--creator", "a district", "--report", str(report))
    completed = run("import", str(sheet), *flags, data_dir=data_dir)
    assert (completed.returncode, ": created " in completed.stdout) == (0, True), completed.stderr
    assert completed.stderr.splitlines()[1:] == [
        f"{sheet}: warning: cycle (1): {BY_ID['cycle'].explanation}",
        "  row 3: closes a cycle: A > B > A",
        f"{sheet}: warning: duplicate-code (7): {BY_ID['duplicate-code'].explanation}",
        *(f"  row {number}: C1 is also the code of row 4" for number in range(5, 10)),
        "  and 2 more; case-server check --all shows them",
        f"wrote the report to {report}",
    ]
    (result,) = json.loads(report.read_text())
    assert [(warning["rule"], warning["count"]) for warning in result["warnings"]] == [
        ("cycle", 1),
        ("duplicate-code", 7),
    ]
    completed = run("import", str(sheet), *flags, "--quiet", data_dir=data_dir)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")
