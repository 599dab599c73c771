"""Build isChildOf associations from rows of items, and complete rows of associations.

A row names its parent by identifier or code, or has a level such as 1.2.3 (OpenSALT's
``smartLevel``). In an export, ``parentAssociation`` contains all other fields of the association to
the parent as JSON, with its position among all associations.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID, uuid5

import orjson

from ...case.entity_urls import make_uuid_urn
from ...case.model import CFPckgDocument, CFPckgItem
from ...case.package import DerivedValues
from ...case.response_fields import NODE_FIELDS
from ...case.vocabulary import IS_CHILD_OF
from ...exceptions import Problem
from ...formatting import truncate
from ...repair.incomplete_packages import number_in_file_order
from ...repair.references import ReferenceResolver
from ...repair.repair_log import RepairLog
from .cells import format_cell, get_nested
from .columns import ASSOCIATION, ASSOCIATION_COLUMNS, DEPTH, PARENT_CODE
from .rows import PARENT_ASSOCIATION, JsonObject, Row

NO_PARENT = "none"
"""The ``parentAssociation`` of an item without a parent, not even the document."""

MAX_TITLE_CHARS = 200
MAX_NUMBER_DIGITS = 20
TITLE_FIELDS = ("fullStatement", "abbreviatedStatement", "alternativeLabel", "title")
"""Fields by which people name a node in place of its code."""


def make_link(entity: JsonObject) -> JsonObject:
    """Return a CASE link (title, identifier, uri) to an item or document.

    The title is the entity's code, or else its title or statement, truncated to 200 characters.
    """
    names = ("humanCodingScheme", "title", "fullStatement", "identifier")
    title = next((str(entity[name]) for name in names if entity.get(name)), "")
    short_title = truncate(title, MAX_TITLE_CHARS)
    identifier = entity["identifier"]
    return {"title": short_title, "identifier": identifier, "uri": entity.get("uri", "")}


def _split_node_references(cell: str) -> list[str]:
    """Split a cell such as ``A.1, A.2`` or ``A.1|A.2`` into codes or identifiers."""
    return [name.strip() for name in re.split(r"[,|]", cell) if name.strip()]


@dataclass
class HierarchyBuilder:
    """Builds the associations between the items and the document of a spreadsheet.

    Rows refer to items by identifier, by code, or by outline number such as 1.2.3.
    """

    namespace: UUID
    """The namespace of generated identifiers (UUIDs, version 5)."""
    document: JsonObject
    items: list[Row]
    association_rows: list[Row]
    """Rows of associations."""
    problems: list[Problem]
    repairs: RepairLog
    derived: DerivedValues
    """Gets the associations whose time is that of their items, and the order of siblings."""
    is_strict: bool = False
    """True if a reference in another spelling is a problem instead of being repaired."""
    _path: list[JsonObject] = field(default_factory=list)
    """The items from the top of the tree to the last row, in a table with levels."""
    _last: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.nodes = {row.entity["identifier"]: row.entity for row in self.items}
        self.nodes.setdefault(self.document["identifier"], self.document)
        self.codes: dict[str, list[JsonObject]] = defaultdict(list)
        for row in self.items:
            if code := row.entity.get("humanCodingScheme"):
                self.codes[str(code).strip()].append(row.entity)
        self._titles: dict[str, list[JsonObject]] = defaultdict(list)
        """The nodes by statement or title, without letter case."""
        for node in self.nodes.values():
            titles = {str(node[name]).strip().casefold() for name in TITLE_FIELDS if name in node}
            for title in titles:
                self._titles[title].append(node)
        entities = [(CFPckgItem, row.entity) for row in self.items]
        self.references = ReferenceResolver([*entities, (CFPckgDocument, self.document)], {})
        self.levels: dict[str, JsonObject] = {}
        self._has_depths = any(DEPTH.name in row.metadata for row in self.items)
        self._unnumbered: dict[str, list[JsonObject]] = defaultdict(list)
        """For each parent the associations of children whose rows give no number."""
        self._numbered: set[str] = set()
        """The parents of which a child's row gives a number."""
        self.triples: dict[tuple[str, str, str], JsonObject] = {}

    def build_associations(self) -> list[Row]:
        """Return a row for each association of the sheets, in the order of the exported file.

        They come from association rows and from cells of items, such as the parent. Rows that
        ``export`` did not write have no ``position`` and come last.
        """
        for row in self.items:
            self._fill_parent_from_code(row)
            self._add_additional_parents(row)
            self.association_rows += self._iter_associations_from_columns(row)
        for row in self.association_rows:
            self._complete_association_row(row)
            self.triples.setdefault(self._get_triple(row.entity), row.entity)
        self.parented = {triple[0] for triple in self.triples if triple[1] == IS_CHILD_OF}
        for row in self.items:
            self._record_level(row)
        derived = [
            association
            for row in self.items
            if (association := self._build_parent_association(row))
        ]
        for parent, associations in self._unnumbered.items():
            if parent not in self._numbered:
                number_in_file_order(associations, self.derived)
        return sorted([*derived, *self.association_rows], key=_get_position)

    def _fill_parent_from_code(self, row: Row) -> None:
        """Set a row's parent to the code in the column ``parentCode`` if ``parent`` is empty.

        Reports a problem if both columns are filled, but the parent has another code.
        """
        code = row.metadata.get(PARENT_CODE.name)
        if code is None:
            return
        name = format_cell(row.metadata.setdefault("parent", code))
        parent_code = self.nodes.get(name, {}).get("humanCodingScheme")
        if parent_code is not None and name != code != parent_code:
            message = f"{code!r} is not the code of the parent {name}, which is {parent_code!r}"
            self._add_problem(row, PARENT_CODE.name, message)

    def _add_additional_parents(self, row: Row) -> None:
        """Add an association row for each further parent if a row names several parents.

        The cell ``parent`` of the row keeps the first parent. Does nothing for rows of an export,
        or if a name is neither the identifier nor the code of an item.
        """
        reference = row.metadata.get("parent")
        is_export = PARENT_ASSOCIATION in row.metadata
        if is_export or not isinstance(reference, str) or self._is_known_node(reference):
            return
        names = _split_node_references(reference)
        if len(names) > 1 and all(map(self._is_known_node, names)):
            row.metadata["parent"] = names[0]
            self.association_rows += [
                self._build_association(row, IS_CHILD_OF, name) for name in names[1:]
            ]

    def _iter_associations_from_columns(self, row: Row) -> Iterator[Row]:
        """Yield the associations of an item that its association columns describe, as rows.

        The heading of such a column is an association type, such as isPeerOf, and its cells name
        items. Text that names none is stored as a field of the item in ``row`` instead.
        """
        for kind in ASSOCIATION_COLUMNS:
            text = row.metadata.get(kind, "")
            names = _split_node_references(text)
            if any(" " in name and not self._is_known_node(name) for name in names):
                # A text names no item, for example the example of a standard below "Exemplar".
                row.entity[kind] = text
                continue
            for name in names:
                yield self._build_association(row, kind, name)

    def _build_association(self, row: Row, association_type: str, reference: str) -> Row:
        """Return a row with a new CFAssociation from a row's item to the node named ``reference``.

        ``reference`` is the identifier or code of an item or the document. If it is unknown, the
        destination is an item outside the file, which is recorded as a repair. If several items
        have the code, that is added to ``problems``.
        """
        destination: JsonObject = {"identifier": reference}
        if len(self.codes.get(reference, [])) > 1:
            self._report_ambiguous_code(row, association_type, reference)
            destination["uri"] = ""  # a problem is reported once
        elif not self._is_known_node(reference):
            destination |= {"title": reference, "uri": make_uuid_urn(reference)}
            location = row.location.describe(association_type)
            self.repairs.record("external-name", location, reference, destination)
        association: JsonObject = {
            "associationType": association_type,
            "originNodeURI": make_link(row.entity),
            "destinationNodeURI": destination,
        }
        return Row(ASSOCIATION, row.location, association)

    def _is_known_node(self, reference: str) -> bool:
        """Return whether a string is the identifier or code of an item or of the document.

        Identifiers are also recognized in other spellings, such as upper case.
        """
        return (
            reference in self.nodes
            or reference.strip() in self.codes
            or self.references.resolve("destinationNodeURI", reference) is not None
        )

    def _get_triple(self, association: JsonObject) -> tuple[str, str, str]:
        paths = (("originNodeURI", "identifier"), ("destinationNodeURI", "identifier"))
        origin, destination = (str(get_nested(association, path)) for path in paths)
        return origin, str(association.get("associationType")), destination

    def _complete_association_row(self, row: Row) -> None:
        """Fill in the missing identifier and the incomplete links of an association row, in place.

        A link given as a string contains the identifier, code or statement of an item. The new
        identifier is a UUID (version 5) made from the origin, the type and the destination.
        """
        association = row.entity
        for name in NODE_FIELDS:
            link = association.get(name)
            if isinstance(link, str):
                link = association[name] = {"identifier": link}
            if isinstance(link, dict) and "uri" not in link:
                self._complete_association_link(row, name, link)
        identifier = uuid5(self.namespace, "\n".join(self._get_triple(association)))
        association.setdefault("identifier", str(identifier))

    def _complete_association_link(self, row: Row, field: str, link: JsonObject) -> None:
        """Replace an incomplete link of an association row by a link to an item or the document.

        Changes ``link``, the value of ``field`` such as ``originNodeURI``, in place. Its identifier
        or title contains the identifier, code or statement of an item. If several items have the
        code, or no item has the statement, that is added to ``problems``.
        """
        name = str(link.get("identifier", link.get("title")))
        candidates = self.codes.get(name.strip(), [])
        node = self.nodes.get(name) or (candidates[0] if len(candidates) == 1 else None)
        column = f"{field}.identifier"
        if node is None and not candidates:
            node = self._find_by_uuid(row, column, name) or self._find_by_title(row, column, name)
        if node:
            node_link = make_link(node)
            link |= {**node_link, "title": link.get("title", node_link["title"])}
        elif len(candidates) > 1:
            self._report_ambiguous_code(row, column, name)
        elif "identifier" in link and " " in name.strip():
            # A text is no identifier of an item elsewhere, but a mistyped statement.
            message = f"no item has the identifier, code or statement {name!r}"
            self._add_problem(row, column, message)

    def _find_by_title(self, row: Row, column: str, title: str) -> JsonObject | None:
        """Return the entity of the one item or document whose title or statement is ``title``.

        Ignores letter case. Returns None if no entity or several have this title, and always in
        strict mode, which allows no repairs. Records the match as a repair of the cell in ``row``
        and ``column``.
        """
        nodes = self._titles.get(title.strip().casefold(), [])
        if len(nodes) != 1 or self.is_strict:
            return None
        identifier, location = nodes[0]["identifier"], row.location.describe(column)
        self.repairs.record("reference-by-title", location, title, identifier)
        return nodes[0]

    def _record_level(self, row: Row) -> None:
        level = row.metadata.get("smartLevel")
        if level is None or "parent" in row.metadata:
            return
        first = self.levels.setdefault(level.strip(), row.entity)
        if first is not row.entity:
            self._add_problem(row, "smartLevel", f"{level} is also the level of another row")

    def _build_parent_association(self, row: Row) -> Row | None:
        """Return a row with the isChildOf association from a row's item to its parent.

        Returns None if the item has no parent, or if an association row with the same origin, type
        and destination exists.
        """
        exported_association = self._parse_parent_association(row)
        parent = self._determine_parent(row, exported_association)
        if parent is None:
            return None
        item = row.entity
        triple = (item["identifier"], IS_CHILD_OF, parent["identifier"])
        existing_association = self.triples.get(triple)
        if existing_association is not None and not exported_association:
            if _has_sequence_number(row):
                existing_association.setdefault(
                    "sequenceNumber",
                    self._determine_sequence_number(row, parent, exported_association),
                )
            return None
        fields = exported_association or {}
        association: JsonObject = {
            "identifier": str(uuid5(self.namespace, "\n".join(triple))),
            "lastChangeDateTime": item.get("lastChangeDateTime"),
            **{name: value for name, value in fields.items() if name not in NODE_FIELDS},
            "associationType": IS_CHILD_OF,
            "originNodeURI": _choose_node_link(fields, "originNodeURI", item),
            "destinationNodeURI": _choose_node_link(fields, "destinationNodeURI", parent),
        }
        if (
            sequence := self._determine_sequence_number(row, parent, exported_association)
        ) is not None:
            association["sequenceNumber"] = sequence
        if "lastChangeDateTime" not in fields:
            self.derived.times.add((ASSOCIATION.kind, association["identifier"]))
        if exported_association is None and not _has_sequence_number(row):
            self._unnumbered[parent["identifier"]].append(association)
        position = association.pop("position", None)
        metadata = {} if position is None else {"position": position}
        return Row(row.layout, row.location, association, metadata)

    def _parse_parent_association(self, row: Row) -> JsonObject | None:
        """Return the JSON object in a row's ``parentAssociation`` cell.

        Returns None if the cell is empty or contains ``none``; reports a problem for other text.
        """
        text = row.metadata.get("parentAssociation")
        if text is None or text.strip().casefold() == NO_PARENT:
            return None
        try:
            exported_association = orjson.loads(text)
        except orjson.JSONDecodeError:
            exported_association = None
        if not isinstance(exported_association, dict):
            self._add_problem(row, "parentAssociation", f"must be a JSON object or {NO_PARENT!r}")
            return None
        if not isinstance(exported_association.get("identifier", ""), str):
            self._add_problem(row, "parentAssociation", "its identifier must be a string")
            return None
        return exported_association

    def _determine_parent(
        self, row: Row, exported_association: JsonObject | None
    ) -> JsonObject | None:
        """Return the JSON of the item or document that is the parent of a row's item, or None.

        The row's parent, smartLevel or depth determines it. Without these, it is the document, or
        None if the parent is given as ``none`` or by an association row. ``exported_association``
        is the row's isChildOf association in an export. Its link is returned if it names the row's
        parent, which may be outside the file.
        """
        if "parent" in row.metadata:
            return self._find_named_parent(
                row, format_cell(row.metadata["parent"]), exported_association
            )
        if "smartLevel" in row.metadata:
            return self._find_parent_by_level(row)
        if self._has_depths:
            return self._find_parent_by_depth(row)
        is_unset = "parentAssociation" not in row.metadata or exported_association
        if not is_unset or row.entity["identifier"] in self.parented:
            return None
        return self.document

    def _find_named_parent(
        self, row: Row, name: str, exported_association: JsonObject | None
    ) -> JsonObject | None:
        exported_link = (exported_association or {}).get("destinationNodeURI")
        if isinstance(exported_link, dict) and exported_link.get("identifier") == name:
            return exported_link
        if not (parent := self.nodes.get(name) or self.nodes.get(name.strip())):
            candidates = self.codes.get(name.strip(), [])
            if len(candidates) == 1:
                parent = candidates[0]
            elif candidates:
                self._report_ambiguous_code(row, "parent", name)
            elif not (parent := self._find_by_uuid(row, "parent", name)):
                message = f"no item has the identifier or code {name!r}{self._suggest_code(name)}"
                self._add_problem(row, "parent", message)
        if parent is row.entity:
            self._add_problem(row, "parent", "an item cannot be its own parent")
            return None
        return parent

    def _suggest_code(self, reference: str) -> str:
        """Return ": did you mean 'A.1'?" for a code such as A-1, or "" if no code is similar."""
        folded_code = _fold_code(reference)
        close = self._folded_codes.get(folded_code) if folded_code else None
        return f": did you mean {close!r}?" if close else ""

    @cached_property
    def _folded_codes(self) -> dict[str, str]:
        # A dictionary, because difflib takes 20 ms to compare an unknown code with 5,000 codes, and
        # each row can have one.
        return {_fold_code(code): code for code in reversed(self.codes)}

    def _find_by_uuid(self, row: Row, column: str, uuid: str) -> JsonObject | None:
        """Return the item or document with a UUID, ignoring letter case, or None.

        UUIDs are case-insensitive (RFC 4122, section 3). Records the match as a repair of the cell
        in ``row`` and ``column``, or reports it as a problem in strict mode.
        """
        identifier = self.references.resolve("destinationNodeURI", uuid)
        if identifier is None:
            return None
        if self.is_strict:
            message = f"{uuid!r} is another spelling of the identifier {identifier!r}"
            self._add_problem(row, column, message)
        else:
            self.repairs.record("reference", row.location.describe(column), uuid, identifier)
        return self.nodes[identifier]

    def _find_parent_by_level(self, row: Row) -> JsonObject | None:
        level = row.metadata["smartLevel"].strip()
        parent_level = level.rpartition(".")[0]
        if parent_level and parent_level not in self.levels:
            self._add_problem(
                row, "smartLevel", f"no item has the level {parent_level}, above {level}"
            )
        return self.levels.get(parent_level) if parent_level else self.document

    def _find_parent_by_depth(self, row: Row) -> JsonObject | None:
        """Return the parent of a row's item judging by its depth in the tree.

        The row contains the depth, a number from 1. The parent is the item of the last row with a
        lower depth, or the document for depth 1. If the depth is not a number or skips a level,
        adds to ``problems`` and returns None.
        """
        depth = row.metadata.get(DEPTH.name)
        if not isinstance(depth, int) or not 1 <= depth <= len(self._path) + 1:
            max_depth = len(self._path) + 1
            advice = f"use a number from 1 to {max_depth}, one below the row above"
            self._add_problem(row, DEPTH.name, f"invalid level {depth!r}: {advice}")
            return None
        self._path[depth - 1 :] = [row.entity]
        return self._path[depth - 2] if depth > 1 else self.document

    def _determine_sequence_number(
        self, row: Row, parent: JsonObject, exported_association: JsonObject | None
    ) -> Any:
        """Return the sequence number of a row's item below ``parent``, an int or an invalid value.

        It is taken from the cell ``sequenceNumber``, or else from the end of ``smartLevel``.
        Without either, it is one more than the last sibling's, or None if the row has an
        ``exported_association``, as in an export.
        """
        digits = row.metadata.get("smartLevel", "").strip().rpartition(".")[2]
        number = row.metadata.get("sequenceNumber")
        if number is None and digits.isdecimal():
            # More digits are out of range as well, and int() refuses more than 4,300 of them.
            number = int(digits[:MAX_NUMBER_DIGITS])
        if number is None and not exported_association:
            number = self._last[parent["identifier"]] + 1
        if _has_sequence_number(row):
            self._numbered.add(parent["identifier"])
        if isinstance(number, int):
            self._last[parent["identifier"]] = number
        return number

    def _report_ambiguous_code(self, row: Row, column: str, code: str) -> None:
        count = len(self.codes[code.strip()])
        message = f"{count} items have the code {code}; name the identifier of one"
        self._add_problem(row, column, message)

    def _add_problem(self, row: Row, name: str, message: str) -> None:
        self.problems.append(Problem(path=row.location.describe(name), message=message))


