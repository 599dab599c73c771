"""OpenSALT's tables of items, with a column for each association type."""

import pytest
from support.packages import list_entities
from support.tables import METADATA, find_problems

from case_server.case.vocabulary import ASSOCIATION_TYPES
from case_server.formats.reader import read_framework
from case_server.repair.repair_log import RepairSummary

Triple = tuple[str, str, str]


def read(text: str) -> tuple[list[Triple], list[dict[str, object]], list[RepairSummary]]:
    """Return the associations of a CSV file by the titles of their nodes, its items and repairs."""
    package, repairs = read_framework(text.encode(), "csv", METADATA)
    triples = [
        (
            body["originNodeURI"]["title"],
            body["associationType"],
            body["destinationNodeURI"]["title"],
        )
        for body in list_entities(package, "CFAssociation")
    ]
    return triples, list_entities(package, "CFItem"), repairs


@pytest.mark.parametrize("heading", ["IsChildOf", "Is Child Of", "isChildOf"])
def test_is_child_of_column_names_the_parent(heading: str) -> None:
    triples, _, repairs = read(f"Code,{heading},Statement\nG,,Gardens\nG.S,G,Soil\n")
    assert triples == [("G", "isChildOf", "Mathematics"), ("G.S", "isChildOf", "G")]
    assert repairs == []


@pytest.mark.parametrize("kind", [kind for kind in ASSOCIATION_TYPES if kind != "isChildOf"])
def test_column_of_each_association_type_is_read(kind: str) -> None:
    text = (
        f"identifier,Code,Statement,{kind.upper()}\n"
        'one,A,Algebra,"two, C"\ntwo,B,Geometry,\nthree,C,Numbers,\n'
    )
    triples, _, repairs = read(text)
    associations = [triple for triple in triples if triple[1] != "isChildOf"]
    assert associations == [("A", kind, "B"), ("A", kind, "C")]
    assert repairs == []


def test_further_parents_are_associations() -> None:
    triples, _, _ = read('Code,IsChildOf,Statement\nA,,x\nB,,y\nC,"A,B",z\n')
    assert [triple for triple in triples if triple[0] == "C"] == [
        ("C", "isChildOf", "A"),
        ("C", "isChildOf", "B"),
    ]


def test_destination_outside_of_the_file_is_reported() -> None:
    triples, _, (repair,) = read('Code,Statement,IsRelatedTo\nA,Algebra,"X.1,X.2"\n')
    assert triples[1:] == [("A", "isRelatedTo", "X.1"), ("A", "isRelatedTo", "X.2")]
    assert (repair.kind, repair.count, repair.before) == ("external-name", 2, "X.1")
    assert repair.path == "row 2, column C (isRelatedTo)"


def test_code_of_several_items_is_refused() -> None:
    (problem,) = find_problems("Code,Statement,IsRelatedTo\nA,Algebra,B\nB,one,\nB,two,\n")
    assert problem["path"] == "row 2, column C (isRelatedTo)"
    assert "2 items have the code B" in problem["message"]


def test_text_below_an_association_type_goes_to_extensions() -> None:
    triples, (item,), (repair,) = read('Code,Statement,Exemplar\nA,Algebra,"Solve x, then y"\n')
    assert len(triples) == 1
    assert item["extensions"] == {"exemplar": "Solve x, then y"}
    assert repair.kind == "unknown-field"


@pytest.mark.parametrize(
    ("heading", "keywords"), [("Is Child Of", ["leaf", "shape"]), ("Parent", ["leaf,shape"])]
)
def test_commas_separate_keywords_in_association_tables(heading: str, keywords: list[str]) -> None:
    text = f'Code,{heading},Statement,Concept Keywords\nA,,Plants,"leaf,shape"\n'
    _, (item,), _ = read(text)
    assert item["conceptKeywords"] == keywords


def test_every_heading_in_extensions_is_named_with_its_count() -> None:
    text = "Code,Statement,Bloom,Owner\nA,Algebra,apply,me\nB,Geometry,,me\n"
    _, _, (repair,) = read(text)
    assert (repair.count, repair.fields) == (3, {"Bloom": 1, "Owner": 2})
    assert repair.summary.endswith(" Fields: Bloom (1), Owner (2).")
