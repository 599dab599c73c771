"""The hierarchy that item rows say, as associations of the standard, and the other way round.

A row names its parent by identifier or code, or says a level such as 1.2.3 (OpenSALT's
``smartLevel``). What else the association to the parent says is kept beside it, as JSON in
``parentAssociation``, with its position among all associations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import orjson

from ..case.model import CFPckgDocument, CFPckgItem
from ..case.sequence import number_siblings
from ..exceptions import Problem
from ..formatting import truncate
from ..repair.references import References
from ..repair.repair_log import RepairLog
from .cells import format_cell, get_path
from .rows import JsonObject, Row

IS_CHILD_OF = "isChildOf"

PARENT_ASSOCIATION = "parentAssociation"

NO_PARENT = "none"
"""What stands in ``parentAssociation`` of an item that has no parent, not even the document."""

NODE_FIELDS = {"originNodeURI", "destinationNodeURI"}
MAX_TITLE_CHARS = 200


def make_link(entity: JsonObject) -> JsonObject:
    """The link to an item or document, called what people call it."""
    names = ("humanCodingScheme", "title", "fullStatement", "identifier")
    title = next((str(entity[name]) for name in names if entity.get(name)), "")
    short = truncate(title, MAX_TITLE_CHARS)
    identifier = entity["identifier"]
    return {"title": short, "identifier": identifier, "uri": entity.get("uri", "")}


@dataclass
class Hierarchy:
    """Items and document, found by what people call them, and the associations between them."""

    space: UUID
    """Where identifiers that nobody gave are made."""
    document: JsonObject
    items: list[Row]
    stated: list[Row]
    """Rows of associations."""
    problems: list[Problem]
    repairs: RepairLog
    is_strict: bool = False
    """Whether a reference in another spelling is a problem instead of being repaired."""
    derived_order: list[tuple[str, ...]] = field(default_factory=list)
    """The associations of siblings that are numbered by the order of their rows."""
    derived_times: set[str] = field(default_factory=set)
    """The associations whose time of change is that of their items."""
    _last: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.nodes = {row.entity["identifier"]: row.entity for row in self.items}
        self.nodes.setdefault(self.document["identifier"], self.document)
        self.codes: dict[str, list[JsonObject]] = defaultdict(list)
        for row in self.items:
            if code := row.entity.get("humanCodingScheme"):
                self.codes[str(code).strip()].append(row.entity)
        entities = [(CFPckgItem, row.entity) for row in self.items]
        self.references = References([*entities, (CFPckgDocument, self.document)], {})
        self.levels: dict[str, JsonObject] = {}
        self._unnumbered: dict[str, list[JsonObject]] = defaultdict(list)
        """For each parent the associations of children whose rows give no number."""
        self._numbered: set[str] = set()
        """The parents of which a child's row gives a number."""
        self.triples: dict[tuple[str, str, str], JsonObject] = {}

    def associations(self) -> list[Row]:
        """All associations, in the order of their positions, new ones last."""
        for row in self.stated:
            self._complete(row)
            self.triples.setdefault(self._triple(row.entity), row.entity)
        self.parented = {triple[0] for triple in self.triples if triple[1] == IS_CHILD_OF}
        for row in self.items:
            self._note_level(row)
        derived = [made for row in self.items if (made := self._to_parent(row))]
        self._number_by_order()
        return sorted([*derived, *self.stated], key=_position)

    def _triple(self, association: JsonObject) -> tuple[str, str, str]:
        origin, destination = (
            str(get_path(association, (name, "identifier")))
            for name in ("originNodeURI", "destinationNodeURI")
        )
        return origin, str(association.get("associationType")), destination

    def _complete(self, row: Row) -> None:
        """Fill in the ends of an association that is a row, and its name."""
        association = row.entity
        for name in NODE_FIELDS & association.keys():
            end = association[name]
            if isinstance(end, str):
                end = association[name] = {"identifier": end}
            if isinstance(end, dict) and "uri" not in end:
                self._complete_end(row, name, end)
        origin, kind, destination = self._triple(association)
        made = uuid5(self.space, f"{origin}\n{kind}\n{destination}")
        association.setdefault("identifier", str(made))

    def _complete_end(self, row: Row, field: str, end: JsonObject) -> None:
        """Complete the link to a node of this framework, named by identifier or by code."""
        name = str(end.get("identifier", end.get("title")))
        coded = self.codes.get(name.strip(), [])
        node = self.nodes.get(name) or (coded[0] if len(coded) == 1 else None)
        if node is None and not coded:
            node = self._find_respelled(row, f"{field}.identifier", name)
        if node:
            known = make_link(node)
            end |= {**known, "title": end.get("title", known["title"])}

    def _note_level(self, row: Row) -> None:
        level = row.metadata.get("smartLevel")
        if level is None or "parent" in row.metadata:
            return
        first = self.levels.setdefault(level.strip(), row.entity)
        if first is not row.entity:
            self._problem(row, "smartLevel", f"{level} is the level of another row, too")

    def _to_parent(self, row: Row) -> Row | None:
        """The association of an item to its parent."""
        kept = self._kept(row)
        parent = self._parent(row, kept)
        if parent is None:
            return None
        item = row.entity
        said = self.triples.get((item["identifier"], IS_CHILD_OF, parent["identifier"]))
        if said is not None and not kept:
            if _has_number(row):
                said.setdefault("sequenceNumber", self._sequence(row, parent, kept))
            return None
        made = uuid5(self.space, f"{item['identifier']}\n{IS_CHILD_OF}\n{parent['identifier']}")
        association: JsonObject = {
            "identifier": str(made),
            "lastChangeDateTime": item.get("lastChangeDateTime"),
            **{name: value for name, value in (kept or {}).items() if name not in NODE_FIELDS},
            "associationType": IS_CHILD_OF,
            "originNodeURI": _same(kept, "originNodeURI", item) or make_link(item),
            "destinationNodeURI": _same(kept, "destinationNodeURI", parent) or make_link(parent),
        }
        if (sequence := self._sequence(row, parent, kept)) is not None:
            association["sequenceNumber"] = sequence
        if "lastChangeDateTime" not in (kept or {}):
            self.derived_times.add(association["identifier"])
        if kept is None and not _has_number(row):
            self._unnumbered[parent["identifier"]].append(association)
        position = association.pop("position", None)
        metadata = {} if position is None else {"position": position}
        return Row(row.layout, row.place, association, metadata)

    def _kept(self, row: Row) -> JsonObject | None:
        """What was kept of the association to the parent; nothing where it says none."""
        written = row.metadata.get("parentAssociation")
        if written is None or written.strip().casefold() == NO_PARENT:
            return None
        try:
            kept = orjson.loads(written)
        except orjson.JSONDecodeError:
            kept = None
        if isinstance(kept, dict):
            return kept
        self._problem(row, "parentAssociation", f"must be a JSON object, or {NO_PARENT}")
        return None

    def _parent(self, row: Row, kept: JsonObject | None) -> JsonObject | None:
        """The item or document that a row says is its parent."""
        if "parent" in row.metadata:
            return self._named(row, format_cell(row.metadata["parent"]), kept)
        if "smartLevel" in row.metadata:
            return self._by_level(row)
        unsaid = "parentAssociation" not in row.metadata or kept
        if not unsaid or row.entity["identifier"] in self.parented:
            return None
        return self.document

    def _named(self, row: Row, name: str, kept: JsonObject | None) -> JsonObject | None:
        before = (kept or {}).get("destinationNodeURI")
        if isinstance(before, dict) and before.get("identifier") == name:
            return before
        if not (found := self.nodes.get(name) or self.nodes.get(name.strip())):
            coded = self.codes.get(name.strip(), [])
            if len(coded) == 1:
                found = coded[0]
            elif coded:
                message = f"{len(coded)} items have the code {name}; name the identifier of one"
                self._problem(row, "parent", message)
            elif not (found := self._find_respelled(row, "parent", name)):
                message = f"no item has the identifier or code {name!r}"
                self._problem(row, "parent", message)
        if found is row.entity:
            self._problem(row, "parent", "an item cannot be its own parent")
            return None
        return found

    def _find_respelled(self, row: Row, column: str, name: str) -> JsonObject | None:
        """Return the one node whose identifier a cell spells otherwise: RFC 4122, section 3."""
        identifier = self.references.find("destinationNodeURI", name)
        if identifier is None:
            return None
        if self.is_strict:
            message = f"{name!r} is another spelling of the identifier {identifier!r}"
            self._problem(row, column, message)
        else:
            self.repairs.record("reference", row.place.describe(column), name, identifier)
        return self.nodes[identifier]

    def _by_level(self, row: Row) -> JsonObject | None:
        level = row.metadata["smartLevel"].strip()
        above = level.rpartition(".")[0]
        if above and above not in self.levels:
            self._problem(row, "smartLevel", f"no item has the level {above}, above {level}")
        return self.levels.get(above) if above else self.document

    def _sequence(self, row: Row, parent: JsonObject, kept: JsonObject | None) -> Any:
        """The number said; else the one after the sibling above, for what is new."""
        last = row.metadata.get("smartLevel", "").strip().rpartition(".")[2]
        number = row.metadata.get("sequenceNumber")
        if number is None and last.isdecimal():
            number = int(last)
        if number is None and not kept:
            number = self._last[parent["identifier"]] + 1
        if _has_number(row):
            self._numbered.add(parent["identifier"])
        if isinstance(number, int):
            self._last[parent["identifier"]] = number
        return number

    def _number_by_order(self) -> None:
        """Number siblings by the order of their rows, where no row among them gives a number."""
        for parent, associations in self._unnumbered.items():
            if parent in self._numbered:
                continue
            identifiers = tuple(each["identifier"] for each in associations)
            self.derived_order.append(identifiers)
            numbers = number_siblings([None] * len(associations))
            for association, number in zip(associations, numbers, strict=True):
                association["sequenceNumber"] = number

    def _problem(self, row: Row, name: str, message: str) -> None:
        self.problems.append(Problem(path=row.place.describe(name), message=message))


def _has_number(row: Row) -> bool:
    """Return whether a row gives its item a place among its siblings."""
    return "sequenceNumber" in row.metadata or "smartLevel" in row.metadata


def _same(kept: JsonObject | None, name: str, node: JsonObject) -> Any:
    """An end that was kept, if it still is this node."""
    end = (kept or {}).get(name)
    return end if get_path({"end": end}, ("end", "identifier")) == node["identifier"] else None


def _position(row: Row) -> float:
    position = row.metadata.get("position")
    return position if isinstance(position, int | float) else float("inf")


def assign_identifiers(items: list[Row], space: UUID) -> list[str]:
    """Give items without an identifier one, the same each time a sheet is read; return those.

    They are made from the item's code, or from its statement where it has no code.
    """
    derived: list[str] = []
    met: Counter[str] = Counter()
    for row in items:
        called = row.entity.get("humanCodingScheme") or row.entity.get("fullStatement") or ""
        met[called] += 1
        again = f"#{met[called]}" if met[called] > 1 else ""
        if "identifier" not in row.entity:
            row.entity["identifier"] = str(uuid5(space, f"CFItem\n{called}{again}"))
            derived.append(row.entity["identifier"])
    return derived
