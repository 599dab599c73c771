"""The column `more`: JSON values that no other column can hold."""

import csv
import io
import json
from typing import Any

import pytest
from support.tables import find_problems

ROWS: dict[str, dict[str, str]] = {
    "CFDocument": {"licenseText": "You may copy it."},
    "CFItem": {"fullStatement": "Fold"},
    "CFRubric": {"identifier": "r1"},
    "CFRubricCriterion": {"identifier": "c1", "parent": "r1"},
    "CFRubricCriterionLevel": {"identifier": "l1", "parent": "c1"},
}


def write_table(class_name: str, overflow: dict[str, Any]) -> str:
    """Return a CSV file of all classes in ``ROWS``, one with ``overflow`` in the column `more`."""
    file = io.StringIO()
    headings = ("class", "identifier", "fullStatement", "parent", "licenseText", "more")
    writer = csv.DictWriter(file, headings)
    writer.writeheader()
    for name, cells in ROWS.items():
        more = {"more": json.dumps(overflow)} if name == class_name else {}
        writer.writerow({"class": name, **cells, **more})
    return file.getvalue()


@pytest.mark.parametrize(
    ("class_name", "overflow", "path"),
    [
        ("CFDocument", {"licenseURI": {}}, "row 2 (licenseURI)"),
        ("CFDocument", {"licenseURI": {"identifier": 5}}, "row 2 (licenseURI)"),
        ("CFItem", {"identifier": {}}, "row 3, column B (identifier)"),
        ("CFItem", {"humanCodingScheme": ["x"]}, "row 3 (humanCodingScheme)"),
        ("CFItem", {"humanCodingScheme": {"x": 1}}, "row 3 (humanCodingScheme)"),
        ("CFRubric", {"CFRubricCriteria": 5}, "row 4 (CFRubricCriteria)"),
        ("CFRubric", {"CFRubricCriteria": {}}, "row 4 (CFRubricCriteria)"),
        ("CFRubricCriterion", {"CFRubricCriterionLevels": "x"}, "row 5 (CFRubricCriterionLevels)"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_value_of_another_type_is_a_problem_of_its_row(
    class_name: str, overflow: dict[str, Any], path: str, *, strict: bool
) -> None:
    problems = find_problems(write_table(class_name, overflow), strict=strict)
    assert path in [problem["path"] for problem in problems]
