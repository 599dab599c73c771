"""Probes of process supervisors and load balancers: liveness and readiness."""

from fastapi import APIRouter, Response

from ...db.schema import version
from ...exceptions import ServiceUnavailable
from ..dependencies import DatabaseDep, StateDep
from ..openapi import operations
from ..openapi.schemas import ref
from ..responses import json_response
from ..routing import CompiledRoute

router = APIRouter(tags=["Health"], route_class=CompiledRoute)

STATUS = {"type": "object", "properties": {"status": {"type": "string"}}}


@router.get(
    "/health",
    summary="Check that the process is alive",
    responses=operations.success(200, "Alive.", STATUS),
)
async def health() -> Response:
    """Return 200 while the process serves requests."""
    return json_response({"status": "alive"})


@router.get(
    "/ready",
    summary="Check that the server can handle requests",
    responses=operations.success(200, "Ready.", STATUS)
    | operations.success(503, operations.ERRORS[503], ref("imsx_StatusInfo")),
)
async def ready(state: StateDep, db: DatabaseDep) -> Response:
    """Return 200 if the database responds and has the schema version of this release."""
    async with db.connection() as connection:
        schema_version = await version.get_schema_version(connection)
    if schema_version != state.schema_version:
        raise ServiceUnavailable(
            f"the database has schema version {schema_version}, but this server requires "
            f"{state.schema_version}: run case-server migrate",
            headers={"Retry-After": "10"},
        )
    return json_response({"status": "ready"})
