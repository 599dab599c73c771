"""Pages to browse frameworks: list, tree, item, search, and JSON of the API profiles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request, Response

from ..api.dependencies import get_app_state
from ..case.resources import DOCUMENTS, ITEMS
from ..db.read import entities, frameworks, search, tree
from ..exceptions import NotFound
from . import api_examples, auth, relations
from .attributes import fetch_document, parse_entity_attributes
from .pages import Offset, PageRoute, is_fragment_request, render_page

if TYPE_CHECKING:
    from ..db.pool import Database

PAGE_SIZE = 20
"""Number of frameworks or search results on a page."""

MAX_SHOWN_CHILDREN = 200
"""Number of children of a node that are shown at once; a link loads the others."""

MAX_TITLE_CHARS = 60

router = APIRouter(route_class=PageRoute, dependencies=[Depends(auth.require_read_scope)])


@router.get("/")
async def list_frameworks(request: Request, q: str = "", offset: Offset = 0) -> Response:
    """List frameworks; if ``q`` is given, those whose title, creator or publisher contains it."""
    rows = await frameworks.list_frameworks(
        get_app_state(request).database, q.strip(), PAGE_SIZE, offset
    )
    return await render_page(
        request,
        "frameworks.html",
        title="Frameworks",
        frameworks=[(parse_entity_attributes(row["body"]), row["items"]) for row in rows],
        total=rows[0]["total"] if rows else 0,
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
        json_links=api_examples.list_json_links("documents", document),
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
    limit = None if listed == "all" else relations.MAX_LISTED_ASSOCIATIONS
    shown = associations[:limit]
    identifiers = sorted(relations.collect_related_identifiers(item, shown))
    locations, paths = await asyncio.gather(
        entities.fetch_node_details(database, identifiers), tree.fetch_ancestors(database, [item])
    )
    ancestors = paths[item]
    values: dict[str, Any] = {
        "document": framework,
        "item": attributes,
        "ancestors": ancestors,
        "relations": relations.group_relations(item, shown, locations),
        "unlisted": len(associations) - len(shown),
        "json_links": api_examples.list_json_links("documents", document, "items", item),
        "selected": item,
    }
    if not is_fragment_request(request):
        path = [*(ancestor["identifier"] for ancestor in ancestors), item]
        values["tree"] = await fetch_tree(database, document, path)
    title = attributes["humanCodingScheme"] or attributes["fullStatement"][:MAX_TITLE_CHARS]
    return await render_page(
        request, "item.html", title=f"{title} · {framework['title']}", **values
    )


@router.get("/documents/{document}/children/{node}")
async def render_children(
    request: Request, document: str, node: str, offset: Offset = 0, level: int = 1
) -> Response:
    """Render the children of a tree node as HTML, which a script inserts into the page's tree.

    ``offset`` is the number of children to skip; ``level`` is 1 for children at the top level.
    """
    database = get_app_state(request).database
    attributes = await fetch_document(database, document)
    children = await fetch_children(database, document, node, level, offset)
    return await render_page(
        request,
        "children.html",
        title=attributes["title"],
        document=attributes,
        tree=children,
        selected=None,
    )


@router.get("/documents/{document}/json")
async def show_document_json(request: Request, document: str, profile: str = "") -> Response:
    """Show a document as the given API profile returns it in JSON, with example requests."""
    example = await api_examples.build_example(request, DOCUMENTS, document, profile)
    title = example.attributes["title"]
    back = {"title": title, "segments": ("documents", document)}
    return await render_page(
        request, "json.html", title=f"JSON · {title}", back=back, example=example
    )


@router.get("/documents/{document}/items/{item}/json")
async def show_item_json(request: Request, document: str, item: str, profile: str = "") -> Response:
    """Show an item's JSON in the given API profile, with example requests."""
    await fetch_document(get_app_state(request).database, document)
    example = await api_examples.build_example(request, ITEMS, item, profile)
    attributes = example.attributes
    title = attributes["humanCodingScheme"] or attributes["fullStatement"][:MAX_TITLE_CHARS]
    back = {"title": title, "segments": ("documents", document, "items", item)}
    return await render_page(
        request, "json.html", title=f"JSON · {title}", back=back, example=example
    )


@dataclass
class TreeNode:
    """An item in a framework's tree, with its position among its siblings and its children."""

    identifier: str
    code: str | None
    statement: str
    item_type: str | None
    child_count: int
    level: int
    position: int
    """Position among its siblings, from 1."""
    sibling_count: int
    children: ChildList | None = None
    """The children, if the node is expanded."""


@dataclass
class ChildList:
    """The children of one item, or of the document, that a page shows in a framework's tree.

    ``parent`` is the identifier of that item or document.
    """

    parent: str
    nodes: list[TreeNode] = field(default_factory=list)
    next_offset: int | None = None
    """Offset of the children that are not shown, if there are any."""
    hidden_count: int = 0


async def fetch_tree(
    database: Database, document: str, expanded: Sequence[str], offset: int = 0
) -> ChildList:
    """Return a framework's tree with its top level and one expanded branch.

    ``expanded`` contains the identifiers on the path from the top level to the item whose children
    are shown, including that item. ``offset`` is the number of top-level items to skip.
    """
    # Concurrently, because in a large framework the top level takes longest.
    roots, descendants = await asyncio.gather(
        tree.fetch_roots(database, document, expanded, MAX_SHOWN_CHILDREN, offset),
        tree.fetch_children(database, document, expanded, expanded, MAX_SHOWN_CHILDREN),
    )
    return _build_child_list(document, [*roots, *descendants], 1, offset, set(expanded))


async def fetch_children(
    database: Database, document: str, parent: str, level: int, offset: int
) -> ChildList:
    """Return up to 200 children of an item or document, skipping the first ``offset`` children.

    ``level`` is the children's level in the tree; the top level is 1.
    """
    if parent == document:
        rows = await tree.fetch_roots(database, document, [], MAX_SHOWN_CHILDREN, offset)
    else:
        rows = await tree.fetch_more_children(
            database, document, parent, MAX_SHOWN_CHILDREN, offset
        )
    return _build_child_list(parent, rows, level, offset, set())


def _build_child_list(
    parent: str, rows: Sequence[Any], level: int, offset: int, expanded: set[str]
) -> ChildList:
    children = [row for row in rows if row["parent"] == parent]
    child_list = ChildList(parent)
    for row in children:
        node = TreeNode(
            identifier=row["identifier"],
            code=row["code"],
            statement=row["statement"],
            item_type=row["item_type"],
            child_count=row["child_count"],
            level=level,
            position=row["position"],
            sibling_count=row["total"],
        )
        if node.identifier in expanded and node.child_count:
            # Without the node itself, because items can be their own ancestors.
            rest = expanded - {node.identifier}
            node.children = _build_child_list(node.identifier, rows, level + 1, 0, rest)
        child_list.nodes.append(node)
    end = offset + MAX_SHOWN_CHILDREN
    if children and children[0]["total"] > end:
        child_list.next_offset = end
        child_list.hidden_count = children[0]["total"] - end
    return child_list
