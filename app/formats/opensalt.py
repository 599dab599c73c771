"""Write frameworks in OpenSALT's layout, which OpenSALT and compeito read.

OpenSALT reads the three sheets of its workbooks by position, and the hierarchy from smartLevel; so
does compeito. OpenSALT's tables have a row for each item and a column for each association type.
OpenSALT finds a parent by its code below IsChildOf, compeito by its identifier below Is Child Of;
OpenSALT takes the first of two headings that differ in spaces only, and compeito tells them apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from ..case.vocabulary import IS_CHILD_OF
from ..formatting import format_count
from . import csv, xlsx
from .file_format import FileFormat, FrameworkWriter
from .tabular.cells import Cell, get_nested
from .tabular.columns import ASSOCIATION, ASSOCIATION_COLUMNS, DOCUMENT, ITEM, SheetLayout
from .tabular.rows import JsonObject


def _map_headings(layout: SheetLayout, *headings: str) -> dict[str, str]:
    """Return a dict from each heading to the name of the column of ``layout`` that it means."""
    columns = ((heading, layout.find_column(heading)) for heading in headings)
    return {heading: column.name for heading, column in columns if column}


DOCUMENT_COLUMNS = _map_headings(
    DOCUMENT,
    *("identifier", "creator", "title", "lastChangeDate", "officialSourceURL", "publisher"),
    *("description", "subject", "language", "version", "adoptionStatus", "statusStartDate"),
    *("statusEndDate", "licenseTitle", "licenseText", "notes"),
)
ITEM_COLUMNS = _map_headings(
    ITEM,
    *("identifier", "fullStatement", "humanCodingScheme", "smartLevel", "listEnumeration"),
    *("abbreviatedStatement", "conceptKeywords", "notes", "language", "educationLevel"),
    *("CFItemType", "license"),
) | {"license": "licenseURI.title"}
ASSOCIATION_SHEET_COLUMNS = _map_headings(
    ASSOCIATION,
    *("identifier", "originNodeURI", "originNodeIdentifier", "originNodeHumanCodingScheme"),
    *("associationType", "destinationNodeURI", "destinationNodeIdentifier"),
    *("destinationNodeHumanCodingScheme", "associationGroupIdentifier", "associationGroupName"),
)
"""Headings of OpenSALT's workbooks in its order, with the columns of this server."""

TABLE_COLUMNS = _map_headings(
    ITEM,
    # OpenSALT refuses a table with more than 60 characters in the fourth column.
    *("Identifier", "Full Statement", "Human Coding Scheme", "Sequence Number"),
    *("Abbreviated Statement", "Concept Keywords", "Notes", "Language", "Education Level"),
    *("CF Item Type", "License", "IsChildOf", "Is Child Of"),
    # compeito takes Is Part Of as the identifier of the framework.
    *("IsPartOf", "Replaced By", "Exemplar", "Precedes", "Is Peer Of", "Has Skill Level"),
    *("Is Related To", "Exact Match Of", "Is Translation Of"),
    # OpenSALT splits rows at line feeds, so that its last column ends in a carriage return.
    "List Enumeration",
) | {"License": "licenseURI.title", "IsChildOf": "parentCode"}
"""Headings of the CSV table, with the columns of this server."""

COMMA_LISTS = {"conceptKeywords", "educationLevel"}
DERIVED_FIELDS = {"uri", "lastChangeDateTime", "CFDocumentURI", "CFPackageURI"}
"""Fields that OpenSALT makes itself."""

SEPARATORS = ",|"


