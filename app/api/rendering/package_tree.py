"""A framework as a tree: items grouped by CFItemType, children under their parents.

An item with several parents stands under each of them, but its own children are written out only
where it is met first; so cycles end, and the answer never outgrows the framework. Items that only
a cycle reaches start from the first of them. Written without recursion: depth has no limit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import msgspec
import orjson

Task: TypeAlias = bytes | tuple[str]
"""Something to write: bytes as they are, or the item of an identifier with its children."""

LEAF = b',"childGroups":{}}'
"""How an item ends that has no children."""

PARTS = 1500
"""Of how many parts a piece is made: of each item there are some three."""

UNTYPED = "unknown"
"""The group of items that say no CFItemType, as the vendor's API names it."""


class TreeItem(NamedTuple):
    """An item of the tree: what places it there, and what is written of it."""

    code: str
    kind: str
    open: bytes
    """A JSON object but for its closing brace: the groups of its children come before that."""


class _Said(msgspec.Struct, rename={"code": "humanCodingScheme", "kind": "CFItemType"}):
    """What a stored item says of its place."""

    identifier: str
    code: str = ""
    kind: str = UNTYPED


class _End(msgspec.Struct):
    identifier: str


RELATION = {
    "kind": "associationType",
    "child": "originNodeURI",
    "parent": "destinationNodeURI",
    "place": "sequenceNumber",
}


class AssociationFields(msgspec.Struct, rename=RELATION):
    """What a stored association says, if it is one of a child to its parent."""

    kind: str
    child: _End
    parent: _End
    place: int | float = float("inf")


# Only what the tree asks of them is read of the bodies: they are many.
_SAID = msgspec.json.Decoder(_Said)
_RELATION = msgspec.json.Decoder(AssociationFields)


def parse_item(body: str, open_object: bytes) -> tuple[str, TreeItem]:
    """The identifier of a stored item, and its part of the tree."""
    said = _SAID.decode(body)
    return said.identifier, TreeItem(said.code, said.kind, open_object)


def parse_association(body: str) -> AssociationFields:
    """What a stored association relates."""
    return _RELATION.decode(body)


def iter_tree_json(
    items: dict[str, TreeItem], relations: Iterable[AssociationFields]
) -> Iterator[bytes]:
    """The JSON object of root items by CFItemType, each with its ``childGroups``, in pieces.

    ``items`` by identifier, ``relations`` in the order of the framework.
    """
    tree = _Tree(items, relations)
    tasks: list[Task] = [*reversed(tree.group(tree.roots()))]
    written: set[str] = set()
    parts: list[bytes] = []
    while tasks:
        task = tasks.pop()
        if isinstance(task, bytes):
            parts.append(task)
        else:
            (identifier,) = task
            children = () if identifier in written else tree.children[identifier]
            written.add(identifier)
            parts += (tree.items[identifier].open, b',"childGroups":')
            tasks += [b"}", *reversed(tree.group(children))]
        if len(parts) >= PARTS:
            yield b"".join(parts)
            parts = []
    yield b"".join(parts)


class _Tree:
    """Items, and which of them are children of which."""

    def __init__(self, items: dict[str, TreeItem], relations: Iterable[AssociationFields]) -> None:
        self.items = items
        self.children = self._children(relations)

    def _children(self, relations: Iterable[AssociationFields]) -> dict[str, list[str]]:
        """The children of each item: by sequenceNumber, then by humanCodingScheme."""
        found: dict[str, list[tuple[float, str, int, str]]] = defaultdict(list)
        for order, one in enumerate(relations):
            child, parent = one.child.identifier, one.parent.identifier
            if one.kind == "isChildOf" and child in self.items and parent in self.items:
                found[parent].append((one.place, self.items[child].code, order, child))
        return {parent: [child for *_, child in sorted(found[parent])] for parent in found}

    def roots(self) -> list[str]:
        """Items without a parent, then one for each part that only a cycle reaches."""
        parented = {child for children in self.children.values() for child in children}
        roots = [identifier for identifier in self.items if identifier not in parented]
        reached: set[str] = set()
        self._reach(roots, reached)
        for identifier in self.items:
            if identifier not in reached:
                roots.append(identifier)
                self._reach([identifier], reached)
        return roots

    def _reach(self, start: Iterable[str], reached: set[str]) -> None:
        waiting = list(start)
        while waiting:
            identifier = waiting.pop()
            if identifier not in reached:
                reached.add(identifier)
                waiting += self.children.get(identifier, ())

    def group(self, identifiers: Iterable[str]) -> list[Task]:
        """What to write for a list of items: an object of lists, by CFItemType."""
        groups: dict[str, list[str]] = {}
        for identifier in identifiers:
            groups.setdefault(self.items[identifier].kind, []).append(identifier)
        tasks: list[Task] = [b"{"]
        for kind, members in groups.items():
            tasks += (b"," if len(tasks) > 1 else b"", orjson.dumps(kind) + b":[")
            for member in members:
                if member in self.children:
                    tasks.append((member,))
                else:
                    # Most have no children, and need no second look.
                    tasks += (self.items[member].open, LEAF)
                tasks.append(b",")
            tasks[-1] = b"]"
        return [*tasks, b"}"]
