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
    summary="The process is alive",
    responses=operations.success(200, "Alive.", STATUS),
)
async def health() -> Response:
    """The process is alive."""
    return json_response({"status": "alive"})


@router.get(
    "/ready",
    summary="The database answers and its schema is current",
    responses=operations.success(200, "Ready.", STATUS)
    | operations.success(503, operations.ERRORS[503], ref("imsx_StatusInfo")),
)
async def ready(state: StateDep, db: DatabaseDep) -> Response:
    """The database answers and its schema is the one this release needs."""
    async with db.connection() as connection:
        schema_version = await version.get_schema_version(connection)
    if schema_version != state.schema_version:
        raise ServiceUnavailable(
            f"the database is at schema {schema_version}, this server needs "
            f"{state.schema_version}: run case-server migrate",
            headers={"Retry-After": "10"},
        )
    return json_response({"status": "ready"})