class OpenSaltWriter(FrameworkWriter):
    """Collects the entities of a framework and writes them in OpenSALT's layout, as CSV or XLSX."""

    def __init__(self, file: BinaryIO, file_format: FileFormat) -> None:
        self._file, self._file_format = file, file_format
        self._document: JsonObject = {}
        self._items: dict[str, JsonObject] = {}
        self._associations: list[JsonObject] = []
        self._license_texts: dict[str, str] = {}
        self._left_out: Counter[str] = Counter()
        self.notes: list[str] = []

    def add(self, kind: str, entity: JsonObject) -> None:
        """Add an entity to the file; ``kind`` is the name of its CASE class, such as CFItem."""
        if kind == DOCUMENT.kind:
            self._document = entity
        elif kind == ITEM.kind:
            self._items[entity["identifier"]] = entity
        elif kind == ASSOCIATION.kind:
            self._associations.append(entity)
        else:
            if kind == "CFLicense":
                self._license_texts[entity["identifier"]] = entity["licenseText"]
            self._left_out[kind] += 1

    def finish(self) -> None:
        """Write all added entities to the file.

        Adds messages about values that OpenSALT's layout cannot hold to the list ``notes``. Raises
        ``UnprocessableContent`` if a string is too long for a cell.
        """
        self._sort_and_number_items()
        if self._file_format == "csv":
            self._write_table()
        else:
            self._write_workbook()
        if left_out := ", ".join(f"{name} ({count:,})" for name, count in self._left_out.items()):
            self.notes.append(f"not in the layout of OpenSALT: {left_out}")

    def _sort_and_number_items(self) -> None:
        """Determine the position of each item in the tree, and its smartLevel, such as 1.2.3.

        Sets ``_order`` to the identifiers of all items, ``_levels`` to the smartLevel by
        identifier, and ``_parents`` to the isChildOf association by identifier. Items outside the
        tree come last without a smartLevel, and ``notes`` gives their number.
        """
        self._parents: dict[str, JsonObject] = {}
        """The first isChildOf of each item that leads to a node of this framework."""
        nodes = {*self._items, self._document["identifier"]}
        children: dict[str, list[JsonObject]] = defaultdict(list)
        for association in self._associations:
            origin, parent = _get_node_identifiers(association)
            if (
                association["associationType"] == IS_CHILD_OF
                and origin in self._items
                and parent in nodes
                and origin not in self._parents
            ):
                self._parents[origin] = association
                children[parent].append(association)
        self._levels: dict[str, str] = {}
        stack = [(self._document["identifier"], "")]
        while stack:
            parent, level = stack.pop()
            if level:
                self._levels[parent] = level
            children_and_levels = [
                (_get_node_identifiers(association)[0], f"{level}.{number}".removeprefix("."))
                for association, number in _number_siblings(children[parent])
            ]
            stack += reversed(children_and_levels)
        outsiders = [name for name in self._items if name not in self._levels]
        for name in outsiders:
            self._parents.pop(name, None)
        self._order = [*self._levels, *outsiders]
        if outsiders:
            verb, pronoun = ("is", "it") if len(outsiders) == 1 else ("are", "them")
            items = f"{format_count(len(outsiders), 'item')} {verb}"
            self.notes.append(
                f"{items} not in the tree: OpenSALT puts {pronoun} below the framework"
            )

    def _make_cells(
        self, kind: str, entity: JsonObject, columns: Iterable[str], extra_cells: JsonObject
    ) -> list[Cell]:
        """Return the cells of an entity's row, one for each column name in ``columns``.

        ``kind`` is the entity's class. ``extra_cells`` maps column names to cells that replace the
        entity's values. Fields of the entity that have no column are counted in ``_left_out``, for
        a note to the user.
        """
        names = [*columns]
        used_fields = (
            {name.partition(".")[0] for name in names} | DERIVED_FIELDS | extra_cells.keys()
        )
        for name in entity:
            if name not in used_fields:
                self._left_out[f"{kind}.{name}"] += 1
        return [
            extra_cells[name] if name in extra_cells else self._make_cell(kind, name, entity)
            for name in names
        ]

    def _make_cell(self, kind: str, name: str, entity: JsonObject) -> Cell:
        value = get_nested(entity, tuple(name.split(".")))
        if isinstance(value, list):
            separator = "," if name in COMMA_LISTS else "|"
            if any(separator in member or member != member.strip() for member in value):
                self._left_out[f"{kind}.{name} with {separator!r}"] += 1
            return separator.join(value)
        return value if isinstance(value, str | int | float) else None

    def _iter_rows(
        self, extra_cells: dict[str, JsonObject], columns: Iterable[str]
    ) -> Iterator[list[Cell]]:
        for name in self._order:
            yield self._make_cells(ITEM.kind, self._items[name], columns, extra_cells.get(name, {}))

    def _write_workbook(self) -> None:
        license_link = self._document.get("licenseURI", {})
        text = self._license_texts.get(license_link.get("identifier"))
        if text is not None:
            self._left_out["CFLicense"] -= 1
            self._left_out += Counter()  # drops a count of zero
        document = self._make_cells(
            DOCUMENT.kind, self._document, DOCUMENT_COLUMNS.values(), {"licenseText": text}
        )
        levels: dict[str, JsonObject] = {
            name: {"smartLevel": level} for name, level in self._levels.items()
        }
        association_rows = [
            self._make_cells(ASSOCIATION.kind, association, ASSOCIATION_SHEET_COLUMNS.values(), {})
            for association in self._associations
            if self._parents.get(_get_node_identifiers(association)[0]) is not association
        ]
        sheets = [
            ("CF Doc", DOCUMENT_COLUMNS, [document]),
            ("CF Item", ITEM_COLUMNS, self._iter_rows(levels, ITEM_COLUMNS.values())),
            ("CF Association", ASSOCIATION_SHEET_COLUMNS, association_rows),
        ]
        for association in self._parents.values():
            self._count_omitted_fields(association)
        xlsx.write_workbook(self._file, [(name, [*head], rows) for name, head, rows in sheets])

    def _write_table(self) -> None:
        self._left_out["CFDocument"] += 1
        extra_cells: dict[str, JsonObject] = {name: {} for name in self._items}
        for association in self._associations:
            self._add_association_to_row(extra_cells, association)
        self._note_unresolvable_parents(extra_cells)
        rows = self._iter_rows(extra_cells, TABLE_COLUMNS.values())
        csv.write_csv(self._file, [[*TABLE_COLUMNS], *rows])

    def _add_association_to_row(
        self, extra_cells: dict[str, JsonObject], association: JsonObject
    ) -> None:
        """Add an association to the cells of its origin's row, or count it as left out.

        It is left out if OpenSALT has no column for it. ``extra_cells`` maps the identifier of each
        item to the additional cells of its row.
        """
        kind = association["associationType"]
        origin, destination = _get_node_identifiers(association)
        if self._parents.get(origin) is association:
            parent = self._items.get(destination, {})
            row = extra_cells[origin]
            if parent:
                row |= {"parent": destination, "parentCode": parent.get("humanCodingScheme")}
            row["sequenceNumber"] = association.get("sequenceNumber")
        elif (
            origin in extra_cells
            and kind in ASSOCIATION_COLUMNS
            and not any(mark in SEPARATORS or mark.isspace() for mark in destination)
        ):
            row = extra_cells[origin]
            row[kind] = f"{row[kind]},{destination}" if kind in row else destination
        else:
            self._left_out[f"CFAssociation {kind}"] += 1
            return
        self._count_omitted_fields(association)

    def _count_omitted_fields(self, association: JsonObject) -> None:
        """Count the fields of an association that an item's row has no column for.

        The counts are added to ``_left_out``, for a note to the user.
        """
        for name in association:
            if name in {"notes", "extensions", "CFAssociationGroupingURI"}:
                self._left_out[f"CFAssociation.{name}"] += 1

    def _note_unresolvable_parents(self, extra_cells: dict[str, JsonObject]) -> None:
        """Add to ``notes`` if OpenSALT would not find the parents of items by their codes.

        OpenSALT finds no parent if a code is missing or occurs twice. ``extra_cells`` maps the
        identifier of each item to its row's additional cells, such as ``parent`` and
        ``parentCode``.
        """
        codes = {self._items[name].get("humanCodingScheme"): name for name in self._order}
        codes.pop(None, None)
        mismatch_count = 0
        for name in self._order:
            code = self._items[name].get("humanCodingScheme") or ""
            parent = codes.get(extra_cells[name].get("parentCode") or code.rpartition(".")[0])
            mismatch_count += parent != extra_cells[name].get("parent")
        if mismatch_count:
            noun = "parent" if mismatch_count == 1 else "parents"
            self.notes.append(
                f"OpenSALT does not find the {noun} of {format_count(mismatch_count, 'item')}, "
                "because a code is missing or occurs twice: give it a workbook (.xlsx)"
            )


def _get_node_identifiers(association: JsonObject) -> tuple[str, str]:
    origin, destination = association["originNodeURI"], association["destinationNodeURI"]
    return origin["identifier"], destination["identifier"]


def _number_siblings(associations: Sequence[JsonObject]) -> list[tuple[JsonObject, int]]:
    """Return (association, sequence number) pairs for the children of a node, in their order.

    Each association links a child to the node. If sequence numbers are missing or not unique, the
    children are numbered 1, 2, 3 instead.
    """
    numbers = [association.get("sequenceNumber") for association in associations]
    stored_numbers = [number for number in numbers if isinstance(number, int) and number >= 0]
    ordered = sorted(
        associations,
        key=lambda sibling: (
            sibling.get("sequenceNumber") is None,
            sibling.get("sequenceNumber") or 0,
        ),
    )
    if len(set(stored_numbers)) == len(associations):
        return [(association, association["sequenceNumber"]) for association in ordered]
    return [(association, index) for index, association in enumerate(ordered, 1)]
