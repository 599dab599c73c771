"""Write a framework as tables: one CSV file, or a workbook with a sheet for each class."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO, Self

from . import csv, xlsx
from .cells import STRING, Cell, to_json
from .columns import (
    ASSOCIATION,
    CRITERION,
    DOCUMENT,
    IS_CHILD_OF,
    ITEM,
    LAYOUTS,
    LAYOUTS_BY_CLASS,
    LEVEL,
    PACKAGE,
    RUBRIC,
    Layout,
)
from .file_format import FileFormat
from .hierarchy import NO_PARENT
from .rows import CLASS_COLUMN, JsonObject, RowCells, to_cells

CHILD_LAYOUTS = {
    RUBRIC: ("CFRubricCriteria", CRITERION),
    CRITERION: ("CFRubricCriterionLevels", LEVEL),
}
"""Fields whose entities become rows of another table, which name their parent."""

REQUIRED_SHEETS = (DOCUMENT, ITEM, ASSOCIATION)
"""Sheets that a workbook has even if they are empty."""


class TableWriter:
    """Spools the rows of a framework to disk until all used columns are known."""

    def __init__(self, file: BinaryIO, form: FileFormat) -> None:
        self._file, self._form = file, form
        self._open = ExitStack()
        self._spools: dict[Layout, BinaryIO] = {}
        self._used: dict[Layout, set[str]] = {layout: set() for layout in LAYOUTS}
        self._children: dict[str, JsonObject] = {}
        self._associations = 0
        self._package: JsonObject = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, kind: str, entity: JsonObject) -> None:
        """Add an entity as it is inside a package."""
        if kind == ASSOCIATION.kind:
            self._add_association(entity)
        elif kind in {"CFPackage", "CFDefinition"}:
            name = "extensions" if kind == "CFPackage" else "definitionExtensions"
            self._package[name] = to_json(entity["extensions"])
        else:
            self._add(LAYOUTS_BY_CLASS[kind], entity)

    def _add(self, layout: Layout, entity: JsonObject, parent: str | None = None) -> None:
        name, below = CHILD_LAYOUTS.get(layout, ("", None))
        children = entity.get(name)
        # A cell cannot hold an identifier of spaces only, so the children stay in the row.
        if below and children and STRING.fits(entity["identifier"]):
            entity = {other: value for other, value in entity.items() if other != name}
            for child in children:
                self._add(below, child, entity["identifier"])
        self._spool(layout, to_cells(layout, entity, {"parent": parent} if parent else None))

    def _add_association(self, association: JsonObject) -> None:
        """Add an association to the row of its item if it is its first isChildOf; else as a row."""
        self._associations += 1
        origin = association["originNodeURI"]["identifier"]
        parent = association["destinationNodeURI"]["identifier"]
        position = {"position": self._associations}
        first = association["associationType"] == IS_CHILD_OF and origin not in self._children
        if first and STRING.fits(parent):
            self._children[origin] = {**association, **position}
        else:
            self._spool(ASSOCIATION, to_cells(ASSOCIATION, association, {**position}))

    def _spool(self, layout: Layout, line: RowCells) -> None:
        if layout not in self._spools:
            spool = tempfile.TemporaryFile()  # noqa: SIM115  closed by the stack
            self._spools[layout] = self._open.enter_context(spool)
        self._used[layout] |= line.keys()
        pickle.dump(line, self._spools[layout])

    def _lines(self, layout: Layout) -> Iterator[RowCells]:
        spool = self._spools.get(layout)
        if spool is None:
            return
        spool.seek(0)
        while True:
            try:
                line: RowCells = pickle.load(spool)  # noqa: S301  an unnamed file of this process
            except EOFError:
                return
            yield self._with_parent(line) if layout is ITEM else line

    def _with_parent(self, line: RowCells) -> RowCells:
        """Return the cells of an item with its place in the hierarchy."""
        child = self._children.get(str(line.get("identifier")))
        if child is None:
            return {**line, "parentAssociation": NO_PARENT}
        fields = {name: child[name] for name in child if name not in ROW_FIELDS}
        placed = {
            "parent": child["destinationNodeURI"]["identifier"],
            "parentAssociation": to_json(fields),
        }
        if "sequenceNumber" in child:
            placed["sequenceNumber"] = child["sequenceNumber"]
        return {**line, **placed}

    def _complete(self) -> None:
        """Give associations whose origin is no item here rows of their own."""
        items = {str(line.get("identifier")) for line in self._lines(ITEM)}
        for origin in self._children.keys() - items:
            child = self._children.pop(origin)
            position = {"position": child.pop("position")}
            self._spool(ASSOCIATION, to_cells(ASSOCIATION, child, position))
        self._used[ITEM] |= {"parent", "sequenceNumber", "parentAssociation"}
        if self._package:
            self._spool(PACKAGE, dict(self._package))

    def _header(self, layout: Layout) -> list[str]:
        used = {*self._used[layout], *layout.first}
        return [name for name in layout.columns if name in used]

    def finish(self) -> None:
        """Write the file. Raises ``UnprocessableContent`` if a string is too long for a cell."""
        self._complete()
        if self._form == "csv":
            self._write_csv()
        else:
            self._write_workbook()

    def _write_workbook(self) -> None:
        """Write a sheet for each class."""
        sheets = (
            layout for layout in LAYOUTS if layout in REQUIRED_SHEETS or layout in self._spools
        )
        xlsx.write_workbook(
            self._file,
            ((one.sheet, self._header(one), self._cells(one)) for one in sheets),
        )

    def _write_csv(self) -> None:
        """Write one table whose column ``class`` contains the class of each row."""
        present = [layout for layout in LAYOUTS if layout in self._spools]
        names = dict.fromkeys(name for layout in (ITEM, *present) for name in self._header(layout))
        csv.write_csv(self._file, self._all([*names], present))

    def _all(self, names: list[str], layouts: Sequence[Layout]) -> Iterator[list[Cell]]:
        yield [CLASS_COLUMN, *names]
        for layout in layouts:
            for line in self._lines(layout):
                yield [layout.kind, *(line.get(name) for name in names)]

    def _cells(self, layout: Layout) -> Iterator[list[Cell]]:
        header = self._header(layout)
        for line in self._lines(layout):
            yield [line.get(name) for name in header]


ROW_FIELDS = {"associationType", "sequenceNumber"}
"""Fields of the association to the parent that the row of the item holds itself."""
