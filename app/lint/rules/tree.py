"""Rules for the tree of isChildOf associations and the order of siblings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ...case.vocabulary import IS_CHILD_OF
from ..package_index import Edge, PackageIndex, get_string
from ..violation import Finding

MAX_LISTED_NODES = 8


def find_self_loops(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each association whose origin and destination are the same node."""
    for edge in index.edges:
        if edge.origin == edge.destination:
            message = f"{edge.type} from {index.format_label(edge.origin)} to itself"
            yield Finding(edge.node, "destinationNodeURI", message)


def find_documents_used_as_children(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each isChildOf association whose child is the document.

    The document is the root of the tree, so the origin and destination of such an association may
    be swapped.
    """
    root = index.document
    for edge in index.edges_by_child.get((root and root.identifier) or "", []):
        message = (
            f"makes the document a child of {index.format_label(edge.destination)}; "
            "origin and destination may be swapped"
        )
        yield Finding(edge.node, "originNodeURI", message)


def find_cycles(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each isChildOf association that closes a cycle.

    This is a depth-first search from each child towards its ancestors.
    """
    visited: set[str] = set()
    for start in index.edges_by_child:
        if start in visited:
            continue
        path: list[str] = []
        depth: dict[str, int] = {}
        pending_nodes: list[tuple[str, Edge | None, int]] = [(start, None, 0)]
        while pending_nodes:
            node, edge, level = pending_nodes.pop()
            for child in path[level:]:
                del depth[child]
                visited.add(child)
            del path[level:]
            if node in depth:
                assert edge
                message = _describe_cycle(index, path[depth[node] :])
                yield Finding(edge.node, "destinationNodeURI", message)
            elif node not in visited:
                depth[node] = level
                path.append(node)
                edges = reversed(index.edges_by_child.get(node, []))
                pending_nodes += [
                    (parent_edge.destination, parent_edge, level + 1) for parent_edge in edges
                ]
        visited.update(path)


def _describe_cycle(index: PackageIndex, nodes: list[str]) -> str:
    labels = [index.format_label(node) for node in nodes]
    if len(labels) > MAX_LISTED_NODES:
        labels[MAX_LISTED_NODES - 1 : -1] = [f"… {len(labels) - MAX_LISTED_NODES:,} more …"]
    return f"closes a cycle: {' > '.join([*labels, labels[0]])}"


def find_nodes_with_several_parents(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each document or item with more than one parent."""
    for child, edges in index.edges_by_child.items():
        parents = list(dict.fromkeys(edge.destination for edge in edges))
        if len(parents) > 1 and child in index.by_identifier:
            labels = ", ".join(index.format_label(parent) for parent in parents[:MAX_LISTED_NODES])
            message = f"{index.format_label(child)} has {len(parents):,} parents: {labels}"
            yield Finding(index.by_identifier[child], "", message)


def find_orphans(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each item that is not the child of any node.

    Tree views do not show such items.
    """
    for item in index.get_nodes_by_kind("CFItem"):
        if item.identifier is not None and item.identifier not in index.edges_by_child:
            count = len(index.edges_by_parent.get(item.identifier, []))
            noun = "child is" if count == 1 else "children are"
            suffix = f"; its {count:,} {noun} cut off from the document as well" if count else ""
            yield Finding(item, "", f"no {IS_CHILD_OF} association starts at it{suffix}")


def find_dangling_tree_edges(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each end of an isChildOf association that is not in the package."""
    for edge in index.tree_edges:
        if edge.origin not in index.tree_node_identifiers:
            message = f"no item of this package has the identifier {edge.origin}"
            yield Finding(edge.node, "originNodeURI", message)
        if edge.destination not in index.tree_node_identifiers:
            message = f"neither the document nor an item has the identifier {edge.destination}"
            yield Finding(edge.node, "destinationNodeURI", message)


def find_duplicate_sequence_numbers(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each sequence number that several children of a parent have."""
    for parent, edges in index.edges_by_parent.items():
        by_number: dict[int, list[Edge]] = defaultdict(list)
        for edge in edges:
            number = edge.node.body.get("sequenceNumber")
            if type(number) is int:  # no boolean, which is an int in Python, too
                by_number[number].append(edge)
        for number, tied_edges in by_number.items():
            if len({edge.origin for edge in tied_edges}) > 1:
                label = index.format_label(parent)
                message = f"{len(tied_edges):,} children of {label} have number {number}"
                yield Finding(tied_edges[1].node, "sequenceNumber", message)


def find_missing_sequence_numbers(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each parent with both numbered and unnumbered children.

    The finding is at the first association without a ``sequenceNumber``.
    """
    for parent, edges in index.edges_by_parent.items():
        unnumbered = [edge for edge in edges if "sequenceNumber" not in edge.node.body]
        if unnumbered and len(unnumbered) < len(edges):
            children = f"{len(edges):,} children of {index.format_label(parent)}"
            message = f"{len(unnumbered):,} of the {children} have no number"
            yield Finding(unnumbered[0].node, "sequenceNumber", message)


def find_duplicate_statements(index: PackageIndex) -> Iterator[Finding]:
    """Yield a finding for each child that has the statement of an earlier child of its parent.

    Letter case and white space are ignored.
    """
    for parent, edges in index.edges_by_parent.items():
        first_origins: dict[str, str] = {}
        for edge in edges:
            item = index.by_identifier.get(edge.origin)
            statement = get_string(item.body, "fullStatement") if item else None
            statement_key = " ".join((statement or "").split()).casefold()
            if (
                item
                and statement_key
                and first_origins.setdefault(statement_key, edge.origin) != edge.origin
            ):
                other = index.by_identifier[first_origins[statement_key]].path
                message = f"same statement as {other}, also a child of {index.format_label(parent)}"
                yield Finding(item, "fullStatement", message)
