"""The change feed, which clients poll instead of reading all entities again.

It is an extension of this server: neither the standard nor the vendor's guide has one.
"""

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from ...case.resources import RESOURCES
from ...db.read import feed
from ...db.schema import tables
from ...formatting import format_timestamp
from ...query import params
from ..dependencies import DatabaseDep, ReadAccess, RendererDep
from ..openapi import operations
from ..rendering.transforms import JsonObject
from ..responses import json_response
from ..routing import CompiledRoute

PLURALS = {resource.name: resource.collection for resource in RESOURCES}

OPERATION_NAMES = {
    tables.CREATE: "created",
    tables.REVIVE: "created",
    tables.UPDATE: "updated",
    tables.DELETE: "deleted",
}
"""The feed's names of operations. To its clients an undeleted entity is a new one."""

LIMITS = params.PageLimits(default=500, maximum=5000)

vendor_router = APIRouter(prefix="/changes", route_class=CompiledRoute)


@vendor_router.get(
    "",
    operation_id="getChanges",
    summary="List the changes since a cursor",
    description="Without since, starts with the first change. Repeat with the value of next as "
    "since: immediately while more is true, then periodically. Concurrent writes are never left "
    "out. GET the uri of a change to read the entity, unless it was deleted.",
    responses=operations.describe_success(
        200, "Changes in the order of their transactions.", "Changes"
    )
    | operations.describe_error_responses(400, 410),
    openapi_extra=operations.describe_feed_parameters(LIMITS),
)
async def list_changes(
    _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """Return a page of the change feed, which begins at a cursor or with the first change.

    Cursors come from earlier responses. Raises ``Gone`` for a cursor from before a restore or a
    failover of the database.
    """
    since, limit = params.parse_feed_query(request.query_params.multi_items(), LIMITS)
    page = await feed.fetch_changes(db, since, limit)
    changes = [_to_json_object(change, renderer.profile_base_url) for change in page.changes]
    cursor = page.next_cursor.encode()
    return json_response({"changes": changes, "next": cursor, "more": page.has_more})


def _to_json_object(change: feed.ChangeFeedEntry, profile_base_url: str) -> JsonObject:
    json_object: JsonObject = {
        "kind": change.kind,
        "identifier": change.identifier,
        "sourcedId": change.identifier,
        "operation": OPERATION_NAMES[change.operation],
        "changedAt": format_timestamp(change.changed_at),
        "uri": f"{profile_base_url}/{PLURALS[change.kind]}/{quote(change.identifier, safe='')}",
    }
    if change.document_identifier is not None:
        json_object["documentIdentifier"] = change.document_identifier
    return json_object
