"""The changes of a framework between two points in time; also as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..api.dependencies import get_app_state
from ..case.resources import ASSOCIATIONS, ITEMS
from ..db.read import change_history, entities
from ..exceptions import BadRequest
from . import auth
from .attributes import (
    KINDS,
    EntityAttributes,
    fetch_document,
    parse_entity_attributes,
    summarize_entity,
)
from .pages import Offset, PageRoute, create_csv_response, render_page

PAGE_SIZE = 100
MAX_WRITES = 100
"""Number of writes to choose from; the query parameters accept any time."""

PARTS: tuple[change_history.ChangeType, ...] = ("added", "changed", "deleted")

CSV_HEADER = ("change", "kind", "code", "statement", "identifier", "changed at", "exists")

START = "start"
"""Value of ``since`` for the state before the first write."""

MIN_TIME = datetime.min.replace(tzinfo=UTC)
MAX_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ChangedEntity:
    """An entity that was added, changed or deleted, as a framework's changes page lists it."""

    kind: str
    identifier: str
    code: str
    summary: str
    """Its current or last statement or title; empty if that is no longer stored."""
    changed_at: datetime
    exists: bool
    """True if it exists now."""
    item: str | None
    """Identifier of the item on whose page it is shown, if any."""


router = APIRouter(route_class=PageRoute, dependencies=[Depends(auth.require_read_scope)])


@router.get("/documents/{document}/changes")
async def show_changes(  # noqa: PLR0913, PLR0917  the parameters of the path and query
    request: Request,
    document: str,
    since: str = "",
    until: str = "",
    part: str = "",
    offset: Offset = 0,
) -> Response:
    """Show the changes to a framework in a period, by default those of its latest write.

    ``since`` and ``until`` are ISO 8601 timestamps. ``part`` is "added", "changed" or "deleted",
    and ``offset`` the number of these entities to skip.
    """
    database = get_app_state(request).database
    attributes = await fetch_document(database, document)
    writes = await change_history.list_write_transactions(database, document, MAX_WRITES)
    times = [_format_utc_timestamp(write["written_at"]) for write in writes]
    since = since or (times[1] if len(times) > 1 else START)
    period = _parse_period(document, since, until)
    counts = await change_history.count_changed_entities(database, period)
    requested = [name for name in PARTS if name == part]
    shown_part = (*requested, *(name for name in PARTS if counts.get(name)), PARTS[0])[0]
    limits = (PAGE_SIZE, offset)
    rows = await change_history.list_changed_entities(database, period, shown_part, *limits)
    changed_entities = [_build_row(row) for row in rows]
    items = [entity.item for entity in changed_entities if entity.item]
    return await render_page(
        request,
        "history.html",
        title=f"Changes · {attributes['title']}",
        document=attributes,
        states=list(zip(times, writes, strict=True)),
        since=since,
        until=until,
        part=shown_part,
        totals={name: counts.get(name, 0) for name in PARTS},
        entities=changed_entities,
        locations=await entities.fetch_node_details(database, items),
        offset=offset,
        page_size=PAGE_SIZE,
    )


@router.get("/documents/{document}/changes.csv")
async def download_changes_csv(
    request: Request, document: str, since: str = "", until: str = ""
) -> Response:
    """Return all changes to a framework in a period as a CSV file.

    ``since`` and ``until`` are ISO 8601 timestamps; an empty one does not bound the period.
    """
    database = get_app_state(request).database
    await fetch_document(database, document)
    period = _parse_period(document, since, until)
    rows = [CSV_HEADER]
    for part in PARTS:
        for row in await change_history.list_changed_entities(database, period, part):
            entity = _build_row(row)
            details = (entity.kind, entity.code, entity.summary, entity.identifier)
            state = (_format_utc_timestamp(entity.changed_at), "yes" if entity.exists else "no")
            rows.append((part, *details, *state))
    return create_csv_response("changes.csv", rows)


def _build_row(row: Any) -> ChangedEntity:
    attributes = parse_entity_attributes(row["body"]) if row["body"] else EntityAttributes()
    kind = row["kind"]
    item = row["identifier"] if kind == ITEMS.name else None
    if kind == ASSOCIATIONS.name and attributes:
        item = attributes["originNodeURI"]["identifier"]
    return ChangedEntity(
        kind=KINDS.get(kind, kind),
        identifier=row["identifier"],
        code=attributes["humanCodingScheme"] or "",
        summary=summarize_entity(attributes),
        changed_at=row["changed_at"],
        exists=row["is_live"],
        item=item,
    )


def _format_utc_timestamp(time: datetime) -> str:
    """Format a timestamp as ISO 8601 in UTC to the microsecond: ``2026-01-15T09:30:00.123456Z``.

    As ``since`` or ``until``, it must be exact, so that a period starts and ends at a write.
    """
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _parse_period(document: str, since: str, until: str) -> change_history.ChangePeriod:
    start = MIN_TIME if since in {"", START} else _parse_time("since", since)
    end = _parse_time("until", until) if until else MAX_TIME
    if start >= end:
        raise BadRequest(f"since: {since} is not before {until}; choose an earlier state")
    return change_history.ChangePeriod(document, start, end)


def _parse_time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # an offset can lead out of the years 1 to 9999
        raise BadRequest(
            f"{name}: invalid timestamp {text[:50]!r}; use the form 2026-01-15T09:30:00Z"
        ) from error
