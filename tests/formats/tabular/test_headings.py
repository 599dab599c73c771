"""The row of headings: found below titles, and explained in one message if it does not suffice."""

from typing import Any

import pytest
from support.tables import find_problems, read_items

from case_server.formats.tabular.headings import NumberedRow, find_heading_row

KNOWN = {"Code", "Parent", "Statement", "Standard"}


def read_codes(text: str) -> tuple[list[str], list[str]]:
    """Return the codes of the items of a CSV file, and the repairs as they are reported."""
    items, repairs = read_items(text)
    return [item["humanCodingScheme"] for item in items], [str(repair) for repair in repairs]


def messages_of(text: str) -> list[tuple[str, str]]:
    return [(problem["path"], problem["message"]) for problem in find_problems(text)]


@pytest.mark.parametrize(
    ("rows", "index"),
    [
        ([], 0),
        ([["Code", "Statement"], ["A", "Algebra"]], 0),
        ([["Mathematics 2026"], [None, "draft"], ["Code", "Kind", "Statement"], ["A"]], 2),
        ([["Statement"], ["Standard"]], 0),
        ([["x", "y", "z"], ["Code", "Statement"]], 0),
        ([["x", "y"], ["a", "Standard"]], 0),
    ],
)
def test_heading_row_is_the_first_with_known_headings(rows: list[list[Any]], index: int) -> None:
    numbered = [NumberedRow(number, cells) for number, cells in enumerate(rows, 1)]
    assert find_heading_row(numbered, KNOWN.__contains__) == index


def test_titles_above_the_headings_are_left_out_and_reported() -> None:
    text = "Standards of Springfield,,\n,,\nDraft,2026,\nCode,Statement,Grade\nA,Algebra,6\n"
    codes, repairs = read_codes(text)
    assert codes == ["A"]
    (report,) = repairs
    assert report.startswith(
        "A row above the row of headings was left out. 2 times, first at row 1"
    )
    assert report.endswith(': "Standards of Springfield" → nothing')


def test_missing_heading_gives_one_message() -> None:
    rows = "".join(f"A.{number},Count to {number},6\n" for number in range(300))
    ((path, message),) = messages_of(f"Standard Code,Description,Grade\n{rows}")
    assert path == "row 1"
    assert message == (
        "no heading stands for fullStatement; recognized: 'Grade' (educationLevel); not "
        "recognized: 'Standard Code' (column A), 'Description' (column B); column B "
        "('Description') seems to hold the text; column A ('Standard Code') seems to hold the "
        "codes; rename a heading to Statement, Full Statement, Text or Standard"
    )


def test_sheet_without_headings_is_explained() -> None:
    ((path, message),) = messages_of("1,Number Sense,6\n1.1,Use ratios,6\n")
    assert path == "row 1"
    assert "column B ('Number Sense') seems to hold the text; column A ('1')" in message
    assert message.endswith(
        "name the columns in a row of headings, for example Code, Parent, Statement"
    )


def test_table_of_associations_needs_both_nodes_and_a_type() -> None:
    text = "class,code,statement,origin,type\nCFItem,A,Algebra,,\nCFAssociation,,,A,precedes\n"
    ((path, message),) = messages_of(text)
    assert path == "row 1"
    assert message.startswith("no heading stands for destinationNodeURI; recognized: 'origin'")
    assert message.endswith("rename a heading to Destination")


def test_column_without_heading_is_reported_once() -> None:
    text = ",statement,\nA,Algebra,\nB,Geometry,6\nC,Numbers,\n"
    assert messages_of(text) == [
        (
            "row 2, column A",
            "this column has no heading, but a value in 3 rows; give it one, or empty it",
        ),
        (
            "row 3, column C",
            "this column has no heading, but a value in a row; give it one, or empty it",
        ),
    ]


def test_misspelled_heading_is_reported_with_the_known_one() -> None:
    _, (similar, message) = read_codes("Code,Parnet,Statement\nA,,Algebra\nA.1,A,Linear\n")
    assert "'Parnet': did you mean 'parent'?" in similar
    assert "row 1, column B" in similar
    assert "Parnet" in message


def test_heading_that_resembles_a_column_in_use_is_not_reported() -> None:
    _, (message,) = read_codes("Code,Parent,Parent2,Colour,Statement\nA,,x,red,Algebra\n")
    assert "did you mean" not in message


def test_missing_heading_suggests_the_known_one() -> None:
    ((_, message),) = messages_of("Code,Satement\nA,Algebra\n")
    assert "'Satement' (column B, did you mean 'fullStatement'?)" in message
