"""Formats of other programs that are refused by name, with what to do instead."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.live_server import run_command_in_process as run
from support.tables import find_problems, read_items

from case_server.exceptions import BadRequest, CommandError
from case_server.transfer.sources import reject_non_package_json


def test_canvas_table_is_refused_by_name() -> None:
    text = (
        "vendor_guid,object_type,title,description,parent_guids,mastery_points,ratings\n"
        "b,group,Baking,,,,\nb.1,outcome,Knead,,b,3,5\n"
    )
    with pytest.raises(BadRequest, match=r"outcomes export of Canvas.*rename vendor_guid"):
        read_items(text)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ([{"id": 1, "title": "Knead", "vendor_guid": "b.1", "mastery_points": 3}], "Canvas"),
        ([{"outcome": {"title": "Knead", "vendor_guid": "b.1", "ratings": []}}], "Canvas"),
        (
            {"data": {"standards": {"S1": {"id": "S1", "statementNotation": "B.1"}}}},
            "Common Standards Project",
        ),
        ({"standards": [{"id": "S1", "asnIdentifier": "S9"}]}, "Common Standards Project"),
    ],
)
def test_json_of_other_programs_is_refused_by_name(value: Any, name: str) -> None:
    with pytest.raises(CommandError, match=f"{name}.*which is not read: import the"):
        reject_non_package_json(json.dumps(value).encode())


@pytest.mark.parametrize(
    "text",
    [
        "Baking,,\n,Bread,\n,,Knead\n,,Proof\nCakes,,\n",
        "Domain,Cluster,Standard\nBaking,,\n,Bread,\n,,Knead\n",
        "B,Baking,,\n,B.1,Bread,\n,,B.1.1,Knead\n",
        "Baking\n  Bread\n    Knead\n  Rolls\n",
        "Statement\nBaking\n\tBread\n\t\tKnead\n",
        "Code,Statement\nB,Baking\nB.1,   Bread\nB.1.1,      Knead\n",
    ],
)
def test_indented_list_is_refused_in_one_message(text: str) -> None:
    (problem,) = find_problems(text)
    assert problem["path"] == "row 1"
    assert problem["message"].startswith("the rows are an indented list, which is not read: put")


@pytest.mark.parametrize(
    "text",
    [
        "Statement\nBaking\n Bread\n Knead\n",
        "Statement,Grade\nBaking,\nBread,\n",
        "Code,Parent,Statement\nB,,Baking\nB.1,B,    Bread\nB.2,B,    Rolls\n",
    ],
)
def test_table_is_no_indented_list(text: str) -> None:
    items, _ = read_items(text)
    assert items[0]["fullStatement"] == "Baking"


def test_folder_names_the_spreadsheets_that_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "sheets"
    folder.mkdir()
    for name in ("old.xls", "open.ods", "notes.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "new.csv").write_text("#title,Baking\n#creator,x\nCode,Statement\nB,Bake\n")
    result = run("import", "--dry-run", str(folder), data_dir=tmp_path / "data")
    assert result.returncode == 1
    assert f"{folder}/new.csv: valid" in result.stdout
    xls_message, ods_message = result.stderr.splitlines()
    assert xls_message.startswith(
        f"{folder}/old.xls: refused: the file is an Excel 97-2003 workbook"
    )
    assert ods_message.startswith(f"{folder}/open.ods: refused: the file is an OpenDocument")


def test_unknown_extension_lists_the_known_extensions(tmp_path: Path) -> None:
    file = tmp_path / "framework.txt"
    file.write_text("Baking\n")
    result = run("import", "--dry-run", str(file), data_dir=tmp_path / "data")
    assert result.returncode == 1
    assert result.stderr == (
        f"{file}: refused: has an unknown file format: .json, .csv, .tsv, .xlsx and .jsonl files "
        "are read, each also with .gz; --format gives the format of a file with another name\n"
    )
