"""OpenSALT's layout: what OpenSALT and compeito read from it, and what import reads again."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from support import factories
from support.factories import Body
from support.live_server import run_command_in_process as run
from support.packages import list_entities
from support.tables import find_problems

from case_server.case.vocabulary import ASSOCIATION_TYPES
from case_server.formats.file_format import FileFormat
from case_server.formats.opensalt import OpenSaltWriter
from case_server.formats.reader import read_framework
from case_server.repair.metadata_options import MetadataOptions
from case_server.sample import SAMPLE_DOCUMENT_ID

FRAMEWORK = "f0000000-0000-4000-8000-000000000000"
METADATA = MetadataOptions(title="Bees", creator="a club", identifier=FRAMEWORK)
OTHER = "e0000000-0000-4000-8000-000000000000"


def uuid(number: int) -> str:
    return f"a0000000-0000-4000-8000-{number:012}"


def item(number: int, code: str | None, **fields: Any) -> Body:
    codes = {"humanCodingScheme": code} if code else {}
    statement = f"Statement {number}"
    return factories.packed_item(uuid(number), fullStatement=statement, **codes, **fields)


def association(number: int, kind: str, origin: str, destination: str, **fields: Any) -> Body:
    fields |= {"associationType": kind}
    return factories.association(origin, destination, uuid(1000 + number), **fields)


DOCUMENT = factories.entity(FRAMEWORK, title="Bees", creator="a club", subject=["Bees", "Honey"])
ITEMS = [
    item(2, "H.2", conceptKeywords=["wax", "comb"], educationLevel=["03", "04"]),
    item(1, "H", CFItemType="Domain", notes="n", abbreviatedStatement="Hives"),
    item(3, "Q", language="en", listEnumeration="a"),
    item(4, "H.2.1"),
]
TREE = [
    association(1, "isChildOf", uuid(1), FRAMEWORK, sequenceNumber=20),
    association(2, "isChildOf", uuid(2), uuid(1), sequenceNumber=5),
    association(3, "isChildOf", uuid(3), FRAMEWORK, sequenceNumber=10),
    association(4, "isChildOf", uuid(4), uuid(2), sequenceNumber=1),
]
OTHERS = [
    association(20 + index, kind, uuid(4), uuid(3))
    for index, kind in enumerate(kind for kind in ASSOCIATION_TYPES if kind != "isChildOf")
] + [association(40, "isRelatedTo", uuid(4), OTHER)]


def written(
    form: FileFormat, items: list[Body], associations: list[Body]
) -> tuple[bytes, list[str]]:
    """Return a file of a framework, and the notes about what it does not hold."""
    file = io.BytesIO()
    with OpenSaltWriter(file, form) as writer:
        writer.add("CFDocument", DOCUMENT)
        for kind, bodies in (("CFItem", items), ("CFAssociation", associations)):
            for body in bodies:
                writer.add(kind, body)
        writer.finish()
    return file.getvalue(), writer.notes


def triples(bodies: list[Body]) -> set[tuple[str, str, str, Any]]:
    return {
        (
            body["originNodeURI"]["identifier"],
            body["associationType"],
            body["destinationNodeURI"]["identifier"],
            body.get("sequenceNumber"),
        )
        for body in bodies
    }


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_import_reads_the_tree_and_every_association_type(form: FileFormat) -> None:
    raw, _ = written(form, ITEMS, [*TREE, *OTHERS])
    package, repairs = read_framework(raw, form, METADATA)
    assert triples(list_entities(package, "CFAssociation")) == triples([*TREE, *OTHERS])
    items = {body["identifier"]: body for body in list_entities(package, "CFItem")}
    times = {"lastChangeDateTime", "CFDocumentURI"}
    for expected in ITEMS:
        item = items[expected["identifier"]]
        assert item.items() >= {k: v for k, v in expected.items() if k not in times}.items()
    # An external node in a table has no uri.
    assert {repair.kind for repair in repairs} <= ({"external-name"} if form == "csv" else set())


def test_workbook_has_the_positions_that_opensalt_reads() -> None:
    raw, notes = written("xlsx", ITEMS, [*TREE, *OTHERS])
    assert notes == []
    book = load_workbook(io.BytesIO(raw))
    assert book.sheetnames == ["CF Doc", "CF Item", "CF Association"]
    doc, items, associations = (
        [[cell.value for cell in row] for row in book[name].iter_rows(min_row=2)]
        for name in book.sheetnames
    )
    assert doc[0][:3] == [FRAMEWORK, "a club", "Bees"]
    assert doc[0][7] == "Bees|Honey"
    assert [(row[0], row[3]) for row in items] == [
        (uuid(3), "10"),
        (uuid(1), "20"),
        (uuid(2), "20.5"),
        (uuid(4), "20.5.1"),
    ]
    assert (items[2][6], items[2][9], items[1][10]) == ("wax,comb", "03,04", "Domain")
    # Both programs take the hierarchy from smartLevel, and compeito the types as they are.
    assert {row[4] for row in associations} == {*ASSOCIATION_TYPES} - {"isChildOf"}
    assert (associations[0][2], associations[0][6]) == (uuid(4), uuid(3))


def opensalt_parents(rows: list[dict[str, str]], headings: list[str]) -> dict[str, str]:
    """Return the parent codes that OpenSALT's importer finds: the first heading, codes only."""
    heading = next(name for name in headings if name.replace(" ", "").lower() == "ischildof")
    codes = {row["Human Coding Scheme"] for row in rows}
    parents = {}
    for row in rows:
        code = row["Human Coding Scheme"]
        parent = row[heading] or code.rpartition(".")[0]
        parents[code] = parent if parent in codes else ""
    return parents


