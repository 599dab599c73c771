"""Two frameworks compared: a crosswalk of their items, and what has no counterpart; as CSV, too."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from ..api.dependencies import get_state
from ..case.resources import DOCUMENTS
from ..db.pool import Database
from ..db.read import crosswalk, entities, frameworks
from ..exceptions import BadRequest
from . import auth
from .attributes import read_body
from .csv_response import Cells, table
from .pages import Page, page
from .relations import words_of

SHOWN = 100
CHOICES = 1000
"""How many frameworks are offered to choose from."""

PARTS = ("related", "left", "right")

HEAD = (
    "left code",
    "left statement",
    "left identifier",
    "relation",
    "right code",
    "right statement",
    "right identifier",
)

Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]


def compare_routes() -> APIRouter:
    """The comparison, and its download."""
    router = APIRouter(route_class=Page, dependencies=[Depends(auth.reader)])
    router.add_api_route("/compare", read_comparison)
    router.add_api_route("/compare.csv", read_csv)
    return router


async def read_comparison(
    request: Request, left: str = "", right: str = "", part: str = "related", offset: Offset = 0
) -> Response:
    """Two frameworks to choose, then how their items are related."""
    database = get_state(request).database
    choices = await frameworks.list_frameworks(database, "", CHOICES, 0)
    documents = [read_body(record["body"]) for record in choices]
    values: dict[str, Any] = {"documents": documents, "left": left, "right": right}
    if not (left and right):
        return await page(request, "compare.html", title="Compare", compared=None, **values)
    titles = await _titles(request, left, right)
    both = (left, right)
    related = await crosswalk.list_related_items(
        database, left, right, SHOWN, _from(part, "related", offset)
    )
    lonely = {
        side: await crosswalk.list_unrelated_items(
            database, both, side, SHOWN, _from(part, side, offset)
        )
        for side in ("left", "right")
    }
    totals = {"related": _total(related), **{side: _total(lonely[side]) for side in lonely}}
    compared = {
        "titles": titles,
        "part": part if part in PARTS else "related",
        "totals": totals,
        "related": [
            (words_of(one["association_type"], origin=one["left_is_origin"]), one)
            for one in related
        ],
        **lonely,
    }
    return await page(
        request,
        "compare.html",
        title=f"{titles[0]} and {titles[1]}",
        compared=compared,
        offset=offset,
        shown=SHOWN,
        **values,
    )


def _from(part: str, wanted: str, offset: int) -> int:
    return offset if part == wanted else 0


def _total(records: list[Any]) -> int:
    return records[0]["total"] if records else 0


async def read_csv(request: Request, left: str, right: str) -> Response:
    """The whole comparison as a table: what is related, then what is on one side alone."""
    database = get_state(request).database
    await _titles(request, left, right)
    return table("crosswalk.csv", [HEAD, *await _rows(database, left, right)])


async def _rows(database: Database, left: str, right: str) -> list[Cells]:
    both = (left, right)
    related = await crosswalk.list_related_items(database, left, right)
    lonely = [
        await crosswalk.list_unrelated_items(database, both, side) for side in ("left", "right")
    ]
    return [
        *(
            (
                *_side(one, "left"),
                words_of(one["association_type"], origin=one["left_is_origin"]),
                *_side(one, "right"),
            )
            for one in related
        ),
        *((*_alone(one), *[""] * 4) for one in lonely[0]),
        *((*[""] * 4, *_alone(one)) for one in lonely[1]),
    ]


def _alone(record: Any) -> tuple[str, str, str]:
    return record["code"], record["statement"], record["identifier"]


def _side(record: Any, side: str) -> tuple[str, str, str]:
    return record[f"{side}_code"], record[f"{side}_statement"], record[side]


async def _titles(request: Request, left: str, right: str) -> tuple[str, str]:
    """The titles of two frameworks. Raises ``NotFound``, ``BadRequest``."""
    if left == right:
        raise BadRequest("choose two different frameworks")
    found = []
    for identifier in (left, right):
        (body,) = await entities.get(get_state(request).database, DOCUMENTS, identifier)
        found.append(read_body(body)["title"])
    return found[0], found[1]
