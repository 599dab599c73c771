"""The comparison of two frameworks: items with and without associations; also as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..api.dependencies import get_app_state
from ..db.pool import Database
from ..db.read import crosswalk
from ..db.read.lists import frameworks
from ..exceptions import BadRequest
from . import auth
from .attributes import describe_relation, fetch_document, parse_entity_attributes
from .pages import (
    Offset,
    PageFetch,
    PageRoute,
    create_csv_response,
    fetch_page_and_total,
    render_page,
)

PAGE_SIZE = 100
MAX_CHOICES = 1000
"""Number of frameworks to choose from."""

SIDES: tuple[crosswalk.Side, ...] = ("left", "right")
PARTS = ("related", *SIDES)

COLUMNS = ("code", "statement", "identifier")
EMPTY_CELLS = ("",) * 4
"""The cells of the other framework and the relation, in the row of an unrelated item."""

router = APIRouter(route_class=PageRoute, dependencies=[Depends(auth.require_read_scope)])


@router.get("/compare")
async def show_comparison(
    request: Request, left: str = "", right: str = "", part: str = "related", offset: Offset = 0
) -> Response:
    """Show a form to choose two frameworks and, once they are chosen, their comparison.

    ``left`` and ``right`` are document identifiers. ``offset`` is the number of rows to skip in the
    table ``part``: "related" items, or those only in the "left" or "right" framework.
    """
    database = get_app_state(request).database
    rows = await frameworks.list_frameworks(database, "", MAX_CHOICES, 0)
    documents = [parse_entity_attributes(row["body"]) for row in rows]
    values: dict[str, Any] = {"documents": documents, "left": left, "right": right}
    if not (left and right):
        return await render_page(
            request, "compare.html", title="Compare", comparison=None, **values
        )
    titles = await _fetch_titles(database, left, right)
    part = part if part in PARTS else "related"
    parts, totals = await _fetch_parts(database, (left, right), PAGE_SIZE, {part: offset})
    comparison = {
        **parts,
        "titles": titles,
        "part": part,
        "totals": totals,
        "related": [(_describe_relation(row), row) for row in parts["related"]],
    }
    return await render_page(
        request,
        "compare.html",
        title=f"{titles[0]} and {titles[1]}",
        comparison=comparison,
        offset=offset,
        page_size=PAGE_SIZE,
        **values,
    )


@router.get("/compare.csv")
async def download_comparison_csv(request: Request, left: str, right: str) -> Response:
    """Return the comparison of two frameworks as CSV: related items, then unrelated ones.

    ``left`` and ``right`` are document identifiers.
    """
    database = get_app_state(request).database
    await _fetch_titles(database, left, right)
    parts, _ = await _fetch_parts(database, (left, right), None, {})
    left_names, right_names = ([f"{side} {name}" for name in COLUMNS] for side in SIDES)
    rows: list[tuple[str | None, ...]] = [(*left_names, "relation", *right_names)]
    for row in parts["related"]:
        ends = [(row[f"{side}_code"], row[f"{side}_statement"], row[side]) for side in SIDES]
        rows.append((*ends[0], _describe_relation(row), *ends[1]))
    rows += [(*(row[name] for name in COLUMNS), *EMPTY_CELLS) for row in parts["left"]]
    rows += [(*EMPTY_CELLS, *(row[name] for name in COLUMNS)) for row in parts["right"]]
    return create_csv_response("crosswalk.csv", rows)


async def _fetch_parts(
    database: Database, documents: tuple[str, str], limit: int | None, offsets: Mapping[str, int]
) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Return the comparison of two frameworks as two dicts: rows by part, and totals by part.

    The part "related" has the related items. The parts "left" and "right" have the items of one
    framework that are related to none of the other. ``offsets`` maps parts to the number of rows to
    skip. At most ``limit`` rows of each part are returned, or all if it is None.
    """
    fetches: dict[str, PageFetch] = {
        "related": partial(crosswalk.list_crosswalk_associations, database, *documents)
    }
    for side in SIDES:
        fetches[side] = partial(crosswalk.list_unrelated_items, database, documents, side)
    parts, totals = {}, {}
    for part, fetch in fetches.items():
        offset = offsets.get(part, 0)
        parts[part], totals[part] = await fetch_page_and_total(fetch, limit, offset)
    return parts, totals


def _describe_relation(row: Any) -> str:
    return describe_relation(row["association_type"], from_origin=row["left_is_origin"])


async def _fetch_titles(database: Database, left: str, right: str) -> list[str]:
    if left == right:
        raise BadRequest("choose two different frameworks")
    return [(await fetch_document(database, document))["title"] for document in (left, right)]
