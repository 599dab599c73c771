"""The comparison of two frameworks: associated items and items without counterpart; also as CSV."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..api.dependencies import get_state
from ..db.pool import Database
from ..db.read import crosswalk, frameworks
from ..exceptions import BadRequest
from . import auth
from .attributes import fetch_document, parse_attributes
from .pages import Offset, Page, csv_response, page
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


def compare_routes() -> APIRouter:
    """Return the routes of the comparison and its download."""
    router = APIRouter(route_class=Page, dependencies=[Depends(auth.require_reader)])
    router.add_api_route("/compare", read_comparison)
    router.add_api_route("/compare.csv", download_csv)
    return router


async def read_comparison(
    request: Request, left: str = "", right: str = "", part: str = "related", offset: Offset = 0
) -> Response:
    """Show a form to choose two frameworks and, once they are chosen, the comparison."""
    database = get_state(request).database
    rows = await frameworks.list_frameworks(database, "", MAX_CHOICES, 0)
    documents = [parse_attributes(row["body"]) for row in rows]
    values: dict[str, Any] = {"documents": documents, "left": left, "right": right}
    if not (left and right):
        return await page(request, "compare.html", title="Compare", comparison=None, **values)
    titles = await _fetch_titles(database, left, right)
    part = part if part in PARTS else "related"
    offsets = {name: offset if part == name else 0 for name in PARTS}
    related = await crosswalk.list_related_items(
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
            "related": _total(related),
            **{side: _total(items) for side, items in unrelated.items()},
        },
        "related": [(_relation(row), row) for row in related],
        **unrelated,
    }
    return await page(
        request,
        "compare.html",
        title=f"{titles[0]} and {titles[1]}",
        comparison=comparison,
        offset=offset,
        page_size=PAGE_SIZE,
        **values,
    )


def _total(rows: list[Any]) -> int:
    return rows[0]["total"] if rows else 0


def _relation(row: Any) -> str:
    return describe_relation(row["association_type"], from_origin=row["left_is_origin"])


async def download_csv(request: Request, left: str, right: str) -> Response:
    """Return the comparison as CSV: related items, then those only on the left and right."""
    database = get_state(request).database
    await _fetch_titles(database, left, right)
    return csv_response("crosswalk.csv", [CSV_HEADER, *await _csv_rows(database, left, right)])


async def _csv_rows(database: Database, left: str, right: str) -> list[CsvRow]:
    related = await crosswalk.list_related_items(database, left, right)
    only_left, only_right = [
        await crosswalk.list_unrelated_items(database, (left, right), side)
        for side in ("left", "right")
    ]
    empty = ("",) * 4
    return [
        *((*_side(row, "left"), _relation(row), *_side(row, "right")) for row in related),
        *((*_item(row), *empty) for row in only_left),
        *((*empty, *_item(row)) for row in only_right),
    ]


def _item(row: Any) -> tuple[str, str, str]:
    return row["code"], row["statement"], row["identifier"]


def _side(row: Any, side: str) -> tuple[str, str, str]:
    return row[f"{side}_code"], row[f"{side}_statement"], row[side]


async def _fetch_titles(database: Database, left: str, right: str) -> tuple[str, str]:
    """Return the titles of two frameworks; raise ``NotFound``, or ``BadRequest`` if equal."""
    if left == right:
        raise BadRequest("choose two different frameworks")
    return (
        (await fetch_document(database, left))["title"],
        (await fetch_document(database, right))["title"],
    )
