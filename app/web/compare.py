"""Two frameworks compared: a crosswalk of their items, and what has no counterpart; as CSV, too."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from ..api.deps import services
from ..case.resources import DOCUMENTS
from ..db import crosswalk, overview, reading
from ..errors import BadRequest
from . import access
from .pages import Page, page
from .relations import words_of
from .text import read_body

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

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a program."""

Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]


def compare_routes() -> APIRouter:
    """The comparison, and its download."""
    router = APIRouter(route_class=Page, dependencies=[Depends(access.reader)])
    router.add_api_route("/compare", read_comparison)
    router.add_api_route("/compare.csv", read_csv)
    return router


async def read_comparison(
    request: Request, left: str = "", right: str = "", part: str = "related", offset: Offset = 0
) -> Response:
    """Two frameworks to choose, then how their items are related."""
    database = services(request).database
    choices = await overview.frameworks(database, "", CHOICES, 0)
    documents = [read_body(record["body"]) for record in choices]
    values: dict[str, Any] = {"documents": documents, "left": left, "right": right}
    if not (left and right):
        return await page(request, "compare.html", title="Compare", compared=None, **values)
    titles = await _titles(request, left, right)
    both = (left, right)
    related = await crosswalk.related(database, left, right, SHOWN, _from(part, "related", offset))
    lonely = {
        side: await crosswalk.unrelated(database, both, side, SHOWN, _from(part, side, offset))
        for side in ("left", "right")
    }
    totals = {"related": _total(related), **{side: _total(lonely[side]) for side in lonely}}
    compared = {
        "titles": titles,
        "part": part if part in PARTS else "related",
        "totals": totals,
        "related": [
            (words_of(one["association_type"], origin=one["forth"]), one) for one in related
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
    database = services(request).database
    await _titles(request, left, right)
    text = io.StringIO()
    written = csv.writer(text)
    written.writerow(HEAD)
    for one in await crosswalk.related(database, left, right):
        words = words_of(one["association_type"], origin=one["forth"])
        written.writerow(_cells((*_side(one, "left"), words, *_side(one, "right"))))
    for one in await crosswalk.unrelated(database, (left, right), "left"):
        written.writerow(_cells((one["code"], one["statement"], one["identifier"], *[""] * 4)))
    for one in await crosswalk.unrelated(database, (left, right), "right"):
        written.writerow(_cells((*[""] * 4, one["code"], one["statement"], one["identifier"])))
    return Response(
        # The mark tells spreadsheets that this is UTF-8.
        text.getvalue().encode("utf-8-sig"),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="crosswalk.csv"'},
    )


def _side(record: Any, side: str) -> tuple[str, str, str]:
    return record[f"{side}_code"], record[f"{side}_statement"], record[side]


def _cells(values: tuple[str | None, ...]) -> Iterator[str]:
    for value in values:
        text = value or ""
        yield f"'{text}" if text.startswith(FORMULA) else text


async def _titles(request: Request, left: str, right: str) -> tuple[str, str]:
    """The titles of two frameworks. Raises ``NotFound``, ``BadRequest``."""
    if left == right:
        raise BadRequest("choose two different frameworks")
    found = []
    for identifier in (left, right):
        (body,) = await reading.get(services(request).database, DOCUMENTS, identifier)
        found.append(read_body(body)["title"])
    return found[0], found[1]
