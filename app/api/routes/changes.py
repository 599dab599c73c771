"""The feed of changes: what followers of this server poll instead of reading everything again.

An extension of ours: neither the standard nor the guide has one.
"""

from urllib.parse import quote

from fastapi import Request, Response

from ...case.resources import RESOURCES
from ...db.read import feed
from ...db.schema import tables
from ...formatting import format_timestamp
from ...query import params
from ..dependencies import ReadAccess, get_state
from ..openapi import documents
from ..openapi.schemas import ref
from ..profiles import Profile
from ..rendering.transforms import JsonObject
from ..responses import json_response
from ..routing import Routes

PLURALS = {resource.name: resource.plural for resource in RESOURCES}

OPERATIONS = {
    tables.CREATE: "created",
    tables.REVIVE: "created",
    tables.UPDATE: "updated",
    tables.DELETE: "deleted",
}
"""What a follower is told: what comes back is new to it."""

LIMITS = params.Limits(default=500, maximum=5000)


def change_routes(profile: Profile) -> Routes:
    """GET of the changes since a cursor."""
    routes = Routes()

    async def read_changes(request: Request, _: ReadAccess) -> Response:
        since, limit = params.parse_feed_query(request.query_params.multi_items(), LIMITS)
        held = get_state(request)
        page = await feed.fetch_changes(held.database, since, limit)
        address = held.settings.base_url + profile.prefix
        found = [_entry(change, address) for change in page.changes]
        return json_response(
            {"changes": found, "next": page.next_cursor.encode(), "more": page.has_more}
        )

    routes.add(
        "/changes",
        read_changes,
        name="getChanges",
        summary="What was created, updated or deleted since a cursor",
        description="Without since, from the beginning. Ask again with next as since: at once "
        "while more is true, and later for what is new. No change is left out, whoever wrote at "
        "the same time. Entities are read at their uri; a deleted one is no longer there.",
        responses=documents.responses(
            200, "Changes, in the order in which they were made.", FEED, 400, 410
        ),
        openapi_extra={"parameters": documents.feed_parameters(LIMITS)},
    )
    return routes


FEED = documents.json_content(ref("Changes"))


def _entry(change: feed.Change, address: str) -> JsonObject:
    entry: JsonObject = {
        "kind": change.kind,
        "identifier": change.identifier,
        "sourcedId": change.identifier,
        "operation": OPERATIONS[change.operation],
        "changedAt": format_timestamp(change.changed_at),
        "uri": f"{address}/{PLURALS[change.kind]}/{quote(change.identifier, safe='')}",
    }
    if change.document_identifier is not None:
        entry["documentIdentifier"] = change.document_identifier
    return entry
