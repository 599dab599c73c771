"""Rendering of a framework as a tree: items by CFItemType, children below their parents.

An item with several parents appears below each of them, but its children only at its first
appearance; this ends cycles and keeps the tree no larger than the framework. Of items that only a
cycle reaches, the first one becomes a root. There is no recursion, so depth is not limited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple, TypeAlias

import msgspec
import orjson
from anyio import to_thread

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ...db.read.package import FrameworkSnapshot
from ...query import pagination
from .renderer import Renderer

Write: TypeAlias = bytes | str
"""Something to write: JSON, or the identifier of an item that is followed by its children."""

NO_CHILDREN = b',"childGroups":{}}'
"""The end of an item without children."""

PARTS_PER_CHUNK = 1500
"""Parts joined into one chunk; an item has about three."""

UNTYPED_GROUP = "unknown"
"""Group of the items without CFItemType, as TimeBack's API names it."""


class TreeItem(NamedTuple):
    """An item of the package tree: its JSON, and the fields that determine its position."""

    code: str
    item_type: str
    unclosed_json: bytes
    """The JSON object without its closing brace, before which ``childGroups`` is added."""


class _ItemFields(msgspec.Struct, rename={"code": "humanCodingScheme", "item_type": "CFItemType"}):
    identifier: str
    code: str = ""
    item_type: str = UNTYPED_GROUP


class _NodeReference(msgspec.Struct):
    identifier: str


class TreeAssociation(
    msgspec.Struct,
    rename={
        "association_type": "associationType",
        "origin": "originNodeURI",
        "destination": "destinationNodeURI",
        "sequence_number": "sequenceNumber",
    },
):
    """An association of the package tree: the fields that determine an item's parent and order.

    The origin of an ``isChildOf`` association is the child, and the destination is the parent.
    """

    association_type: str
    origin: _NodeReference
    destination: _NodeReference
    sequence_number: int | float = float("inf")


# Only the fields that the tree needs are decoded, because a framework has many entities.
_ITEM_DECODER = msgspec.json.Decoder(_ItemFields)
parse_tree_association = msgspec.json.Decoder(TreeAssociation).decode
"""Parses a stored association's JSON into a ``TreeAssociation``."""


def parse_tree_item(body: str, unclosed_json: bytes) -> tuple[str, TreeItem]:
    """Parse a stored item for the package tree and return (identifier, ``TreeItem``).

    ``body`` is the stored JSON. ``unclosed_json`` is the item's JSON as the API profile returns it,
    without its closing brace, so that ``childGroups`` can be appended.
    """
    fields = _ITEM_DECODER.decode(body)
    return fields.identifier, TreeItem(fields.code, fields.item_type, unclosed_json)


async def iter_tree_chunks(
    renderer: Renderer, framework: FrameworkSnapshot, fields: tuple[str, ...] | None
) -> AsyncIterator[bytes]:
    """Yield the JSON of a CFPackageWithGroups in chunks of bytes; the tree is its last member.

    ``fields`` are the top-level members to include, such as CFDocument; None means all.
    """
    (document,) = await renderer.to_package_objects(DOCUMENTS, [framework.document])
    items: dict[str, TreeItem] = {}
    async for bodies in framework.iter_bodies(ITEMS, prefetch=True):
        unclosed_objects = await renderer.render_unclosed_objects(ITEMS, bodies)
        items.update(map(parse_tree_item, bodies, unclosed_objects))
    batches = framework.iter_bodies(ASSOCIATIONS, prefetch=True)
    associations = [parse_tree_association(body) async for bodies in batches for body in bodies]
    identifier = renderer.get_package_identifier(framework)
    head = {"identifier": identifier, "sourcedId": identifier, "CFDocument": document}
    selected = pagination.select_fields(head, fields)
    yield b'{"CFPackageWithGroups":{' if renderer.profile.wraps else b"{"
    yield orjson.dumps(selected)[1:-1]
    if fields is None or "structuredContent" in fields:
        yield b',"structuredContent":' if selected else b'"structuredContent":'
        tree = iter_tree_json(items, associations)
        # Each chunk is built in a thread, because a large tree would block the event loop.
        while chunk := await to_thread.run_sync(next, tree, b""):
            yield chunk
    yield b"}}" if renderer.profile.wraps else b"}"


