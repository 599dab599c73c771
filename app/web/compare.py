"""The comparison of two frameworks: associated items and items without counterpart; also as CSV."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..api.dependencies import get_app_state
from ..db.pool import Database
from ..db.read import crosswalk, frameworks
from ..exceptions import BadRequest
from . import auth
from .attributes import fetch_document, parse_entity_attributes
from .pages import Offset, PageRoute, create_csv_response, render_page
from .relations import describe_relation

PAGE_SIZE = 100
MAX_CHOICES = 1000
"""Number of frameworks to choose from."""

PARTS = ("related", "left", "right")

CSV_HEADER = (
    "left code",
    "left statement",
    "left identifier",
    "relation",
    "right code",
    "right statement",
    "right identifier",
)
CsvRow = tuple[str | None, ...]

router = APIRouter(route_class=PageRoute, dependencies=[Depends(auth.require_read_scope)])


@router.get("/compare")
async def show_comparison(
    request: Request, left: str = "", right: str = "", part: str = "related", offset: Offset = 0
) -> Response:
    """Show a form to choose two frameworks and, once they are chosen, their comparison.

    ``offset`` applies to ``part``: related items, or those only in the left or right framework.
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
    offsets = {name: offset if part == name else 0 for name in PARTS}
    related = await crosswalk.list_crosswalk_associations(
        database, left, right, PAGE_SIZE, offsets["related"]
    )
    unrelated = {
        side: await crosswalk.list_unrelated_items(
            database, (left, right), side, PAGE_SIZE, offsets[side]
        )
        for side in ("left", "right")
    }
    comparison = {
        "titles": titles,
        "part": part,
        "totals": {
            "related": _get_total(related),
            **{side: _get_total(items) for side, items in unrelated.items()},
        },
        "related": [(_describe_row_relation(row), row) for row in related],
        **unrelated,
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


def _get_total(rows: list[Any]) -> int:
    return rows[0]["total"] if rows else 0


def _describe_row_relation(row: Any) -> str:
    return describe_relation(row["association_type"], from_origin=row["left_is_origin"])


@router.get("/compare.csv")
async def download_comparison_csv(request: Request, left: str, right: str) -> Response:
    """Return the comparison of two frameworks as CSV: related items, then unrelated ones."""
    database = get_app_state(request).database
    await _fetch_titles(database, left, right)
    return create_csv_response(
        "crosswalk.csv", [CSV_HEADER, *await _fetch_csv_rows(database, left, right)]
    )


async def _fetch_csv_rows(database: Database, left: str, right: str) -> list[CsvRow]:
    related = await crosswalk.list_crosswalk_associations(database, left, right)
    only_left, only_right = [
        await crosswalk.list_unrelated_items(database, (left, right), side)
        for side in ("left", "right")
    ]
    empty = ("",) * 4
    return [
        *(
            (
                *_get_side_columns(row, "left"),
                _describe_row_relation(row),
                *_get_side_columns(row, "right"),
            )
            for row in related
        ),
        *((*_get_item_columns(row), *empty) for row in only_left),
        *((*empty, *_get_item_columns(row)) for row in only_right),
    ]


def _get_item_columns(row: Any) -> tuple[str, str, str]:
    return row["code"], row["statement"], row["identifier"]


def _get_side_columns(row: Any, side: str) -> tuple[str, str, str]:
    return row[f"{side}_code"], row[f"{side}_statement"], row[side]


async def _fetch_titles(database: Database, left: str, right: str) -> tuple[str, str]:
    if left == right:
        raise BadRequest("choose two different frameworks")
    return (
        (await fetch_document(database, left))["title"],
        (await fetch_document(database, right))["title"],
    )
