"""Tables of compeito: rows such as ``#title,Mathematics``, and the framework in ``Is Part Of``."""

import json
from typing import Any

import pytest
from support.tables import find_problems

from case_server.exceptions import BadRequest
from case_server.formats.reader import read_framework
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.repair_log import RepairSummary

FRAMEWORK = "c0000000-0000-4000-8000-000000000001"
HEADINGS = "Identifier,Full Statement,Is Child Of,Is Part Of\n"
ITEMS = f"one,Boats,,{FRAMEWORK}\ntwo,Sails,one,{FRAMEWORK}\n"


def read(
    text: str, metadata: MetadataOptions | None = None
) -> tuple[list[Any], list[RepairSummary]]:
    """Return (class, entity) of a CSV file, and its repairs."""
    package, repairs = read_framework(text.encode(), "csv", metadata or MetadataOptions())
    return [(row.kind, json.loads(row.body)) for row in package.rows], repairs


def test_metadata_rows_describe_the_document() -> None:
    text = (
        f"#identifier,{FRAMEWORK}\n#title,Sailing\n# creator ,Harbour school\n"
        '#description,"Boats, big and small"\n#language,en\n#adoption_status,Draft\n'
        "#official_source_url,https://harbour.example/sailing\n#status_start_date,2026-08-01\n"
        "#subject,Sailing,Sport\n#license,CC BY 4.0\n\nCode,Statement\nA,Boats\n"
    )
    entities, repairs = read(text)
    document = dict(entities)["CFDocument"]
    assert (document["identifier"], document["title"]) == (FRAMEWORK, "Sailing")
    assert document["creator"] == "Harbour school"
    assert document["description"] == "Boats, big and small"
    assert document["adoptionStatus"] == "Draft"
    assert document["officialSourceURL"] == "https://harbour.example/sailing"
    assert document["statusStartDate"] == "2026-08-01"
    assert document["subject"] == ["Sailing", "Sport"]
    assert document["licenseURI"]["title"] == "CC BY 4.0"
    assert [kind for kind, _ in entities].count("CFItem") == 1
    assert {repair.kind for repair in repairs} <= {"string-for-link"}


def test_unknown_metadata_rows_are_left_out_and_reported() -> None:
    _, (repair,) = read("# Delete this row\n#title,Sailing\n#creator,x\nCode,Statement\nA,Boats\n")
    assert (repair.kind, repair.path) == ("row-above-headings", "row 1")
    assert repair.before == "# Delete this row"


def test_repeated_metadata_row_is_refused() -> None:
    text = "#title,Sailing\n#creator,x\n#Title,Rowing\nCode,Statement\nA,Boats\n"
    (problem,) = find_problems(text, metadata=MetadataOptions())
    assert problem == {"path": "row 3", "message": "#Title is also in row 1; remove one"}


def test_invalid_value_is_located_in_its_row() -> None:
    text = "#title,x\n#creator,x\n#status_start_date,3/4/2026\nCode,Statement\nA,Boats\n"
    (problem,) = find_problems(text, metadata=MetadataOptions())
    assert problem["path"] == "row 3 (statusStartDate)"


def test_metadata_rows_alone_are_no_framework() -> None:
    with pytest.raises(BadRequest, match="no rows"):
        read("#title,Sailing\n#creator,x\n")


def test_column_named_number_sign_is_a_heading() -> None:
    entities, _ = read("#,Code,Statement\n1,A,Boats\n", MetadataOptions(title="x", creator="y"))
    assert dict(entities)["CFItem"]["extensions"] == {"#": "1"}


@pytest.mark.parametrize("rows", ["", f"#identifier,{FRAMEWORK}\n"])
def test_framework_of_all_items_is_the_document(rows: str) -> None:
    metadata = MetadataOptions(title="Sailing", creator="x")
    entities, (repair,) = read(rows + HEADINGS + ITEMS, metadata)
    assert dict(entities)["CFDocument"]["identifier"] == FRAMEWORK
    types = [body["associationType"] for kind, body in entities if kind == "CFAssociation"]
    assert types == ["isChildOf", "isChildOf"]
    assert (repair.kind, repair.count) == ("document-of-items", 2)


def test_other_framework_in_is_part_of_stays_an_association() -> None:
    text = "#identifier,other\n" + HEADINGS + ITEMS
    entities, _ = read(text, MetadataOptions(title="Sailing", creator="x"))
    types = [body["associationType"] for kind, body in entities if kind == "CFAssociation"]
    assert types.count("isPartOf") == 2
