"""An index of the entities and associations of a package, for lint rules.

Rules see the package as `case-server import` would read it, but it may still violate the schema:
they may rely only on entities being objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..case.model import Entity
from ..case.resources import DEFINITIONS
from ..repair.repair_log import Json

CHILD_OF = "isChildOf"
"""The association type that makes the tree (CASE 1.1 information model, CFAssociation)."""


@dataclass(eq=False, slots=True)
class Node:
    """An entity of a package."""

    kind: str
    path: str
    body: Json
    identifier: str | None = field(init=False)
    """None if it is not a string."""

    def __post_init__(self) -> None:
        self.identifier = get_string(self.body, "identifier")


class Edge(NamedTuple):
    """An association with a type and with identifiers at both ends."""

    node: Node
    type: str
    origin: str
    destination: str


def get_string(body: Json, name: str) -> str | None:
    """Return the string in a field, or None if there is none."""
    value = body.get(name)
    return value if isinstance(value, str) else None


def get_integer(body: Json, name: str) -> int | None:
    """Return the integer in a field, or None if there is none; booleans do not count."""
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def get_strings(body: Json, name: str) -> list[str]:
    """Return the strings in a field: those of an array, or the one in its place."""
    value = body.get(name)
    members = value if isinstance(value, list) else [value]
    return [member for member in members if isinstance(member, str)]


def get_objects(body: Json, name: str) -> list[Json]:
    """Return the objects in a field: those of an array, or the one in its place."""
    value = body.get(name)
    members = value if isinstance(value, list) else [value]
    return [member for member in members if isinstance(member, dict)]


def get_link_identifiers(body: Json, name: str) -> list[str]:
    """Return the identifiers of the links in a field."""
    # Without the helpers above: this runs four times for each association of a package.
    value = body.get(name)
    links = value if isinstance(value, list) else (value,)
    identifiers = (link.get("identifier") for link in links if isinstance(link, dict))
    return [identifier for identifier in identifiers if isinstance(identifier, str)]


def get_standard_class_name(schema: type[Entity]) -> str:
    """Return the standard's name of a model class: CFItem also for CFPckgItem."""
    return schema.__name__.replace("CFPckg", "CF")


class PackageIndex:
    """The entities of a package by kind and identifier, and the tree of its items.

    ``by_identifier`` has the first entity with each identifier. ``edges`` are the associations, if
    ``nodes`` leaves them out.
    """

    def __init__(self, nodes: list[Node], edges: list[Edge] | None = None) -> None:
        self.nodes = nodes
        if edges is not None:
            self.edges = edges
        self.by_identifier: dict[str, Node] = {}
        self._nodes_by_kind: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            self._nodes_by_kind[node.kind].append(node)
            if node.identifier is not None:
                self.by_identifier.setdefault(node.identifier, node)

    def get_nodes_of_kind(self, *kinds: str) -> list[Node]:
        """Return all entities of some kinds."""
        return [node for kind in kinds for node in self._nodes_by_kind[kind]]

    @property
    def document(self) -> Node | None:
        """Return the document, or None if the package has none."""
        return next(iter(self._nodes_by_kind["CFDocument"]), None)

    @property
    def definitions(self) -> list[Node]:
        """Return the entities of CFDefinitions."""
        return self.get_nodes_of_kind(*(resource.name for resource in DEFINITIONS))

    @cached_property
    def edges(self) -> list[Edge]:
        """Return the associations with a type and with identifiers at both ends."""
        return list(self._edges())

    def _edges(self) -> Iterator[Edge]:
        for node in self.get_nodes_of_kind("CFAssociation"):
            origins, destinations = (
                get_link_identifiers(node.body, f"{end}NodeURI")
                for end in ("origin", "destination")
            )
            kind = get_string(node.body, "associationType")
            if kind is not None and origins and destinations:
                yield Edge(node, kind, origins[0], destinations[0])

    @cached_property
    def tree_edges(self) -> list[Edge]:
        """Return the isChildOf edges between different nodes."""
        return [one for one in self.edges if one.type == CHILD_OF and one.origin != one.destination]

    @cached_property
    def edges_by_child(self) -> dict[str, list[Edge]]:
        """Return the edges to the parents of each child, by its identifier."""
        return _group_by("origin", self.tree_edges)

    @cached_property
    def edges_by_parent(self) -> dict[str, list[Edge]]:
        """Return the edges from the children of each parent, by its identifier."""
        return _group_by("destination", self.tree_edges)

    @cached_property
    def tree_nodes(self) -> set[str]:
        """Return the identifiers of possible tree nodes: the document and the items."""
        nodes = self.get_nodes_of_kind("CFDocument", "CFItem")
        return {node.identifier for node in nodes if node.identifier is not None}

    def format_label(self, identifier: str) -> str:
        """Return a name of a node for messages: its code, title or identifier."""
        node = self.by_identifier.get(identifier)
        fields = ("humanCodingScheme", "abbreviatedStatement", "title") if node else ()
        names = (get_string(node.body, field) for field in fields if node)
        return next((name for name in names if name and name.strip()), identifier)


def _group_by(end: str, edges: list[Edge]) -> dict[str, list[Edge]]:
    groups: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        groups[getattr(edge, end)].append(edge)
    return dict(groups)
