"""``case-server list``; identifiers and files given to ``export``, ``delete``, ``undelete``."""

import json
from pathlib import Path

import pytest
from support import factories
from support.live_server import run_command_in_process as run
from support.terminal import run_in_terminal

ALGEBRA, ALGEBRA_2, BIOLOGY = "algebra-1", "algebra-2", "biology"


@pytest.fixture(scope="module")
def data_dir(running_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with three frameworks."""
    folder = tmp_path_factory.mktemp("list")
    for identifier in (ALGEBRA, ALGEBRA_2, BIOLOGY):
        body = factories.package(identifier)
        body["CFDocument"] |= {"title": identifier.title(), "creator": "Example District"}
        (folder / f"{identifier}.json").write_text(json.dumps(body))
    sources = [str(path) for path in sorted(folder.glob("*.json"))]
    result = run("import", *sources, data_dir=running_data_dir)
    assert result.returncode == 0, result.stderr
    return running_data_dir


def identifiers(data_dir: Path, *arguments: str) -> list[str]:
    """Return the identifiers that ``list --format json`` prints."""
    result = run("list", "--format", "json", *arguments, data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    return [framework["identifier"] for framework in json.loads(result.stdout)]


def test_list_prints_one_line_per_framework_by_title(data_dir: Path) -> None:
    result = run("list", data_dir=data_dir)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [ALGEBRA, ALGEBRA_2, BIOLOGY]
    assert all("items  Example District  " in line for line in lines)


def test_list_wraps_titles_on_a_terminal(data_dir: Path) -> None:
    code, output = run_in_terminal("list", "algebra-1", data_dir=data_dir, columns=40)
    assert code == 0
    first, *lines = output[output.index(f"{ALGEBRA}  ") :].splitlines()
    assert lines
    assert all(len(row) <= 40 for row in (first, *lines))
    assert all(row.startswith(" " * len(ALGEBRA)) for row in lines)


def test_list_with_prefix_selects_frameworks(data_dir: Path) -> None:
    assert identifiers(data_dir, "alg") == [ALGEBRA, ALGEBRA_2]
    assert identifiers(data_dir, "zoology") == []


def test_list_as_json_counts_items_and_formats_times(data_dir: Path) -> None:
    result = run("list", "--format", "json", BIOLOGY, data_dir=data_dir)
    (framework,) = json.loads(result.stdout)
    assert framework["items"] > 0
    assert framework["lastChangeDateTime"].endswith("Z")
    assert framework["deletedAt"] is None


def test_list_without_database_creates_none(tmp_path: Path) -> None:
    result = run("list", data_dir=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert "case-server import --sample" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_export_accepts_unique_prefix(data_dir: Path) -> None:
    result = run("export", "bio", data_dir=data_dir)
    assert json.loads(result.stdout)["CFDocument"]["identifier"] == BIOLOGY


def test_export_refuses_ambiguous_prefix_and_lists_matches(data_dir: Path) -> None:
    result = run("export", "algebra", data_dir=data_dir)
    assert result.returncode == 1
    assert f"'algebra' matches 2 frameworks: {ALGEBRA}, {ALGEBRA_2}" in result.stderr


@pytest.mark.parametrize("command", [["export"], ["delete", "document"]])
def test_unknown_identifier_suggests_a_similar_identifier(
    data_dir: Path, command: list[str]
) -> None:
    result = run(*command, "bilogy", data_dir=data_dir)
    assert result.returncode == 1
    assert f"did you mean {BIOLOGY}?" in result.stderr


def test_list_of_unknown_prefix_suggests_a_similar_identifier(data_dir: Path) -> None:
    result = run("list", "bilogy", data_dir=data_dir)
    assert f"starts with 'bilogy': did you mean {BIOLOGY}?" in result.stderr


def test_items_are_deleted_by_whole_identifier_only(data_dir: Path) -> None:
    package = json.loads(run("export", BIOLOGY, data_dir=data_dir).stdout)
    item = package["CFItems"][0]["identifier"]
    for identifier in (item[:8], f"{item[:-1]}!"):
        result = run("delete", "item", identifier, data_dir=data_dir)
        assert result.returncode == 1
        assert f"did you mean {item}?" in result.stderr
    result = run("delete", "item", item, data_dir=data_dir)
    assert result.stdout.startswith("deleted: CFItem (1)")
    assert len(result.stdout.splitlines()) == 1
    result = run("undelete", "item", item[:8], data_dir=data_dir)
    assert f"did you mean {item}?" in result.stderr
    result = run("undelete", "item", item, data_dir=data_dir)
    assert result.stdout.startswith("restored: CFItem (1)")


def test_delete_takes_no_prefix(data_dir: Path) -> None:
    result = run("delete", "document", "bio", data_dir=data_dir)
    assert result.returncode == 1
    assert f"did you mean {BIOLOGY}?" in result.stderr
    assert BIOLOGY in identifiers(data_dir)


def test_list_deleted_shows_deleted_frameworks_only(data_dir: Path) -> None:
    assert run("delete", "document", ALGEBRA_2, data_dir=data_dir).returncode == 0
    assert identifiers(data_dir, "--deleted") == [ALGEBRA_2]
    assert ALGEBRA_2 not in identifiers(data_dir)
    result = run("undelete", "document", BIOLOGY, data_dir=data_dir)
    assert "it is not deleted" in result.stderr
    result = run("undelete", "document", "algebra", data_dir=data_dir)
    assert f"did you mean {ALGEBRA_2}?" in result.stderr
    assert run("undelete", "document", ALGEBRA_2, data_dir=data_dir).returncode == 0
    assert ALGEBRA_2 in identifiers(data_dir)


def test_export_never_overwrites_without_force(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "framework.json"
    assert run("export", BIOLOGY, "-o", str(output), data_dir=data_dir).returncode == 0
    output.write_text("mine")
    result = run("export", BIOLOGY, "-o", str(output), data_dir=data_dir)
    assert result.returncode == 1
    assert "exists already: add --force" in result.stderr
    assert output.read_text() == "mine"
    result = run("export", BIOLOGY, "-o", str(output), "--force", data_dir=data_dir)
    assert f"exported to {output}" in result.stderr
    assert json.loads(output.read_text())["CFDocument"]["identifier"] == BIOLOGY


def test_export_refuses_unknown_file_extension(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "framework.docx"
    result = run("export", BIOLOGY, "-o", str(output), data_dir=data_dir)
    assert result.returncode == 2
    assert "unknown file format of 'framework.docx'" in result.stderr
    assert not output.exists()


def test_export_pretty_indents_the_same_package(data_dir: Path) -> None:
    plain = run("export", BIOLOGY, data_dir=data_dir).stdout
    pretty = run("export", BIOLOGY, "--pretty", data_dir=data_dir).stdout
    assert json.loads(plain) == json.loads(pretty)
    assert pretty.startswith('{\n  "CFDocument"')
