"""docs/guides/spreadsheets.md names every format, and headings are found by all aliases."""

import io
from pathlib import Path

import pytest
from openpyxl import load_workbook

from case_server.formats import template
from case_server.formats.file_format import FILE_FORMATS
from case_server.formats.tabular.columns import ASSOCIATION, DOCUMENT, ITEM, LAYOUTS, SheetLayout

DOCS = (Path(__file__).parents[2] / "docs" / "guides" / "spreadsheets.md").read_text()


def test_docs_name_every_format_and_sheet() -> None:
    assert all(f"| `{form}` |" in DOCS for form in FILE_FORMATS)
    assert all(layout.kind in DOCS.replace("`", "") for layout in (DOCUMENT, ITEM, ASSOCIATION))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.sheet)
def test_headings_are_found_by_all_aliases(layout: SheetLayout) -> None:
    for name, column in layout.columns.items():
        spelt = name.replace("URI", " uri").upper()
        assert layout.find_column(name) is layout.find_column(spelt) is column
    for other, name in layout.aliases.items():
        match = layout.find_column(other)
        assert match
        assert name in {match.name, match.path[0]}


def test_template_explains_its_columns() -> None:
    file = io.BytesIO()
    template.write_workbook_template(file)
    book = load_workbook(file)
    assert book.sheetnames == ["CFDocument", "CFItems", "CFAssociations", "About"]
    explained = [cells[:2] for cells in book["About"].iter_rows(min_row=2, values_only=True)]
    headings = [
        (sheet, heading)
        for sheet in book.sheetnames[:-1]
        for heading in next(book[sheet].iter_rows(values_only=True))
    ]
    assert explained == headings
    assert all(cells[2] and cells[3] for cells in book["About"].iter_rows(values_only=True))
