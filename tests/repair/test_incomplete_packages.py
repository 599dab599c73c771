"""Trees of items, packages that lack identifiers or times, and names of older programs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.factories import Body
from support.live_server import run_command_in_process as run
from support.packages import catch_problem_paths, catch_problems, count_repairs, to_json

from case_server.case.package import PreparedPackage
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.reader import NO_OPTIONS, RepairOptions, repair_and_parse
from case_server.repair.repair_log import RepairSummary

CHANGED = datetime(2026, 3, 1, tzinfo=UTC)
FILE_TIME = "2026-03-01T00:00:00.000Z"
DOCUMENT_UUID = "0d0c0000-0000-4000-8000-000000000001"

BOATS_FIELDS = {"title": "Boats", "creator": "x", "lastChangeDateTime": FILE_TIME}
BOATS = {"identifier": "boats", **BOATS_FIELDS}

TREE = {
    "title": "Boats",
    "creator": "a harbour",
    "id": "boats",
    "subject": ["Sailing"],
    "children": [
        {
            "id": "b1",
            "code": "B.1",
            "statement": "Hulls",
            "children": [
                {"code": "B.1.1", "text": "Wood", "children": []},
                {"code": "B.1.2", "description": "Steel", "colour": "grey"},
            ],
        },
        {"statement": "Sails", "items": [{"fullStatement": "Main sail"}]},
    ],
}


def read(
    body: Any, metadata: MetadataOptions | None = None
) -> tuple[dict[str, list[Body]], list[RepairSummary], PreparedPackage]:
    """Return the entities of a package by class, its repairs and the package."""
    options = RepairOptions(metadata=metadata) if metadata else NO_OPTIONS
    package, repairs = repair_and_parse(to_json(body), options=options)
    entities: dict[str, list[Body]] = {}
    for row in package.rows:
        entities.setdefault(row.kind, []).append(json.loads(row.body))
    return entities, repairs, package


def tree_of(entities: dict[str, list[Body]]) -> list[tuple[str, str, int | None]]:
    """Return each isChildOf as (statement of the child, that of the parent, number)."""
    names = {item["identifier"]: item["fullStatement"] for item in entities["CFItem"]}
    return [
        (
            names[association["originNodeURI"]["identifier"]],
            names.get(association["destinationNodeURI"]["identifier"], "the framework"),
            association.get("sequenceNumber"),
        )
        for association in entities.get("CFAssociation", [])
    ]


def test_tree_becomes_items_with_associations() -> None:
    entities, repairs, package = read(TREE, MetadataOptions(changed=CHANGED))
    (document,) = entities["CFDocument"]
    assert (document["identifier"], document["title"]) == ("boats", "Boats")
    assert (document["subject"], document["lastChangeDateTime"]) == (["Sailing"], FILE_TIME)
    assert tree_of(entities) == [
        ("Hulls", "the framework", 10),
        ("Wood", "Hulls", 10),
        ("Steel", "Hulls", 20),
        ("Sails", "the framework", 20),
        ("Main sail", "Sails", 10),
    ]
    hulls, _, steel, *_ = entities["CFItem"]
    assert (hulls["identifier"], hulls["humanCodingScheme"]) == ("b1", "B.1")
    assert steel["extensions"] == {"colour": "grey"}
    counts = count_repairs(repairs)
    assert (counts["nested-items"], counts["missing-document"]) == (3, 1)
    assert (counts["missing-identifier"], counts["missing-time-of-document"]) == (4, 1)
    assert package.derived.items == [item["identifier"] for item in entities["CFItem"][1:]]
    assert len(package.derived.order) == 3
    assert ("CFDocument", "boats") in package.derived.times


def test_tree_has_the_same_identifiers_again() -> None:
    first, _, _ = read(TREE, MetadataOptions(changed=CHANGED))
    again, _, _ = read(TREE, MetadataOptions(changed=CHANGED))
    assert first == again


def test_problem_in_a_tree_has_its_path_in_the_file() -> None:
    tree = json.loads(json.dumps(TREE))
    tree["children"][0]["children"][1]["statusStartDate"] = "soon"
    paths = catch_problem_paths(read, tree, MetadataOptions(changed=CHANGED))
    assert paths == ["children[0].children[1].statusStartDate"]


@pytest.mark.parametrize("name", ["children", "Items", "CFItems"])
def test_items_nested_in_a_package_are_flattened(name: str) -> None:
    package = {
        "CFDocument": BOATS,
        "CFItems": [
            {
                "identifier": "b1",
                "fullStatement": "Hulls",
                name: [{"identifier": "b11", "fullStatement": "Wood", "sequenceNumber": 7}],
            }
        ],
        "CFAssociations": [
            {
                "identifier": "stated",
                "associationType": "isChildOf",
                "originNodeURI": {"identifier": "b1", "title": "x"},
                "destinationNodeURI": {"identifier": "boats", "title": "x"},
                "sequenceNumber": 3,
            }
        ],
    }
    entities, _, _ = read(package)
    assert tree_of(entities) == [("Hulls", "the framework", 3), ("Wood", "Hulls", 7)]


def test_lists_that_are_no_children_stay_in_extensions() -> None:
    body = {
        "CFDocument": BOATS,
        "CFItems": [
            {"identifier": "b1", "fullStatement": "Hulls", "items": [{"question": "?"}]},
            {"identifier": "b2", "fullStatement": "Sails", "children": ["b1"]},
        ],
    }
    entities, repairs, _ = read(body)
    assert "CFAssociation" not in entities
    assert entities["CFItem"][1]["extensions"] == {"children": ["b1"]}
    assert [repair.fields for repair in repairs if repair.kind == "unknown-field"] == [
        {"items": 1, "children": 1}
    ]


INCOMPLETE = {
    "CFDocument": {"title": "Boats"},
    "CFItems": [
        {"fullStatement": "Hulls", "humanCodingScheme": "B.1"},
        {"fullStatement": "Sails", "uri": f"https://boats.example/{DOCUMENT_UUID}"},
    ],
}


def test_options_complete_an_incomplete_package() -> None:
    entities, repairs, package = read(
        INCOMPLETE, MetadataOptions(creator="a harbour", changed=CHANGED)
    )
    (document,) = entities["CFDocument"]
    assert (document["creator"], document["lastChangeDateTime"]) == ("a harbour", FILE_TIME)
    assert package.derived.identifier_source == "the title 'Boats' and the creator 'a harbour'"
    first, second = entities["CFItem"]
    assert second["identifier"] == DOCUMENT_UUID
    assert first["identifier"] == package.derived.items[0]
    assert count_repairs(repairs)["missing-identifier"] == 2


def test_options_take_precedence_over_the_file_and_references_follow() -> None:
    tree, _, _ = read(TREE, MetadataOptions(changed=CHANGED))
    body = {
        "CFDocument": tree["CFDocument"][0],
        "CFItems": tree["CFItem"],
        "CFAssociations": tree["CFAssociation"],
    }
    metadata = MetadataOptions(title="Ships", identifier="ships", changed=CHANGED)
    entities, _, package = read(body, metadata)
    assert package.document_identifier == "ships"
    assert entities["CFDocument"][0]["title"] == "Ships"
    assert tree_of(entities) == tree_of(tree)
    ends = {
        association["destinationNodeURI"]["identifier"] for association in entities["CFAssociation"]
    }
    assert "ships" in ends
    assert "boats" not in ends


def test_incomplete_package_is_refused_without_metadata() -> None:
    assert {"path": "CFDocument.creator", "message": "required"} in catch_problems(read, INCOMPLETE)


def test_import_of_incomplete_package_names_the_options_and_is_repeatable(tmp_path: Path) -> None:
    file = tmp_path / "incomplete.json"
    file.write_text(json.dumps(INCOMPLETE))
    refused = run("import", str(file), data_dir=tmp_path / "data")
    assert "--title and --creator give what the CFDocument lacks" in refused.stderr
    first = run("import", str(file), "--creator", "x", data_dir=tmp_path / "data")
    assert ": created " in first.stdout, first.stderr
    file.touch()
    again = run("import", str(file), "--creator", "x", data_dir=tmp_path / "data")
    assert ": unchanged " in again.stdout, again.stdout


@pytest.mark.parametrize("end", ["originNodeURI", "destinationNodeURI"])
def test_association_of_a_list_beside_a_tree_is_a_problem(end: str) -> None:
    association = {"associationType": "isChildOf", end: [{"identifier": "b1"}]}
    body = to_json({**TREE, "CFAssociations": [association]})
    paths = catch_problem_paths(lambda: repair_and_parse(body))
    assert f"CFAssociations[0].{end}" in paths


def test_names_of_older_programs_are_read() -> None:
    precedes = {"associationType": "precedes", "originNode": "b1", "destinationNode": "b2"}
    body = {
        "CFDocument": {
            **BOATS_FIELDS,
            "sourcedId": "boats",
            "licenceUri": "https://licence.example/by",
        },
        "CFItemSet": {
            "CFItems": [
                {"sourcedId": "b1", "fullStatement": "Hulls", "listEnumInSource": "1"},
                {"sourcedId": "b2", "fullStatement": "Sails"},
            ]
        },
        "CFAssociationSet": {"CFAssociations": [{"sourcedId": "a1", **precedes}]},
    }
    entities, repairs, _ = read(body)
    assert entities["CFDocument"][0]["licenseURI"]["uri"] == "https://licence.example/by"
    assert entities["CFItem"][0]["listEnumeration"] == "1"
    (association,) = entities["CFAssociation"]
    assert association["originNodeURI"]["identifier"] == "b1"
    assert association["destinationNodeURI"]["identifier"] == "b2"
    assert count_repairs(repairs)["wrapper"] == 2
