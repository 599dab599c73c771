"""Pages to browse frameworks: list, tree, item, search, and JSON of the API profiles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..api.dependencies import get_app_state
from ..case.resources import DOCUMENTS, ITEMS
from ..db.pool import Database
from ..db.read import entities, tree
from ..db.read.lists import frameworks, search
from ..exceptions import NotFound
from . import auth
from .api_examples import list_json_links, render_json_page
from .attributes import (
    MAX_LISTED_ASSOCIATIONS,
    collect_related_identifiers,
    fetch_document,
    get_short_title,
    group_relations,
    parse_entity_attributes,
)
from .pages import Offset, PageRoute, fetch_page_and_total, is_fragment_request, render_page

PAGE_SIZE = 20
"""Number of frameworks or search results on a page."""

MAX_SHOWN_CHILDREN = 200
"""Number of children of a node that are shown at once; a link loads the others."""

router = APIRouter(route_class=PageRoute, dependencies=[Depends(auth.require_read_scope)])


@router.get("/")
async def show_frameworks(request: Request, q: str = "", offset: Offset = 0) -> Response:
    """Show a page of the frameworks whose title, creator or publisher contains ``q``.

    If ``q`` is empty, all frameworks are listed. ``offset`` is the number of them to skip.
    """
    database = get_app_state(request).database
    fetch = partial(frameworks.list_frameworks, database, q.strip())
    rows, total = await fetch_page_and_total(fetch, PAGE_SIZE, offset)
    return await render_page(
        request,
        "frameworks.html",
        title="Frameworks",
        frameworks=[(parse_entity_attributes(row["body"]), row["items"]) for row in rows],
        total=total,
        q=q,
        offset=offset,
        page_size=PAGE_SIZE,
    )


@router.get("/search")
async def search_items(
    request: Request, q: str = "", document: str = "", offset: Offset = 0
) -> Response:
    """Show the items that contain all words of ``q``, each with its ancestors in the tree.

    ``document`` limits the search to one framework.
    """
    database = get_app_state(request).database
    framework_title = (await fetch_document(database, document))["title"] if document else ""
    # One more than fits on the page tells whether there is a next page.
    rows = await search.search_items(database, q, document or None, PAGE_SIZE + 1, offset)
    items = rows[:PAGE_SIZE]
    paths = await tree.fetch_ancestors(database, [item["identifier"] for item in items])
    return await render_page(
        request,
        "search.html",
        title=f"Search: {q}" if q else "Search",
        q=q,
        document=document,
        framework_title=framework_title,
        results=[(item, paths[item["identifier"]]) for item in items],
        offset=offset,
        next_offset=offset + PAGE_SIZE if len(rows) > PAGE_SIZE else None,
    )


@router.get("/documents/{document}")
async def show_document(request: Request, document: str, offset: Offset = 0) -> Response:
    """Show a framework: its tree of items and the attributes of its document.

    ``offset`` is the number of top-level items to skip.
    """
    database = get_app_state(request).database
    attributes = await fetch_document(database, document)
    return await render_page(
        request,
        "document.html",
        title=attributes["title"],
        document=attributes,
        tree=await fetch_tree(database, document, [], offset),
        items=await frameworks.count_items(database, document),
        selected=None,
        json_links=list_json_links("documents", document),
    )


@router.get("/documents/{document}/items/{item}")
async def show_item(request: Request, document: str, item: str, listed: str = "") -> Response:
    """Show an item next to the framework's tree, which is expanded down to the item.

    With ``listed=all``, shows all associations of the item, by default only the first 300.
    """
    database = get_app_state(request).database
    framework = await fetch_document(database, document)
    raw_item, raw_associations = await entities.get_item_with_associations(database, item)
    attributes = parse_entity_attributes(raw_item)
    if attributes["CFDocumentURI"]["identifier"] != document:
        raise NotFound("CFItem in this framework", item, "its tree shows all items")
    associations = [parse_entity_attributes(raw) for raw in raw_associations]
    limit = None if listed == "all" else MAX_LISTED_ASSOCIATIONS
    shown_associations = associations[:limit]
    identifiers = sorted(collect_related_identifiers(item, shown_associations))
    node_details, paths = await asyncio.gather(
        entities.fetch_node_details(database, identifiers), tree.fetch_ancestors(database, [item])
    )
    ancestors = paths[item]
    values: dict[str, Any] = {
        "document": framework,
        "item": attributes,
        "ancestors": ancestors,
        "relations": group_relations(item, shown_associations, node_details),
        "unlisted": len(associations) - len(shown_associations),
        "json_links": list_json_links("documents", document, "items", item),
        "selected": item,
    }
    if not is_fragment_request(request):
        path = [*(ancestor["identifier"] for ancestor in ancestors), item]
        values["tree"] = await fetch_tree(database, document, path)
    title = f"{get_short_title(attributes)} · {framework['title']}"
    return await render_page(request, "item.html", title=title, **values)


@router.get("/documents/{document}/children/{node}")
async def render_children(
    request: Request, document: str, node: str, offset: Offset = 0, level: int = 1
) -> Response:
    """Render the children of a tree node as HTML, which a script inserts into the page's tree.

    ``node`` is the identifier of an item, or of the document for the top level. ``offset`` is the
    number of children to skip; ``level`` is 1 for children at the top level.
    """
    database = get_app_state(request).database
    attributes = await fetch_document(database, document)
    if node == document:
        rows = await tree.fetch_roots(database, document, [], MAX_SHOWN_CHILDREN, offset)
    else:
        rows = await tree.fetch_children(database, document, [node], MAX_SHOWN_CHILDREN, offset)
    return await render_page(
        request,
        "children.html",
        title=attributes["title"],
        document=attributes,
        tree=_build_child_list(node, rows, level, offset, set()),
        selected=None,
    )


@router.get("/documents/{document}/json")
async def show_document_json(request: Request, document: str, profile: str = "") -> Response:
    """Show the JSON of a document in an API profile, with a curl command and an SDK call.

    ``profile`` is the name of the profile, by default the first one.
    """
    return await render_json_page(request, DOCUMENTS, ("documents", document), profile)


@router.get("/documents/{document}/items/{item}/json")
async def show_item_json(request: Request, document: str, item: str, profile: str = "") -> Response:
    """Show the JSON of an item in an API profile, with a curl command and an SDK call.

    ``profile`` is the name of the profile, by default the first one.
    """
    await fetch_document(get_app_state(request).database, document)
    segments = ("documents", document, "items", item)
    return await render_json_page(request, ITEMS, segments, profile)


@dataclass
class TreeNode:
    """An item in a framework's tree, and its children if it is expanded."""

    item: Any
    """The item's values and its position among its siblings, as ``db.read.tree`` returns them."""
    level: int
    children: ChildList | None = None


