"""The control API's soft deletion of documents and items, which CASE itself does not offer."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ..api.responses import json_response
from ..case.resources import DOCUMENTS, ITEMS, Resource
from ..db.write import soft_delete
from .request_body import namespace_of


def add_deletion_routes(router: APIRouter) -> None:
    """Add the routes that delete and undelete one document or item."""
    for resource in (DOCUMENTS, ITEMS):
        _add(router, resource)


def _add(router: APIRouter, resource: Resource) -> None:
    async def delete(identifier: str, request: Request) -> Response:
        async with namespace_of(request).request(writes=True) as services:
            changes = await soft_delete.delete(services.database, resource, identifier)
        return json_response({"changes": _counts(changes)})

    async def undelete(identifier: str, request: Request) -> Response:
        async with namespace_of(request).request(writes=True) as services:
            undeleted = await soft_delete.undelete(services.database, resource, identifier)
        counts = _counts(undeleted.changes)
        return json_response({"changes": counts, "notRestored": undeleted.not_restored})

    path = f"/{resource.plural}/{{identifier}}"
    router.post(f"{path}/delete")(delete)
    router.post(f"{path}/undelete")(undelete)


def _counts(changes: soft_delete.Changes) -> dict[str, int]:
    return {kind: count for (kind, _), count in changes.items()}
