"""Rules about the tree that isChildOf makes, and the order of its branches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..package_index import CHILD_OF, Edge, PackageIndex, get_integer, get_string
from ..violation import Match

MAX_CYCLE_NODES = 8
"""How many members of a cycle are named."""


def self_associations(index: PackageIndex) -> Iterator[Match]:
    """Associations from a node to itself."""
    for edge in index.edges:
        if edge.origin == edge.destination:
            message = f"{edge.type} from {index.label(edge.origin)} to itself"
            yield Match(edge.node, "destinationNodeURI", message)


def documents_as_children(index: PackageIndex) -> Iterator[Match]:
    """The root, made the child of something."""
    root = index.document
    for edge in index.parents.get((root and root.identifier) or "", []):
        message = (
            f"the document is made a child of {index.label(edge.destination)}; "
            "origin and destination may have changed places"
        )
        yield Match(edge.node, "originNodeURI", message)


def cycles(index: PackageIndex) -> Iterator[Match]:
    """Nodes that are their own ancestors: one match for each branch that closes a circle."""
    done: set[str] = set()
    for start in index.parents:
        way: list[str] = []
        depth: dict[str, int] = {}
        pending: list[tuple[str, Edge | None, int]] = [(start, None, 0)]
        while pending:
            here, edge, level = pending.pop()
            for left in way[level:]:
                del depth[left]
                done.add(left)
            del way[level:]
            if here in depth:
                assert edge
                yield Match(edge.node, "destinationNodeURI", _circle(index, way[depth[here] :]))
            elif here not in done:
                depth[here] = level
                way.append(here)
                up = reversed(index.parents.get(here, []))
                pending += [(one.destination, one, level + 1) for one in up]
        done.update(way)


def _circle(index: PackageIndex, members: list[str]) -> str:
    names = [index.label(member) for member in members]
    if len(names) > MAX_CYCLE_NODES:
        names[MAX_CYCLE_NODES - 1 : -1] = [f"… {len(names) - MAX_CYCLE_NODES:,} more …"]
    return f"closes a circle: {' > '.join([*names, names[0]])}"


def multiple_parents(index: PackageIndex) -> Iterator[Match]:
    """Nodes that hang in more than one place."""
    for child, edges in index.parents.items():
        parents = list(dict.fromkeys(edge.destination for edge in edges))
        if len(parents) > 1 and child in index.by_identifier:
            names = ", ".join(index.label(parent) for parent in parents[:MAX_CYCLE_NODES])
            message = f"{index.label(child)} has {len(parents):,} parents: {names}"
            yield Match(index.by_identifier[child], "", message)


def orphans(index: PackageIndex) -> Iterator[Match]:
    """Items that hang nowhere."""
    for item in index.of_kind("CFItem"):
        if item.identifier is not None and item.identifier not in index.parents:
            below = len(index.children.get(item.identifier, []))
            children = f", nor have its {below:,} children a way to it" if below else ""
            yield Match(item, "", f"no {CHILD_OF} leads from it to the document{children}")


def unknown_parents(index: PackageIndex) -> Iterator[Match]:
    """Branches whose ends are not in the package."""
    for edge in index.branches:
        if edge.origin not in index.tree_nodes:
            message = f"no item of this package has the identifier {edge.origin}"
            yield Match(edge.node, "originNodeURI", message)
        if edge.destination not in index.tree_nodes:
            message = f"neither the document nor an item has the identifier {edge.destination}"
            yield Match(edge.node, "destinationNodeURI", message)


def duplicate_sequence_numbers(index: PackageIndex) -> Iterator[Match]:
    """Siblings whose order is left open by equal numbers."""
    for parent, edges in index.children.items():
        tied: dict[int, list[Edge]] = defaultdict(list)
        for edge in edges:
            if (position := get_integer(edge.node.body, "sequenceNumber")) is not None:
                tied[position].append(edge)
        for position, same in tied.items():
            if len({edge.origin for edge in same}) > 1:
                message = f"{len(same):,} children of {index.label(parent)} have number {position}"
                yield Match(same[1].node, "sequenceNumber", message)


def missing_sequence_numbers(index: PackageIndex) -> Iterator[Match]:
    """Siblings without a number beside others that have one."""
    for parent, edges in index.children.items():
        without = [edge for edge in edges if "sequenceNumber" not in edge.node.body]
        if without and len(without) < len(edges):
            message = (
                f"{len(without):,} of the {len(edges):,} children of {index.label(parent)} "
                "have no number"
            )
            yield Match(without[0].node, "sequenceNumber", message)


def duplicate_statements(index: PackageIndex) -> Iterator[Match]:
    """Siblings that say the same."""
    for parent, edges in index.children.items():
        first: dict[str, str] = {}
        for edge in edges:
            item = index.by_identifier.get(edge.origin)
            statement = get_string(item.body, "fullStatement") if item else None
            said = " ".join((statement or "").split()).casefold()
            if item and said and first.setdefault(said, edge.origin) != edge.origin:
                other = index.by_identifier[first[said]].path
                message = f"{other}, under {index.label(parent)} too, says the same"
                yield Match(item, "fullStatement", message)
