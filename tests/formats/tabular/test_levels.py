"""OpenCASE's spreadsheets: the level of a row gives its parent."""

import pytest
from support.factories import Body
from support.packages import list_entities
from support.tables import METADATA, find_problems

from case_server.formats.reader import read_framework

HEADINGS = "Level,Human Coding Scheme,Full Statement,Education Level,Subject\n"
ROWS = (
    '1,P,Fold,Grade 3; Grade 4,"Art; Craft"\n2,P.1,Valley fold,,\n3,P.1.1,Crease,,\n'
    "2,P.2,Mountain fold,,\n1,Q,Cut,,\n"
)


def read(text: str) -> tuple[list[Body], list[tuple[str, str, int]], list[str]]:
    """Return the items, each (code, code of the parent, number), and the kinds of repairs."""
    package, repairs = read_framework(text.encode(), "csv", METADATA)
    items = list_entities(package, "CFItem")
    codes = {item["identifier"]: item.get("humanCodingScheme", "") for item in items}
    tree = [
        (
            codes[association["originNodeURI"]["identifier"]],
            codes.get(association["destinationNodeURI"]["identifier"], "the framework"),
            association["sequenceNumber"],
        )
        for association in list_entities(package, "CFAssociation")
    ]
    return items, tree, [repair.kind for repair in repairs]


@pytest.mark.parametrize("instructions", ["", "# Level: 1 = top; 2 = child; 3 = grandchild\n"])
def test_level_with_education_level_determines_the_parent(instructions: str) -> None:
    items, tree, repairs = read(instructions + HEADINGS + ROWS)
    assert tree == [
        ("P", "the framework", 10),
        ("P.1", "P", 10),
        ("P.1.1", "P.1", 10),
        ("P.2", "P", 20),
        ("Q", "the framework", 20),
    ]
    assert items[0]["educationLevel"] == ["Grade 3", "Grade 4"]
    assert items[0]["subject"] == ["Art", "Craft"]
    assert repairs == (["row-above-headings"] if instructions else [])


def test_level_alone_is_a_grade() -> None:
    items, tree, _ = read("Code,Statement,Level\nP,Fold,3\n")
    assert items[0]["educationLevel"] == ["3"]
    assert tree == [("P", "the framework", 10)]


@pytest.mark.parametrize("level", ["3", "0", "x", "1.5", ""])
def test_level_without_one_above_is_refused(level: str) -> None:
    (problem,) = find_problems(f"Depth,Code,Statement\n1,P,Fold\n{level},P.1,Crease\n")
    assert problem["path"] == "row 3, column A (depth)"
    assert "level" in problem["message"]
    assert "use a number from 1 to 2" in problem["message"]