def test_table_has_the_parents_that_opensalt_and_compeito_find() -> None:
    raw, notes = written("csv", ITEMS, [*TREE, *OTHERS])
    assert notes == ["not in the layout of OpenSALT: CFDocument (1)"]
    reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig")))
    rows, headings = list(reader), [*(reader.fieldnames or ())]
    assert headings[:3] == ["Identifier", "Full Statement", "Human Coding Scheme"]
    assert opensalt_parents(rows, headings) == {"H": "", "H.2": "H", "H.2.1": "H.2", "Q": ""}
    assert {row["Identifier"]: row["Is Child Of"] for row in rows} == {
        uuid(1): "",
        uuid(3): "",
        uuid(2): uuid(1),
        uuid(4): uuid(2),
    }
    reference = next(row["Is Related To"] for row in rows if row["Is Related To"])
    assert reference == f"{uuid(3)},{OTHER}"
    # compeito would take Is Part Of as the identifier of the framework.
    assert "Is Part Of" not in headings


def test_parents_that_opensalt_does_not_find_are_noted() -> None:
    items = [item(1, None), item(2, "B"), item(3, "B.1")]
    tree = [
        association(1, "isChildOf", uuid(1), FRAMEWORK),
        association(2, "isChildOf", uuid(2), uuid(1)),
        association(3, "isChildOf", uuid(3), FRAMEWORK),
    ]
    _, notes = written("csv", items, tree)
    assert notes[0].startswith("OpenSALT does not find the parents of 2 items, because a code")


def test_fields_missing_in_the_opensalt_layout_are_noted() -> None:
    items = [item(1, "A", subject=["x"], conceptKeywords=["a,b"]), item(2, "B")]
    associations = [
        association(1, "isChildOf", uuid(1), FRAMEWORK, notes="n"),
        association(2, "ext:like", uuid(1), uuid(2)),
    ]
    _, notes = written("xlsx", items, associations)
    assert notes == [
        "1 item is not in the tree: OpenSALT puts it below the framework",
        "not in the layout of OpenSALT: CFAssociation.notes (1), CFItem.subject (1), "  # noqa: ISC004
        "CFItem.conceptKeywords with ',' (1)",
    ]


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
def test_noted_fields_are_in_the_order_of_the_entities(file_format: FileFormat) -> None:
    names = [
        "alternativeLabel",
        "officialURL",
        "statusStartDate",
        "statusEndDate",
        "subject",
        "zeta",
    ]
    links = ["extensions", "notes", "CFAssociationGroupingURI"]
    fields = dict.fromkeys(names, "x")
    tree = [association(1, "isChildOf", uuid(1), FRAMEWORK, **dict.fromkeys(links, "x"))]
    _, notes = written(file_format, [item(1, "A", **fields)], tree)
    noted = re.findall(r"(\w+) \(1\)", notes[-1])
    assert [name for name in noted if name in names] == names
    assert [name for name in noted if name in links] == links


def test_code_and_identifier_of_different_parents_are_refused() -> None:
    raw, _ = written("csv", ITEMS, TREE)
    text = raw.decode("utf-8-sig").replace(f",H,{uuid(1)},", f",Q,{uuid(1)},")
    (problem,) = find_problems(text)
    assert "'Q' is not the code of the parent" in problem["message"]


def test_export_command_writes_the_layout(tmp_path: Path) -> None:
    data_dir, target = tmp_path / "data", tmp_path / "sample.xlsx"
    assert run("import", "--sample", data_dir=data_dir).returncode == 0
    flags = (SAMPLE_DOCUMENT_ID, "--layout", "opensalt")
    result = run("export", *flags, "-o", str(target), data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    assert "  not in the layout of OpenSALT: " in result.stderr
    assert load_workbook(target).sheetnames == ["CF Doc", "CF Item", "CF Association"]
    result = run("export", *flags, "--format", "jsonl", data_dir=data_dir)
    assert "--layout is for csv and xlsx, not for jsonl" in result.stderr
