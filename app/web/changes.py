"""Two states of one framework: what was added, changed and deleted from one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from ..api.dependencies import get_state
from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ..db.read import change_history, entities
from ..exceptions import BadRequest
from . import auth
from .attributes import Body, read_body
from .csv_response import Cells, table
from .pages import Page, page
from .upload_diff import statement_of

SHOWN = 100
STATES = 100
"""How many writes are offered to choose from; an address can name any moment."""

PARTS: tuple[change_history.ChangedEntity, ...] = ("added", "changed", "deleted")

KINDS = {DOCUMENTS.name: "framework", ITEMS.name: "item", ASSOCIATIONS.name: "association"}

HEAD: Cells = ("what", "kind", "code", "statement", "identifier", "changed at", "here now")

START = "start"
"""What an address calls the state before the first write."""

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)

Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]


@dataclass(frozen=True)
class Entity:
    """Something that was added, changed or deleted."""

    kind: str
    identifier: str
    code: str
    statement: str
    """What it says, or said last; nothing where that is not known any more."""
    changed_at: datetime
    here: bool
    shown_at: str | None
    """The item whose page shows it, if that is here."""


def history_routes() -> APIRouter:
    """The changes, and their download."""
    router = APIRouter(route_class=Page, dependencies=[Depends(auth.reader)])
    router.add_api_route("/documents/{document}/changes", read_changes)
    router.add_api_route("/documents/{document}/changes.csv", read_csv)
    return router


async def read_changes(  # noqa: PLR0913, PLR0917  each is a part of the address
    request: Request,
    document: str,
    since: str = "",
    until: str = "",
    part: str = "",
    offset: Offset = 0,
) -> Response:
    """What became of a framework between two states; of its latest write, unless asked else."""
    database = get_state(request).database
    body = await _body(request, document)
    writes = await change_history.list_writes(database, document, STATES)
    states = [(_written(one["written_at"]), one["written_at"], one["changes"]) for one in writes]
    since = since or (states[1][0] if len(states) > 1 else START)
    span = _span(document, since, until)
    counts = await change_history.count_changed_entities(database, span)
    asked = [one for one in PARTS if one == part]
    what = (*asked, *(one for one in PARTS if counts.get(one)), PARTS[0])[0]
    found = await change_history.list_changed_entities(database, span, what, SHOWN, offset)
    shown = [_entity(record) for record in found]
    return await page(
        request,
        "history.html",
        title=f"What changed · {body['title']}",
        document=body,
        states=states,
        since=since,
        until=until,
        part=what,
        totals={one: counts.get(one, 0) for one in PARTS},
        entities=shown,
        places=await entities.locate_nodes(
            database, [one.shown_at for one in shown if one.shown_at]
        ),
        offset=offset,
        shown=SHOWN,
    )


async def read_csv(request: Request, document: str, since: str = "", until: str = "") -> Response:
    """All of it as a table."""
    await _body(request, document)
    span = _span(document, since, until)
    database = get_state(request).database
    parts = {
        what: await change_history.list_changed_entities(database, span, what) for what in PARTS
    }
    return table("changes.csv", [HEAD, *_rows(parts)])


def _rows(parts: dict[change_history.ChangedEntity, list[Any]]) -> Iterator[Cells]:
    for what, found in parts.items():
        for one in map(_entity, found):
            yield (
                what,
                one.kind,
                one.code,
                one.statement,
                one.identifier,
                _written(one.changed_at),
                "yes" if one.here else "no",
            )


def _entity(record: Any) -> Entity:
    body = read_body(record["body"]) if record["body"] else Body()
    kind = record["kind"]
    shown_at = record["identifier"] if kind == ITEMS.name else None
    if kind == ASSOCIATIONS.name and body:
        shown_at = body["originNodeURI"]["identifier"]
    return Entity(
        kind=KINDS.get(kind, kind),
        identifier=record["identifier"],
        code=body["humanCodingScheme"] or "",
        statement=statement_of(body),
        changed_at=record["changed_at"],
        here=record["is_live"],
        shown_at=shown_at,
    )


def _written(moment: datetime) -> str:
    """A moment as an address and a reader know it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _span(document: str, since: str, until: str) -> change_history.Period:
    """The two states that an address names. Raises ``BadRequest``."""
    first = BEGINNING if since in {"", START} else _moment("since", since)
    last = _moment("until", until) if until else END
    if first >= last:
        raise BadRequest(f"since: {since} is not before {until}; choose an earlier state")
    return change_history.Period(document, first, last)


def _moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(
            f"{name}: found {text[:50]!r}, expected a moment as 2026-01-15T09:30:00Z"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


async def _body(request: Request, document: str) -> Body:
    """A live document. Raises ``NotFound``."""
    (body,) = await entities.get(get_state(request).database, DOCUMENTS, document)
    return read_body(body)
