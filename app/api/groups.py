"""A framework as a tree: items grouped by CFItemType, children under their parents.

An item with several parents stands under each of them, but its own children are written out only
where it is met first; so cycles end, and the answer never outgrows the framework. Items that only
a cycle reaches start from the first of them. Written without recursion: depth has no limit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import orjson

from .shapes import Body

Task: TypeAlias = bytes | tuple[str]
"""Something to write: bytes as they are, or (an item's identifier,)."""

UNTYPED = "unknown"
"""The group of items that say no CFItemType, as the vendor's API names it."""


def structured_content(items: Iterable[Body], associations: Iterable[Body]) -> Iterator[bytes]:
    """The JSON object of root items by CFItemType, each with its ``childGroups``."""
    tree = _Tree({item["identifier"]: item for item in items}, associations)
    tasks: list[Task] = [*reversed(tree.group(tree.roots()))]
    written: set[str] = set()
    while tasks:
        task = tasks.pop()
        if isinstance(task, bytes):
            yield task
            continue
        (identifier,) = task
        children = () if identifier in written else tree.children.get(identifier, ())
        written.add(identifier)
        yield orjson.dumps(tree.items[identifier])[:-1] + b',"childGroups":'
        tasks += [b"}", *reversed(tree.group(children))]


class _Tree:
    """Items, and which of them are children of which."""

    def __init__(self, items: dict[str, Body], associations: Iterable[Body]) -> None:
        self.items = items
        self.children = self._children(associations)

    def _children(self, associations: Iterable[Body]) -> dict[str, list[str]]:
        """The children of each item: by sequenceNumber, then by humanCodingScheme."""
        found: dict[str, list[tuple[float, str, int, str]]] = defaultdict(list)
        for order, one in enumerate(associations):
            child = one["originNodeURI"]["identifier"]
            parent = one["destinationNodeURI"]["identifier"]
            if one["associationType"] == "isChildOf" and {child, parent} <= self.items.keys():
                place = one.get("sequenceNumber", float("inf"))
                code = self.items[child].get("humanCodingScheme", "")
                found[parent].append((place, code, order, child))
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
            kind = self.items[identifier].get("CFItemType", UNTYPED)
            groups.setdefault(kind, []).append(identifier)
        tasks: list[Task] = [b"{"]
        for kind, members in groups.items():
            tasks += [b"," if len(tasks) > 1 else b"", orjson.dumps(kind) + b":["]
            for place, identifier in enumerate(members):
                tasks += [b"," if place else b"", (identifier,)]
            tasks.append(b"]")
        return [*tasks, b"}"]
