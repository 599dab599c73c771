"""Empty tables to fill in, with every column explained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from . import csv, xlsx
from .assembly import HELP
from .cells import Cell
from .columns import ASSOCIATION, DOCUMENT, ITEM, Column, Layout
from .meanings import LINK_PARTS, MEANINGS

FILLED_IN = (DOCUMENT, ITEM, ASSOCIATION)
"""The tables that people fill in; the others come with frameworks that were written out."""


def columns_of(layout: Layout) -> list[Column]:
    """The columns that a template has."""
    return [column for column in layout.columns.values() if column.name not in OURS_ALONE]


OURS_ALONE = {"parentAssociation", "smartLevel", "position", "licenseText", "more"}
"""Columns that nobody fills in, or only in the workbooks of others."""


def meaning_of(layout: Layout, column: Column) -> str:
    """What a column is for, in a sentence."""
    name, *part = column.path
    whole = MEANINGS.get(f"{layout.kind}.{column.name}") or MEANINGS.get(column.name)
    return whole or LINK_PARTS[part[0]].format(MEANINGS[name])


def write_csv(file: BinaryIO) -> None:
    """The headings of items."""
    csv.write_grid(file, [[column.name for column in columns_of(ITEM)]])


def write_workbook(file: BinaryIO) -> None:
    """A sheet for the document, one for items, one for associations, and one that explains them."""
    sheets = [(layout.sheet, [one.name for one in columns_of(layout)], ()) for layout in FILLED_IN]
    help_header = ("sheet", "column", "what to write", "what it is for")
    xlsx.write_grids(file, [*sheets, (HELP, help_header, _help())])


def _help() -> Iterator[list[Cell]]:
    for layout in FILLED_IN:
        for column in columns_of(layout):
            yield [layout.sheet, column.name, column.codec.about, meaning_of(layout, column)]