def iter_tree_json(
    items: dict[str, TreeItem], associations: Iterable[TreeAssociation]
) -> Iterator[bytes]:
    """Yield the JSON of the package tree in chunks: ``{"Standard": [{…}], "Component": [{…}]}``.

    The keys are CFItemTypes, the values root items. The children of each item are nested in the
    same form in its ``childGroups``. ``items`` are keyed by identifier; ``associations`` are in the
    order of the framework.
    """
    children = _group_children_by_parent(items, associations)
    stack: list[Write] = [*reversed(_render_groups(_find_roots(items, children), items, children))]
    expanded_items: set[str] = set()
    parts: list[bytes] = []
    while stack:
        write = stack.pop()
        if isinstance(write, bytes):
            parts.append(write)
        else:
            child_identifiers = () if write in expanded_items else children[write]
            expanded_items.add(write)
            parts += (items[write].unclosed_json, b',"childGroups":')
            stack += [b"}", *reversed(_render_groups(child_identifiers, items, children))]
        if len(parts) >= PARTS_PER_CHUNK:
            yield b"".join(parts)
            parts = []
    yield b"".join(parts)


def _group_children_by_parent(
    items: dict[str, TreeItem], associations: Iterable[TreeAssociation]
) -> dict[str, list[str]]:
    """Map each parent's identifier to its children's identifiers.

    The children are sorted by sequenceNumber, then humanCodingScheme.
    """
    children: dict[str, list[tuple[float, str, int, str]]] = defaultdict(list)
    for index, association in enumerate(associations):
        child, parent = association.origin.identifier, association.destination.identifier
        if association.association_type == "isChildOf" and child in items and parent in items:
            sort_key = (association.sequence_number, items[child].code, index)
            children[parent].append((*sort_key, child))
    return {parent: [child for *_, child in sorted(children[parent])] for parent in children}


def _find_roots(items: dict[str, TreeItem], children: dict[str, list[str]]) -> list[str]:
    """Return the identifiers of the root items, which have no parent.

    If items form a cycle that no root leads to, one of them also becomes a root, so that the tree
    contains every item.
    """
    with_parent = {child for siblings in children.values() for child in siblings}
    roots = [identifier for identifier in items if identifier not in with_parent]
    visited: set[str] = set()

    def visit(identifiers: Iterable[str]) -> None:
        pending_identifiers = list(identifiers)
        while pending_identifiers:
            identifier = pending_identifiers.pop()
            if identifier not in visited:
                visited.add(identifier)
                pending_identifiers += children.get(identifier, ())

    visit(roots)
    for identifier in items:
        if identifier not in visited:
            roots.append(identifier)
            visit([identifier])
    return roots


def _render_groups(
    identifiers: Iterable[str], items: dict[str, TreeItem], children: dict[str, list[str]]
) -> list[Write]:
    """Render the items ``identifiers`` as a JSON object with an array for each CFItemType.

    Returns the parts of the JSON in order, as bytes. An item that has children is not rendered: its
    identifier marks its place, and the caller replaces it.
    """
    groups: dict[str, list[str]] = {}
    for identifier in identifiers:
        groups.setdefault(items[identifier].item_type, []).append(identifier)
    writes: list[Write] = [b"{"]
    for item_type, members in groups.items():
        writes += (b"," if len(writes) > 1 else b"", orjson.dumps(item_type) + b":[")
        for member in members:
            if member in children:
                writes.append(member)
            else:
                # Most items have no children and are written at once.
                writes += (items[member].unclosed_json, NO_CHILDREN)
            writes.append(b",")
        writes[-1] = b"]"
    return [*writes, b"}"]
