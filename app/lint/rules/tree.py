"""Rules about the tree that isChildOf makes, and the order of its branches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..package_index import CHILD, Edge, Facts, number, text
from ..violation import Hit

SHOWN = 8
"""How many members of a cycle are named."""


def self_associations(facts: Facts) -> Iterator[Hit]:
    """Associations from a node to itself."""
    for edge in facts.edges:
        if edge.origin == edge.destination:
            message = f"{edge.type} from {facts.name(edge.origin)} to itself"
            yield Hit(edge.node, "destinationNodeURI", message)


def documents_as_children(facts: Facts) -> Iterator[Hit]:
    """The root, made the child of something."""
    root = facts.document
    for edge in facts.parents.get((root and root.identifier) or "", []):
        message = (
            f"the document is made a child of {facts.name(edge.destination)}; "
            "origin and destination may have changed places"
        )
        yield Hit(edge.node, "originNodeURI", message)


def cycles(facts: Facts) -> Iterator[Hit]:
    """Nodes that are their own ancestors: one hit for each branch that closes a circle."""
    done: set[str] = set()
    for start in facts.parents:
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
                yield Hit(edge.node, "destinationNodeURI", _circle(facts, way[depth[here] :]))
            elif here not in done:
                depth[here] = level
                way.append(here)
                up = reversed(facts.parents.get(here, []))
                pending += [(one.destination, one, level + 1) for one in up]
        done.update(way)


def _circle(facts: Facts, members: list[str]) -> str:
    names = [facts.name(member) for member in members]
    if len(names) > SHOWN:
        names[SHOWN - 1 : -1] = [f"… {len(names) - SHOWN:,} more …"]
    return f"closes a circle: {' > '.join([*names, names[0]])}"


def several_parents(facts: Facts) -> Iterator[Hit]:
    """Nodes that hang in more than one place."""
    for child, edges in facts.parents.items():
        parents = list(dict.fromkeys(edge.destination for edge in edges))
        if len(parents) > 1 and child in facts.known:
            names = ", ".join(facts.name(parent) for parent in parents[:SHOWN])
            message = f"{facts.name(child)} has {len(parents):,} parents: {names}"
            yield Hit(facts.known[child], "", message)


def orphans(facts: Facts) -> Iterator[Hit]:
    """Items that hang nowhere."""
    for item in facts.of("CFItem"):
        if item.identifier is not None and item.identifier not in facts.parents:
            below = len(facts.children.get(item.identifier, []))
            children = f", nor have its {below:,} children a way to it" if below else ""
            yield Hit(item, "", f"no {CHILD} leads from it to the document{children}")


def unknown_parents(facts: Facts) -> Iterator[Hit]:
    """Branches whose ends are not in the package."""
    for edge in facts.branches:
        if edge.origin not in facts.places:
            message = f"no item of this package has the identifier {edge.origin}"
            yield Hit(edge.node, "originNodeURI", message)
        if edge.destination not in facts.places:
            message = f"neither the document nor an item has the identifier {edge.destination}"
            yield Hit(edge.node, "destinationNodeURI", message)


def sequence_ties(facts: Facts) -> Iterator[Hit]:
    """Siblings whose order is left open by equal numbers."""
    for parent, edges in facts.children.items():
        tied: dict[int, list[Edge]] = defaultdict(list)
        for edge in edges:
            if (position := number(edge.node.body, "sequenceNumber")) is not None:
                tied[position].append(edge)
        for position, same in tied.items():
            if len({edge.origin for edge in same}) > 1:
                message = f"{len(same):,} children of {facts.name(parent)} have number {position}"
                yield Hit(same[1].node, "sequenceNumber", message)


def missing_sequence(facts: Facts) -> Iterator[Hit]:
    """Siblings without a number beside others that have one."""
    for parent, edges in facts.children.items():
        without = [edge for edge in edges if "sequenceNumber" not in edge.node.body]
        if without and len(without) < len(edges):
            message = (
                f"{len(without):,} of the {len(edges):,} children of {facts.name(parent)} "
                "have no number"
            )
            yield Hit(without[0].node, "sequenceNumber", message)


def duplicate_statements(facts: Facts) -> Iterator[Hit]:
    """Siblings that say the same."""
    for parent, edges in facts.children.items():
        first: dict[str, str] = {}
        for edge in edges:
            item = facts.known.get(edge.origin)
            statement = text(item.body, "fullStatement") if item else None
            said = " ".join((statement or "").split()).casefold()
            if item and said and first.setdefault(said, edge.origin) != edge.origin:
                other = facts.known[first[said]].path
                message = f"{other}, under {facts.name(parent)} too, says the same"
                yield Hit(item, "fullStatement", message)
