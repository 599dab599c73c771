"""The table of layouts in docs/guides/import.md: a small file of each is read or refused."""

import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.tables import METADATA, build_workbook

from case_server.exceptions import BadRequest, CommandError, UnprocessableContent
from case_server.formats.file_format import FileFormat
from case_server.formats.reader import read_framework
from case_server.formats.writer import TableWriter
from case_server.transfer.sources import reject_non_package_json

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "import.md"
CHANGED = "2026-05-05T05:05:05Z"
DOCUMENT = {"identifier": "bread", "title": "Bread", "creator": "x", "lastChangeDateTime": CHANGED}
KNEAD = {"identifier": "b1", "fullStatement": "Knead", "lastChangeDateTime": CHANGED}


class File(NamedTuple):
    """A file in one of the layouts, and the number of its items, or None if it is refused."""

    form: FileFormat
    raw: bytes
    items: int | None


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def exported() -> bytes:
    file = io.BytesIO()
    with TableWriter(file, "csv") as writer:
        writer.add("CFDocument", DOCUMENT)
        writer.add("CFItem", KNEAD)
        writer.finish()
    return file.getvalue()


OPENSALT = {
    "CF_Doc": [["identifier", "title", "creator"], ["bread", "Bread", "x"]],
    "CF_Item": [["identifier", "fullStatement", "smartLevel"], ["b1", "Knead", "1"]],
    "CF_Association": [["identifier", "originNodeURI", "originNodeIdentifier", "associationType"]],
}
COMPEITO = "#title,Bread\n#creator,x\nIdentifier,Full Statement\nb1,Knead\n"

FILES = {
    "CASE package": File("case-json", to_json({"CFDocument": DOCUMENT, "CFItems": [KNEAD]}), 1),
    "JSON tree": File(
        "case-json",
        to_json(
            {
                "title": "Bread",
                "creator": "x",
                "children": [{**KNEAD, "children": [{"code": "b2", "text": "By hand"}]}],
            }
        ),
        2,
    ),
    "CASE 1.0 sets, older OpenCASE": File(
        "case-json", to_json({"CFDocument": DOCUMENT, "CFItemSet": {"CFItems": [KNEAD]}}), 1
    ),
    "JSON Lines": File(
        "jsonl", to_json({"CFDocument": DOCUMENT}) + b"\n" + to_json({"CFItem": KNEAD}), 1
    ),
    "exported table": File("csv", exported(), 1),
    "table of items": File("csv", b"Code,Parent,Statement\nB,,Bread\nB.1,B,Knead\n", 2),
    "OpenSALT workbook": File("xlsx", build_workbook(**OPENSALT), 1),
    "OpenSALT table": File("csv", b"Identifier,Statement,Is Related To\nb1,Knead,b2\n", 1),
    "compeito table": File("csv", COMPEITO.encode(), 1),
    "OpenCASE spreadsheet": File(
        "csv", b"Level,Full Statement,Education Level\n1,Bread,Grade 3; Grade 4\n2,Knead,\n", 2
    ),
    "Learning Commons": File("csv", b"statementCode,description\nB.1,Knead\n", 1),
    "Canvas outcomes": File("csv", b"vendor_guid,object_type,title\nb,outcome,Knead\n", None),
    "Common Standards Project": File(
        "case-json", to_json({"data": {"standards": {"S": {"statementNotation": "B.1"}}}}), None
    ),
    "indented list": File("csv", b"Bread,\n,Knead\n,Bake\n", None),
    "`.xls`, `.ods`": File("csv", bytes.fromhex("d0cf11e0a1b11ae1"), None),
}


def rows_of_guide() -> dict[str, str]:
    section = GUIDE.read_text().split("## Layouts\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|", section, re.MULTILINE)
    return {name: result for name, result in rows if name != "layout"}


@pytest.mark.parametrize("name", rows_of_guide())
def test_file_of_each_layout_is_read_or_refused_as_documented(name: str) -> None:
    form, raw, items = FILES[name]
    is_refused = rows_of_guide()[name].startswith("refused")
    assert is_refused == (items is None)
    if is_refused:
        with pytest.raises((BadRequest, CommandError, UnprocessableContent)):
            reject_non_package_json(raw) if form == "case-json" else read_framework(
                raw, form, METADATA
            )
    else:
        package, _ = read_framework(raw, form, METADATA)
        assert package.count_entities("CFItem") == items


def test_guide_describes_every_layout_that_is_tested() -> None:
    assert rows_of_guide().keys() == FILES.keys()
