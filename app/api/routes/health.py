"""Whether the process lives, and whether it can serve."""

from fastapi import APIRouter, Request, Response

from ...db.schema import version
from ...exceptions import ServiceUnavailable
from ..dependencies import get_state
from ..openapi import documents
from ..openapi.schemas import ref
from ..responses import json_response


def health_routes() -> APIRouter:
    """/health for whoever restarts processes, /ready for whoever sends them requests."""
    router = APIRouter(tags=["Health"])
    status = documents.json_content(
        {"type": "object", "properties": {"status": {"type": "string"}}}
    )
    router.add_api_route(
        "/health",
        health,
        summary="The process is alive",
        responses={200: {"description": "Alive.", "content": status}},
    )
    error = {
        "description": documents.ERRORS[503],
        "content": documents.json_content(ref("imsx_StatusInfo")),
    }
    router.add_api_route(
        "/ready",
        ready,
        summary="The database answers and its schema is current",
        responses={200: {"description": "Ready.", "content": status}, 503: error},
    )
    return router


async def health() -> Response:
    """The process is alive."""
    return json_response({"status": "alive"})


async def ready(request: Request) -> Response:
    """The database answers and its schema is the one this release needs."""
    held = get_state(request)
    async with held.database.connection() as connection:
        revision = await version.get_schema_version(connection)
    if revision != held.schema_version:
        raise ServiceUnavailable(
            f"the database is at schema {revision}, this server needs {held.schema_version}: "
            "run case-server migrate",
            headers={"Retry-After": "10"},
        )
    return json_response({"status": "ready"})
