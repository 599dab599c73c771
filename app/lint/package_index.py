"""A package as rules look at it: its entities and how they hang together.

Nothing is taken for granted but that objects are objects: a package that breaks the model is
looked at all the same, as `case-server import` would read it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ..case.model import Entity
from ..case.resources import DEFINITIONS
from ..repair.repair_log import Json

CHILD_OF = "isChildOf"
"""The association that makes the tree (CASE 1.1 information model, CFAssociation)."""


@dataclass(frozen=True, eq=False)
class Node:
    """An entity of a package."""

    kind: str
    path: str
    body: Json

    @cached_property
    def identifier(self) -> str | None:
        """Its identifier, when that is a text."""
        return get_string(self.body, "identifier")


@dataclass(frozen=True, eq=False)
class Edge:
    """An association whose ends both say what they are."""

    node: Node
    type: str
    origin: str
    destination: str


def get_string(body: Json, name: str) -> str | None:
    """A field that is a text."""
    value = body.get(name)
    return value if isinstance(value, str) else None


def get_strings(body: Json, name: str) -> list[str]:
    """The texts in a list of them, or the one that stands in its place."""
    value = body.get(name)
    members = value if isinstance(value, list) else [value]
    return [member for member in members if isinstance(member, str)]


def get_objects(body: Json, name: str) -> list[Json]:
    """The objects in a list of them, or the one that stands in its place."""
    value = body.get(name)
    members = value if isinstance(value, list) else [value]
    return [member for member in members if isinstance(member, dict)]


def get_link_identifiers(body: Json, name: str) -> list[str]:
    """The identifiers that a link, or a list of them, names."""
    found = (get_string(link, "identifier") for link in get_objects(body, name))
    return [identifier for identifier in found if identifier is not None]


class PackageIndex:
    """The entities of a package, found by what they are and by what they are called."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.by_identifier: dict[str, Node] = {}
        self._nodes_by_kind: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            self._nodes_by_kind[node.kind].append(node)
            if node.identifier is not None:
                self.by_identifier.setdefault(node.identifier, node)

    def of_kind(self, *kinds: str) -> list[Node]:
        """All entities of some kinds."""
        return [node for kind in kinds for node in self._nodes_by_kind[kind]]

    @property
    def document(self) -> Node | None:
        """The root, if there is one."""
        return next(iter(self._nodes_by_kind["CFDocument"]), None)

    @property
    def definitions(self) -> list[Node]:
        """What CFDefinitions holds."""
        return self.of_kind(*(resource.name for resource in DEFINITIONS))

    @cached_property
    def edges(self) -> list[Edge]:
        """The associations between nodes that say what they are."""
        return list(self._edges())

    def _edges(self) -> Iterator[Edge]:
        for node in self.of_kind("CFAssociation"):
            ends = [
                get_link_identifiers(node.body, f"{end}NodeURI")
                for end in ("origin", "destination")
            ]
            type_ = get_string(node.body, "associationType")
            if type_ is not None and all(ends):
                yield Edge(node, type_, ends[0][0], ends[1][0])

    @cached_property
    def branches(self) -> list[Edge]:
        """What makes the tree: from a child to another node, its parent."""
        return [one for one in self.edges if one.type == CHILD_OF and one.origin != one.destination]

    @cached_property
    def parents(self) -> dict[str, list[Edge]]:
        """The branches up from each child."""
        return _by("origin", self.branches)

    @cached_property
    def children(self) -> dict[str, list[Edge]]:
        """The branches down from each parent."""
        return _by("destination", self.branches)

    @cached_property
    def tree_nodes(self) -> set[str]:
        """Where an item can hang: the document and the items."""
        nodes = self.of_kind("CFDocument", "CFItem")
        return {node.identifier for node in nodes if node.identifier is not None}

    def label(self, identifier: str) -> str:
        """What to call a node in a message: its code, title or identifier."""
        node = self.by_identifier.get(identifier)
        names = ("humanCodingScheme", "abbreviatedStatement", "title") if node else ()
        found = (get_string(node.body, name) for name in names if node)
        return next((name for name in found if name and name.strip()), identifier)


def _by(end: str, edges: list[Edge]) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        found[getattr(edge, end)].append(edge)
    return dict(found)


def kind_of(schema: type[Entity]) -> str:
    """What the standard calls a class of the model: CFItem, also inside a package."""
    return schema.__name__.replace("CFPckg", "CF")


def get_integer(body: Json, name: str) -> int | None:
    """A field that is a whole number; true and false are none."""
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
