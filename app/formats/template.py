"""Empty tables to fill in, with every column explained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from . import csv, xlsx
from .assembly import HELP_SHEET
from .cells import Cell
from .columns import ASSOCIATION, DOCUMENT, ITEM, Column, Layout
from .meanings import LINK_PARTS, MEANINGS

TEMPLATE_LAYOUTS = (DOCUMENT, ITEM, ASSOCIATION)
"""The tables that people fill in; the others come with frameworks that were written out."""


def template_columns(layout: Layout) -> list[Column]:
    """The columns that a template has."""
    return [column for column in layout.columns.values() if column.name not in EXPERT_COLUMNS]


EXPERT_COLUMNS = {"parentAssociation", "smartLevel", "position", "licenseText", "more"}
"""Columns that nobody fills in, or only in the workbooks of others."""


def describe_column(layout: Layout, column: Column) -> str:
    """What a column is for, in a sentence."""
    name, *part = column.path
    whole = MEANINGS.get(f"{layout.kind}.{column.name}") or MEANINGS.get(column.name)
    return whole or LINK_PARTS[part[0]].format(MEANINGS[name])


def write_csv(file: BinaryIO) -> None:
    """The headings of items."""
    csv.write_csv(file, [[column.name for column in template_columns(ITEM)]])


def write_workbook(file: BinaryIO) -> None:
    """A sheet for the document, one for items, one for associations, and one that explains them."""
    sheets = [
        (layout.sheet, [one.name for one in template_columns(layout)], ())
        for layout in TEMPLATE_LAYOUTS
    ]
    help_header = ("sheet", "column", "what to write", "what it is for")
    xlsx.write_workbook(file, [*sheets, (HELP_SHEET, help_header, _help())])


def _help() -> Iterator[list[Cell]]:
    for layout in TEMPLATE_LAYOUTS:
        for column in template_columns(layout):
            yield [layout.sheet, column.name, column.codec.about, describe_column(layout, column)]
