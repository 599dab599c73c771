"""Reading: the frameworks, one of them as a tree, one of its items, and search over all."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from ..api.dependencies import get_state
from ..case.resources import DOCUMENTS, ITEMS
from ..db.read import entities, frameworks, search, tree
from ..exceptions import NotFound
from . import api_examples, auth, relations, tree_view
from .attributes import Body, read_body
from .pages import Page, is_fragment, page

SHOWN = 20
"""How many frameworks, or results, are shown at once."""

Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]


def browse_routes() -> APIRouter:
    """The pages that only read."""
    router = APIRouter(route_class=Page, dependencies=[Depends(auth.reader)])
    item = "/documents/{document}/items/{item}"
    router.add_api_route("/", read_frameworks)
    router.add_api_route("/search", read_search)
    router.add_api_route("/documents/{document}", read_document)
    router.add_api_route("/documents/{document}/children/{node}", read_children)
    router.add_api_route("/documents/{document}/json", read_document_json)
    router.add_api_route(item, read_item)
    router.add_api_route(f"{item}/json", read_item_json)
    return router


async def read_frameworks(request: Request, q: str = "", offset: Offset = 0) -> Response:
    """All frameworks, or those whose title, creator or publisher contains a text."""
    database = get_state(request).database
    rows = await frameworks.list_frameworks(database, q.strip(), SHOWN, offset)
    shown = [(read_body(row["body"]), row["items"]) for row in rows]
    total = rows[0]["total"] if rows else 0
    return await page(
        request,
        "frameworks.html",
        title="Frameworks",
        frameworks=shown,
        total=total,
        q=q,
        offset=offset,
        shown=SHOWN,
    )


async def read_search(
    request: Request, q: str = "", document: str = "", offset: Offset = 0
) -> Response:
    """The items that hold some words, each with its place in its tree."""
    database = get_state(request).database
    within = (await _body(request, document))["title"] if document else ""
    found = await search.search_items(database, q, document or None, SHOWN + 1, offset)
    shown = found[:SHOWN]
    paths = await tree.fetch_paths(database, [record["identifier"] for record in shown])
    return await page(
        request,
        "search.html",
        title=f"Search: {q}" if q else "Search",
        q=q,
        document=document,
        within=within,
        found=[(record, paths[record["identifier"]]) for record in shown],
        offset=offset,
        more=offset + SHOWN if len(found) > SHOWN else None,
    )


async def read_document(request: Request, document: str, offset: Offset = 0) -> Response:
    """A framework: its tree, and what it says of itself."""
    database = get_state(request).database
    body = await _body(request, document)
    return await page(
        request,
        "document.html",
        title=body["title"],
        document=body,
        branch=await tree_view.open_tree(database, document, [], offset),
        items=await frameworks.count_items(database, document),
        selected=None,
        samples=api_examples.of_document(document),
    )


async def read_item(request: Request, document: str, item: str, listed: str = "") -> Response:
    """A framework, open at one of its items; with ``listed=all``, however many associations."""
    database = get_state(request).database
    body = await _body(request, document)
    raw, associations = await entities.get_item_with_associations(database, item)
    said = read_body(raw)
    if said["CFDocumentURI"]["identifier"] != document:
        raise NotFound("CFItem in this framework", item)
    linked = [read_body(one) for one in associations]
    shown = linked if listed == "all" else linked[: relations.LISTED]
    ends = sorted(relations.other_ends(item, shown))
    places, paths = await asyncio.gather(
        entities.locate_nodes(database, ends), tree.fetch_paths(database, [item])
    )
    above = paths[item]
    way = [*(record["identifier"] for record in above), item]
    values: dict[str, Any] = {
        "document": body,
        "item": said,
        "above": above,
        "relations": relations.relations(item, shown, places),
        "unlisted": len(linked) - len(shown),
        "samples": api_examples.of_item(document, item),
        "selected": item,
    }
    if not is_fragment(request):
        values["branch"] = await tree_view.open_tree(database, document, way)
    title = said["humanCodingScheme"] or said["fullStatement"][:60]
    return await page(request, "item.html", title=f"{title} · {body['title']}", **values)


async def read_children(
    request: Request, document: str, node: str, offset: Offset = 0, level: int = 1
) -> Response:
    """The lines below a node, for a tree that is open already."""
    body = await _body(request, document)
    branch = await tree_view.children(get_state(request).database, document, node, level, offset)
    return await page(
        request, "children.html", title=body["title"], document=body, branch=branch, selected=None
    )


async def read_document_json(request: Request, document: str, profile: str = "") -> Response:
    """A document as a profile answers it."""
    body = await _body(request, document)
    told = await api_examples.told(request, DOCUMENTS, document, profile)
    back = {"title": body["title"], "steps": ("documents", document)}
    return await page(request, "json.html", title=f"JSON · {body['title']}", back=back, told=told)


async def read_item_json(request: Request, document: str, item: str, profile: str = "") -> Response:
    """An item as a profile answers it."""
    await _body(request, document)
    told = await api_examples.told(request, ITEMS, item, profile)
    title = told.body["humanCodingScheme"] or told.body["fullStatement"][:60]
    back = {"title": title, "steps": ("documents", document, "items", item)}
    return await page(request, "json.html", title=f"JSON · {title}", back=back, told=told)


async def _body(request: Request, document: str) -> Body:
    """A live document. Raises ``NotFound``."""
    (body,) = await entities.get(get_state(request).database, DOCUMENTS, document)
    return read_body(body)
