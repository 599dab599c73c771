"""The tree of a framework as the lines that are shown: which are open, and what is below them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..db.read import tree

if TYPE_CHECKING:
    from ..db.pool import Database

SHOWN = 200
"""How many children of a node are shown at once; a link leads to the others."""


@dataclass
class Line:
    """One item in the tree."""

    identifier: str
    code: str | None
    statement: str
    kind: str | None
    count: int
    """How many children it has."""
    level: int
    place: int
    total: int
    branch: Branch | None = None
    """Its children, when it is open."""


@dataclass
class Branch:
    """The children of one node that are shown."""

    parent: str
    lines: list[Line] = field(default_factory=list)
    more: int | None = None
    """Where to go on, when there are others."""
    left: int = 0
    """How many others."""


async def open_tree(
    database: Database, document: str, way: Sequence[str], offset: int = 0
) -> Branch:
    """The roots of a document, open along a way of items from a root down."""
    # At once: in a large framework the roots take longest.
    found, below = await asyncio.gather(
        tree.fetch_roots(database, document, way, SHOWN, offset),
        tree.fetch_children(database, document, way, way, SHOWN),
    )
    return _branch(document, [*found, *below], 1, offset, set(way))


async def children(
    database: Database, document: str, parent: str, level: int, offset: int
) -> Branch:
    """The children of an item, or the roots of a document, from an offset on."""
    if parent == document:
        found = await tree.fetch_roots(database, document, [], SHOWN, offset)
    else:
        found = await tree.fetch_more_children(database, document, parent, SHOWN, offset)
    return _branch(parent, found, level, offset, set())


def _branch(
    parent: str, records: Iterable[Any], level: int, offset: int, opened: set[str]
) -> Branch:
    records = list(records)
    own = [record for record in records if record["parent"] == parent]
    branch = Branch(parent)
    for record in own:
        line = Line(
            identifier=record["identifier"],
            code=record["code"],
            statement=record["statement"],
            kind=record["item_type"],
            count=record["child_count"],
            level=level,
            place=record["position"],
            total=record["total"],
        )
        if line.identifier in opened and line.count:
            rest = opened - {line.identifier}
            line.branch = _branch(line.identifier, records, level + 1, 0, rest)
        branch.lines.append(line)
    end = offset + SHOWN
    if own and own[0]["total"] > end:
        branch.more, branch.left = end, own[0]["total"] - end
    return branch
