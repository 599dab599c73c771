"""Write a framework as tables: one CSV file, or a workbook with a sheet for each class."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import BinaryIO

from ..case.vocabulary import IS_CHILD_OF
from . import csv, xlsx
from .file_format import FileFormat, FrameworkWriter
from .tabular.cells import STRING, Cell, to_json_cell
from .tabular.columns import (
    ASSOCIATION,
    CRITERION,
    DOCUMENT,
    ITEM,
    LAYOUTS,
    LAYOUTS_BY_CLASS,
    LEVEL,
    PACKAGE,
    RUBRIC,
    SheetLayout,
)
from .tabular.hierarchy import NO_PARENT
from .tabular.rows import CLASS_COLUMN, JsonObject, RowCells, make_cells

CHILD_LAYOUTS = {
    RUBRIC: ("CFRubricCriteria", CRITERION),
    CRITERION: ("CFRubricCriterionLevels", LEVEL),
}
"""Fields whose entities become rows of another table, which name their parent."""

REQUIRED_SHEETS = (DOCUMENT, ITEM, ASSOCIATION)
"""Sheets that a workbook has even if they are empty."""


class TableWriter(FrameworkWriter):
    """Writes a framework's entities as one CSV table, or as a workbook with a sheet per class.

    It stores the rows in temporary files first, because the headings must name all columns in use.
    """

    def __init__(self, file: BinaryIO, file_format: FileFormat) -> None:
        self._file, self._file_format = file, file_format
        self._open = ExitStack()
        self._spools: dict[SheetLayout, BinaryIO] = {}
        self._used: dict[SheetLayout, set[str]] = {layout: set() for layout in LAYOUTS}
        self._children: dict[str, JsonObject] = {}
        self._associations = 0
        self._package: JsonObject = {}

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, kind: str, entity: JsonObject) -> None:
        """Add an entity to the file; ``kind`` is the name of its CASE class, such as CFItem."""
        if kind == ASSOCIATION.kind:
            self._add_association(entity)
        elif kind in {"CFPackage", "CFDefinition"}:
            name = "extensions" if kind == "CFPackage" else "definitionExtensions"
            self._package[name] = to_json_cell(entity["extensions"])
        else:
            self._add_row(LAYOUTS_BY_CLASS[kind], entity)

    def _add_row(self, layout: SheetLayout, entity: JsonObject, parent: str | None = None) -> None:
        name, child_layout = CHILD_LAYOUTS.get(layout, ("", None))
        children = entity.get(name)
        # A cell cannot hold an identifier of spaces only, so the children stay in the row.
        if child_layout and children and STRING.can_round_trip(entity["identifier"]):
            entity = {other: value for other, value in entity.items() if other != name}
            for child in children:
                self._add_row(child_layout, child, entity["identifier"])
        self._spool(layout, make_cells(layout, entity, {"parent": parent} if parent else None))

    def _add_association(self, association: JsonObject) -> None:
        """Spool an association as a row of its own, unless the row of its origin can express it.

        The item's row expresses the item's first isChildOf association as its parent. That
        association is stored in ``_children`` until the row is written.
        """
        self._associations += 1
        origin = association["originNodeURI"]["identifier"]
        parent = association["destinationNodeURI"]["identifier"]
        position = {"position": self._associations}
        is_first_parent = (
            association["associationType"] == IS_CHILD_OF and origin not in self._children
        )
        if is_first_parent and STRING.can_round_trip(parent):
            self._children[origin] = {**association, **position}
        else:
            self._spool(ASSOCIATION, make_cells(ASSOCIATION, association, {**position}))

    def _spool(self, layout: SheetLayout, cells: RowCells) -> None:
        if layout not in self._spools:
            spool = tempfile.TemporaryFile()  # noqa: SIM115  closed by the stack
            self._spools[layout] = self._open.enter_context(spool)
        self._used[layout] |= cells.keys()
        pickle.dump(cells, self._spools[layout])

    def _iter_spooled_rows(self, layout: SheetLayout) -> Iterator[RowCells]:
        spool = self._spools.get(layout)
        if spool is None:
            return
        spool.seek(0)
        while True:
            try:
                cells: RowCells = pickle.load(spool)  # noqa: S301  an unnamed file of this process
            except EOFError:
                return
            yield self._add_parent_cells(cells) if layout is ITEM else cells

    def _add_parent_cells(self, cells: RowCells) -> RowCells:
        """Return a copy of the cells of an item's row, extended by its parent and sequence number.

        Keys are column names. If the item has no parent, the cell ``parentAssociation`` is
        ``none``.
        """
        child = self._children.get(str(cells.get("identifier")))
        if child is None:
            return {**cells, "parentAssociation": NO_PARENT}
        fields = {name: child[name] for name in child if name not in ROW_FIELDS}
        parent_cells = {
            "parent": child["destinationNodeURI"]["identifier"],
            "parentAssociation": to_json_cell(fields),
        }
        if "sequenceNumber" in child:
            parent_cells["sequenceNumber"] = child["sequenceNumber"]
        return {**cells, **parent_cells}

    def _spool_remaining_rows(self) -> None:
        """Store the rows that are known only when all entities have been added.

        These rows are isChildOf associations whose origin is not an item of the framework, and the
        row with the ``extensions`` of the package.
        """
        items = {str(cells.get("identifier")) for cells in self._iter_spooled_rows(ITEM)}
        for origin in self._children.keys() - items:
            child = self._children.pop(origin)
            position = {"position": child.pop("position")}
            self._spool(ASSOCIATION, make_cells(ASSOCIATION, child, position))
        self._used[ITEM] |= {"parent", "sequenceNumber", "parentAssociation"}
        if self._package:
            self._spool(PACKAGE, dict(self._package))

    def _get_header(self, layout: SheetLayout) -> list[str]:
        used_columns = {*self._used[layout], *layout.first}
        return [name for name in layout.columns if name in used_columns]

    def finish(self) -> None:
        """Write all added rows to the file.

        Raises ``UnprocessableContent`` if a string is too long for a cell.
        """
        self._spool_remaining_rows()
        if self._file_format == "csv":
            self._write_csv()
        else:
            self._write_workbook()

    def _write_workbook(self) -> None:
        sheets = (
            layout for layout in LAYOUTS if layout in REQUIRED_SHEETS or layout in self._spools
        )
        xlsx.write_workbook(
            self._file,
            (
                (layout.sheet, self._get_header(layout), self._iter_rows(layout))
                for layout in sheets
            ),
        )

    def _write_csv(self) -> None:
        """Write one table with the rows of all classes; its first column names the class."""
        layouts = [layout for layout in LAYOUTS if layout in self._spools]
        names = dict.fromkeys(
            name for layout in (ITEM, *layouts) for name in self._get_header(layout)
        )
        rows = (
            [layout.kind, *map(cells.get, names)]
            for layout in layouts
            for cells in self._iter_spooled_rows(layout)
        )
        csv.write_csv(self._file, chain([[CLASS_COLUMN, *names]], rows))

    def _iter_rows(self, layout: SheetLayout) -> Iterator[list[Cell]]:
        header = self._get_header(layout)
        for cells in self._iter_spooled_rows(layout):
            yield [*map(cells.get, header)]


ROW_FIELDS = {"associationType", "sequenceNumber"}
"""Fields of the association to the parent that the row of the item holds itself."""