def _fold_code(code: str) -> str:
    """Return a code in lower case with dots as the only punctuation, for comparison.

    ``A-1`` and ``a. 1`` both give ``a.1``.
    """
    return re.sub(r"[\W_]+", ".", code).strip(".").casefold()


def _has_sequence_number(row: Row) -> bool:
    return "sequenceNumber" in row.metadata or "smartLevel" in row.metadata


def _choose_node_link(exported_association: JsonObject, field: str, node: JsonObject) -> Any:
    """Return the link to a node, which is the JSON of an item or the document.

    ``exported_association`` is an association from an export. Its link in ``field``, such as
    ``originNodeURI``, is returned if it has the node's identifier. Otherwise the result is a new
    link.
    """
    is_unchanged = get_nested(exported_association, (field, "identifier")) == node["identifier"]
    return exported_association[field] if is_unchanged else make_link(node)


def _get_position(row: Row) -> float:
    position = row.metadata.get("position")
    return position if isinstance(position, int | float) else float("inf")


def assign_identifiers(items: list[Row], namespace: UUID) -> list[str]:
    """Assign an identifier to each item that lacks one, and return the list of new identifiers.

    Changes the rows in place. An identifier is a UUID (version 5) in ``namespace``, made from the
    item's code or else from its statement, so that reading a sheet again gives the same
    identifiers.
    """
    derived: list[str] = []
    counts: Counter[str] = Counter()
    for row in items:
        # In the column more, they can be arrays and objects, which validation refuses later.
        name = str(row.entity.get("humanCodingScheme") or row.entity.get("fullStatement") or "")
        counts[name] += 1
        suffix = f"#{counts[name]}" if counts[name] > 1 else ""
        if "identifier" not in row.entity:
            row.entity["identifier"] = str(uuid5(namespace, f"CFItem\n{name}{suffix}"))
            derived.append(row.entity["identifier"])
    return derived