@dataclass
class ChildList:
    """The child nodes of an item or document that a page shows, and how many it does not show."""

    parent: str
    """Identifier of that item or document."""
    nodes: list[TreeNode]
    next_offset: int
    hidden_count: int
    """Number of children from ``next_offset`` on, which are not shown."""


async def fetch_tree(
    database: Database, document: str, expanded: Sequence[str], offset: int = 0
) -> ChildList:
    """Return a framework's tree as a ``ChildList`` with the top level and one expanded branch.

    ``expanded`` contains the identifiers on the path from the top level to the item whose children
    are shown, including that item. ``offset`` is the number of top-level items to skip.
    """
    # Concurrently, because in a large framework the top level takes longest.
    roots, descendants = await asyncio.gather(
        tree.fetch_roots(database, document, expanded, MAX_SHOWN_CHILDREN, offset),
        tree.fetch_children(database, document, expanded, MAX_SHOWN_CHILDREN),
    )
    return _build_child_list(document, [*roots, *descendants], 1, offset, set(expanded))


def _build_child_list(
    parent: str, rows: Sequence[Any], level: int, offset: int, expanded: set[str]
) -> ChildList:
    children = [row for row in rows if row["parent"] == parent]
    nodes = [TreeNode(row, level) for row in children]
    for node in nodes:
        identifier = node.item["identifier"]
        if identifier in expanded and node.item["child_count"]:
            # Without the node itself, because items can be their own ancestors.
            other_identifiers = expanded - {identifier}
            node.children = _build_child_list(identifier, rows, level + 1, 0, other_identifiers)
    end = offset + MAX_SHOWN_CHILDREN
    total = children[0]["total"] if children else 0
    return ChildList(parent, nodes, end, max(0, total - end))
