"""Changes that `case-server import` reports, and losses that it refuses."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support import factories
from support.live_server import run_command_in_process as run
from support.terminal import run_in_terminal

from case_server.exceptions import CommandError
from case_server.transfer.importer import (
    ImportResult,
    require_writable_report_path,
    write_import_report,
)

TITLE = ("--title", "Mathematics", "--creator", "Example District")


@pytest.fixture(scope="module")
def data_dir(running_data_dir: Path) -> Path:
    return running_data_dir


def write(path: Path, body: Any) -> str:
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return str(path)


SHEET_TIME = 1_760_000_000


def sheet(path: Path, *rows: tuple[str, str]) -> str:
    text = write(path, "\n".join(["Code,Statement", *(",".join(row) for row in rows), ""]))
    # The time of a sheet's entities is that of its file, which must not differ between sheets.
    os.utime(path, (SHEET_TIME, SHEET_TIME))
    return text


def reported(path: Path) -> Any:
    (outcome,) = json.loads(path.read_text())
    return outcome


def counts(created: int, updated: int, unchanged: int, deleted: int) -> dict[str, int]:
    names = ("created", "updated", "unchanged", "deleted")
    return dict(zip(names, (created, updated, unchanged, deleted), strict=True))


def test_import_reports_added_changed_unchanged_and_deleted(data_dir: Path, tmp_path: Path) -> None:
    body, report = factories.package(CFAssociations=[]), tmp_path / "report.json"
    source = tmp_path / "one.json"
    result = run("import", write(source, body), data_dir=data_dir)
    assert (
        "2 items, 0 associations; 3 added, 0 changed, 0 unchanged, 0 deleted, in" in result.stdout
    )
    body["CFItems"][0]["fullStatement"] = "another"
    body["CFItems"][1] = factories.packed_item()
    flags = ("--report", str(report))
    write(source, body)
    dry = run("import", str(source), "--dry-run", *flags, data_dir=data_dir)
    assert dry.returncode == 0, dry.stderr
    identifier = body["CFDocument"]["identifier"]
    assert f"one.json: would be replaced {identifier}: 2 items" in dry.stdout
    assert "1 added, 1 changed, 1 unchanged, 1 deleted, in" in dry.stdout
    assert reported(report)["counts"] == counts(1, 1, 1, 1)
    assert (reported(report)["status"], reported(report)["dry_run"]) == ("replaced", True)
    done = run("import", str(source), *flags, data_dir=data_dir)
    assert "1 added, 1 changed, 1 unchanged, 1 deleted, in" in done.stdout
    assert reported(report)["counts"] == counts(1, 1, 1, 1)
    assert (reported(report)["status"], reported(report)["dry_run"]) == ("replaced", False)
    again = run("import", str(source), *flags, data_dir=data_dir)
    assert "0 added, 0 changed, 3 unchanged, 0 deleted, in" in again.stdout
    assert (reported(report)["status"], reported(report)["counts"]) == (
        "unchanged",
        counts(0, 0, 3, 0),
    )


def test_second_sheet_of_the_same_title_is_rejected(data_dir: Path, tmp_path: Path) -> None:
    first = sheet(tmp_path / "first.csv", ("A", "x"))
    second = sheet(tmp_path / "second.csv", ("B", "y"))
    report = tmp_path / "report.json"
    result = run("import", first, *TITLE, data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    explanation = "was made from the title 'Mathematics' and the creator 'Example District'"
    assert explanation in result.stdout
    assert "--document-id gives another" in result.stdout
    for flags in (("--dry-run",), ()):
        result = run("import", second, *TITLE, *flags, "--report", str(report), data_dir=data_dir)
        assert result.returncode == 1
        assert "second.csv: refused: it would delete 1 of the 1 item stored" in result.stderr
        assert "--allow-deletes" in result.stderr
        assert "would be: 2 added, 0 changed, 1 unchanged, 2 deleted" in result.stderr
        assert explanation in result.stdout
        outcome = reported(report)
        assert (outcome["status"], outcome["counts"]) == ("refused", counts(2, 0, 1, 2))
    got = json.loads(run("export", outcome["document"], data_dir=data_dir).stdout)
    assert [item["humanCodingScheme"] for item in got["CFItems"]] == ["A"]
    other = run("import", second, *TITLE, "--document-id", "another", data_dir=data_dir)
    assert "created another: 1 item, 1 association; 3 added" in other.stdout
    result = run("import", second, *TITLE, "--allow-deletes", data_dir=data_dir)
    assert "2 added, 0 changed, 1 unchanged, 2 deleted" in result.stdout


@pytest.mark.parametrize("content", ["", "Code,Statement\n", "Code,Statement\n,\n\n", "\ufeff"])
def test_spreadsheet_without_rows_is_rejected(data_dir: Path, tmp_path: Path, content: str) -> None:
    source = write(tmp_path / "empty.csv", content)
    for flags in ((), ("--dry-run",), ("--allow-deletes",)):
        result = run("import", source, *TITLE, *flags, data_dir=data_dir)
        assert result.returncode == 1
        assert "empty.csv: refused: the spreadsheet has no rows" in result.stderr


def test_sheet_without_identifiers_that_changes_most_statements_is_rejected(
    data_dir: Path, tmp_path: Path
) -> None:
    flags = ("--title", "Science", "--creator", "Example District")
    before = sheet(tmp_path / "before.csv", ("1", "Plants"), ("2", "Animals"), ("3", "Rocks"))
    half = sheet(tmp_path / "half.csv", ("1", "Herbs"), ("2", "Animals"), ("3", "Rocks"))
    other = sheet(tmp_path / "other.csv", ("1", "Chords"), ("2", "Scales"), ("3", "Rocks"))
    assert run("import", before, *flags, data_dir=data_dir).returncode == 0
    assert run("import", half, *flags, data_dir=data_dir).returncode == 0
    result = run("import", other, *flags, data_dir=data_dir)
    assert result.returncode == 1
    assert "would change the statements of 2 of the 3 items" in result.stderr
    assert "another framework of the same title" in result.stderr
    assert "--allow-deletes" in result.stderr
    assert run("import", other, *flags, "--allow-deletes", data_dir=data_dir).returncode == 0


def test_sheet_with_identifiers_may_change_every_statement(data_dir: Path, tmp_path: Path) -> None:
    flags = ("--title", "Art", "--creator", "Example District")
    names = [factories.new_id() for _ in range(4)]
    for statement in ("old", "new"):
        rows = [f"{name},{statement} {number}" for number, name in enumerate(names)]
        source = write(tmp_path / "art.csv", "\n".join(["Identifier,Statement", *rows]))
        result = run("import", source, *flags, data_dir=data_dir)
        assert result.returncode == 0, result.stderr
    # The document keeps its time; the titles of links to the items change with their statements.
    assert "0 added, 8 changed, 1 unchanged, 0 deleted" in result.stdout


def test_json_without_lists_is_bounded_by_the_same_rule(data_dir: Path, tmp_path: Path) -> None:
    body = factories.package(CFAssociations=[])
    document = {"CFDocument": body["CFDocument"]}
    source = tmp_path / "framework.json"
    result = run("import", write(source, document), data_dir=data_dir)
    assert "0 items, 0 associations; 1 added" in result.stdout
    del body["CFAssociations"]
    assert run("import", write(source, body), data_dir=data_dir).returncode == 0
    result = run("import", write(source, document), data_dir=data_dir)
    assert result.returncode == 1
    assert "delete 2 of the 2 items stored, and leave the framework without items" in result.stderr
    got = json.loads(run("export", body["CFDocument"]["identifier"], data_dir=data_dir).stdout)
    assert len(got["CFItems"]) == 2


def test_dry_run_without_database_creates_none(tmp_path: Path) -> None:
    good, bad = factories.package(), factories.package()
    del bad["CFItems"][0]["fullStatement"]
    data_dir, report = tmp_path / "untouched", tmp_path / "report.json"
    result = run(
        "import",
        "--dry-run",
        write(tmp_path / "good.json", good),
        write(tmp_path / "bad.json", bad),
        "--report",
        str(report),
        data_dir=data_dir,
    )
    assert result.returncode == 1
    assert "good.json: valid" in result.stdout
    assert "all of it would be added, because there is no database yet" in result.stdout
    assert "CFItems[0].fullStatement: required" in result.stderr
    assert [result["counts"] for result in json.loads(report.read_text())] == [None, None]
    assert not data_dir.exists()


def test_rejection_names_the_option_that_allows_it(tmp_path: Path) -> None:
    body, report = factories.package(), tmp_path / "report.json"
    body["CFItems"][0]["identifier"] = "https://maths.example/1"
    body["CFAssociations"][0]["associationType"] = "isFriendOf"
    source = write(tmp_path / "other.json", body)
    data_dir = tmp_path / "untouched"
    result = run("import", "--dry-run", source, "--report", str(report), data_dir=data_dir)
    assert result.returncode == 1
    assert "--keep-association-types" in result.stderr
    assert "--identifiers uuid5" in result.stderr
    assert len(reported(report)["hints"]) == 2
    assert '; got "https://maths.example/1"' in result.stderr
    flags = ("--keep-association-types", "--identifiers", "uuid5")
    result = run("import", "--dry-run", source, *flags, data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    assert "url-identifier (1): An identifier was a URL" in result.stdout
    assert '"isFriendOf" became "ext:isFriendOf"' in result.stdout
    result = run("import", "--strict", source, *flags, data_dir=data_dir)
    assert (result.returncode, "--strict repairs nothing" in result.stderr) == (2, True)


def test_identifiers_that_are_urls_are_one_line_with_an_example(tmp_path: Path) -> None:
    body = factories.package(CFAssociations=[])
    for number, item in enumerate(body["CFItems"]):
        item["identifier"] = f"https://maths.example/{number}"
    body["CFItems"].append(factories.packed_item("a/b"))
    source, data_dir = write(tmp_path / "urls.json", body), tmp_path / "untouched"
    result = run("import", "--dry-run", source, data_dir=data_dir)
    heading, first, second, hint = result.stderr.splitlines()
    assert heading.endswith("urls.json: refused, 3 problems:")
    assert '; got "https://maths.example/0"; 1 other identifier like it' in first
    assert '; got "a/b"' in second
    assert "--identifiers uuid5" in hint
    result = run("import", "--dry-run", source, "--identifiers", "uuid5", data_dir=data_dir)
    assert "--identifiers" not in result.stderr


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "is a list of 0 values, not a package"),
        ([factories.document()], "is a list of 1 CFDocument, not a package"),
        ({"CFDocuments": [factories.document()] * 2}, "is a list of 2 CFDocuments, not a package"),
        (
            [factories.package(), factories.package()],
            "is a list of 2 packages, not a package (give each of them in a file of its own)",
        ),
        (factories.document(), "is one CFDocument without its package"),
        ({"CFItem": factories.packed_item()}, "is one CFItem without its package"),
        (
            {"CFPackageWithGroups": {"CFDocument": factories.document()}},
            "is a package with groups, which is for display only",
        ),
        ("", "is empty"),
    ],
)
def test_json_other_than_package_is_reported(tmp_path: Path, body: Any, reason: str) -> None:
    source = write(tmp_path / "other.json", body)
    result = run("import", "--dry-run", source, data_dir=tmp_path / "untouched")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"other.json: refused: {reason}; give a CFPackage: an object with" in result.stderr


def test_byte_order_mark_is_reported_at_the_start_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "marked.json"
    path.write_text(json.dumps(factories.package()), encoding="utf-8-sig")
    result = run("import", "--dry-run", str(path), data_dir=tmp_path / "untouched")
    assert "    first at the start of the file\n" in result.stdout


def test_unwritable_report_is_refused_before_anything_starts(tmp_path: Path) -> None:
    source = write(tmp_path / "source.json", factories.package())
    data_dir = tmp_path / "untouched"
    result = run("import", source, "--report", str(tmp_path), data_dir=data_dir)
    assert (result.returncode, result.stdout) == (1, "")
    with pytest.raises(CommandError, match="cannot write the report to /dev/full: No space left"):
        write_import_report(Path("/dev/full"), [ImportResult("one")])
    if os.geteuid():
        (report := tmp_path / "report.json").touch(mode=0o400)
        with pytest.raises(CommandError, match="permission denied"):
            require_writable_report_path(report)
    assert not data_dir.exists()


def test_folder_without_files_to_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("notes")
    result = run("import", str(tmp_path / "folder"), data_dir=tmp_path / "untouched")
    assert (result.returncode, result.stdout) == (1, "")
    assert (
        "folder: the folder has no files to read (.json, .csv, .tsv, .xlsx, .jsonl)"
        in result.stderr
    )


def test_dry_run_notes_that_two_sources_have_one_document(data_dir: Path, tmp_path: Path) -> None:
    body = factories.package(CFAssociations=[])
    assert run("import", write(tmp_path / "a.json", body), data_dir=data_dir).returncode == 0
    body["CFItems"][0]["fullStatement"] = "another"
    sources = (write(tmp_path / "b.json", body), write(tmp_path / "c.json", body))
    result = run("import", "--dry-run", *sources, data_dir=data_dir)
    assert result.stdout.count("0 added, 1 changed, 2 unchanged") == 2
    note = f"the dry run compares it with the database, not with {sources[0]}, which has the same"
    assert result.stdout.count(note) == 1
    result = run("import", *sources, data_dir=data_dir)
    assert note not in result.stdout
    assert "0 added, 0 changed, 3 unchanged" in result.stdout


def test_missing_files_are_all_named_before_anything_starts(tmp_path: Path) -> None:
    data_dir = tmp_path / "untouched"
    there = write(tmp_path / "there.json", factories.package())
    result = run("import", there, "nowhere.json", str(tmp_path / "no"), data_dir=data_dir)
    assert (result.returncode, result.stdout) == (1, "")
    missing = f"nowhere.json, {tmp_path / 'no'}"
    assert (
        result.stderr
        == f"case-server: error: no such files or folders: {missing}; check the paths\n"
    )
    assert not data_dir.exists()


def test_terminal_shows_the_first_fifty_problems(data_dir: Path, tmp_path: Path) -> None:
    body = factories.package(CFItems=[factories.packed_item() for _ in range(80)])
    for item in body["CFItems"]:
        del item["fullStatement"]
    source, report = write(tmp_path / "bad.json", body), tmp_path / "report.json"
    arguments = ("import", "--dry-run", source, "--report", str(report))
    result = run(*arguments, data_dir=tmp_path / "untouched")
    assert result.stderr.count("required") == 80
    _, shown = run_in_terminal(*arguments, data_dir=tmp_path / "untouched")
    assert "refused, 80 problems" in shown
    assert shown.count("required") == 50
    assert "\n  and 30 more\n" in shown
    assert len(reported(report)["problems"]) == 80


def test_import_and_its_report_escape_a_file_name_that_is_not_utf8(
    data_dir: Path, tmp_path: Path
) -> None:
    source = os.fsdecode(os.fsencode(tmp_path) + b"/b\xfcrger.json")
    report = tmp_path / "report.json"
    for body, status, code in ((factories.package(), "created", 0), ({}, "refused", 1)):
        write(Path(source), body)
        result = run("import", source, "--report", str(report), data_dir=data_dir)
        assert result.returncode == code, result.stderr
        assert reported(report)["status"] == status
        assert reported(report)["source"] == f"{tmp_path}/b\\udcfcrger.json"
