"""An index of the entities and associations of a package, for lint rules.

Rules see the package as `case-server import` would read it, but it may still violate the schema:
they may rely only on entities being objects.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeVar

from ..case.resources import DEFINITIONS
from ..case.response_fields import NODE_FIELDS
from ..case.vocabulary import IS_CHILD_OF
from ..repair.repair_log import Json

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Node:
    """An entity of the linted package, for example a CFItem, as a node in the association graph."""

    kind: str
    path: str
    body: Json
    identifier: str | None = field(init=False)
    """None if it is not a string."""

    def __post_init__(self) -> None:
        self.identifier = get_string(self.body, "identifier")


class Edge(NamedTuple):
    """An edge of a graph of entities, from the node ``origin`` to the node ``destination``.

    Both are identifiers. ``node`` is the CFAssociation that the edge represents, and ``type`` its
    association type.
    """

    node: Node
    type: str
    origin: str
    destination: str


def get_string(body: Json, name: str) -> str | None:
    """Return the value of a JSON object's field if it is a string, or else None."""
    value = body.get(name)
    return value if isinstance(value, str) else None


def get_values(body: Json, name: str, value_type: type[T]) -> list[T]:
    """Return the members of a field's array, or the field's only value, as a list.

    Leaves out values that are not of ``value_type``. Returns [] if the field is missing.
    """
    value = body.get(name)
    values = value if isinstance(value, list) else [value]
    return [value for value in values if isinstance(value, value_type)]


def get_link_identifiers(body: Json, name: str) -> list[str]:
    """Return the identifiers of the links in a field of an entity's JSON.

    The field may contain an array or one link. Anything else in it is ignored.
    """
    # Without the helpers above: this runs four times for each association of a package.
    value = body.get(name)
    links = value if isinstance(value, list) else (value,)
    identifiers = (link.get("identifier") for link in links if isinstance(link, dict))
    return [identifier for identifier in identifiers if isinstance(identifier, str)]


class PackageIndex:
    """Looks up the entities of a package by class, by identifier and by position in the tree.

    ``nodes`` are all entities, including CFAssociations. ``edges`` are the links between nodes, by
    default one for each CFAssociation. If several entities share an identifier, ``by_identifier``
    contains the first.
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

    def get_nodes_by_kind(self, *kinds: str) -> list[Node]:
        """Return all nodes of the given kinds, which are class names such as ``"CFItem"``."""
        return [node for kind in kinds for node in self._nodes_by_kind[kind]]

    @property
    def document(self) -> Node | None:
        """The CFDocument of the package, or None if it has none."""
        return next(iter(self._nodes_by_kind["CFDocument"]), None)

    @property
    def definitions(self) -> list[Node]:
        """The nodes of all entities in CFDefinitions: concepts, subjects, licenses and others."""
        return self.get_nodes_by_kind(*(resource.name for resource in DEFINITIONS))

    @cached_property
    def edges(self) -> list[Edge]:
        """All associations as edges, except invalid ones, which lack a type or one end."""
        edges = []
        for node in self.get_nodes_by_kind("CFAssociation"):
            kind = get_string(node.body, "associationType")
            origins, destinations = (get_link_identifiers(node.body, name) for name in NODE_FIELDS)
            if kind is not None and origins and destinations:
                edges.append(Edge(node, kind, origins[0], destinations[0]))
        return edges

    @cached_property
    def tree_edges(self) -> list[Edge]:
        """The edges of isChildOf associations, except those that connect a node to itself."""
        edges = self.edges
        return [
            edge for edge in edges if edge.type == IS_CHILD_OF and edge.origin != edge.destination
        ]

    @cached_property
    def edges_by_child(self) -> dict[str, list[Edge]]:
        """The edges of the tree, as a dict by the identifier of their child node."""
        return _group_by("origin", self.tree_edges)

    @cached_property
    def edges_by_parent(self) -> dict[str, list[Edge]]:
        """The edges of the tree, as a dict by the identifier of their parent node."""
        return _group_by("destination", self.tree_edges)

    @cached_property
    def tree_node_identifiers(self) -> set[str]:
        """The identifiers of all entities that can be in the tree: the document and the items."""
        nodes = self.get_nodes_by_kind("CFDocument", "CFItem")
        return {node.identifier for node in nodes if node.identifier is not None}

    def format_label(self, identifier: str) -> str:
        """Return the code or title of a node, or else its identifier, for use in a message."""
        node = self.by_identifier.get(identifier)
        fields = ("humanCodingScheme", "abbreviatedStatement", "title") if node else ()
        names = (get_string(node.body, field) for field in fields if node)
        return next((name for name in names if name and name.strip()), identifier)


def _group_by(end: str, edges: list[Edge]) -> dict[str, list[Edge]]:
    groups: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        groups[getattr(edge, end)].append(edge)
    return dict(groups)
