"""Probes of process supervisors and load balancers: liveness and readiness."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ...db.schema import version
from ...exceptions import ServiceUnavailable
from ..dependencies import DatabaseDep, StateDep
from ..openapi import operations
from ..responses import json_response
from ..routing import CompiledRoute

router = APIRouter(tags=["Health"], route_class=CompiledRoute)


class Status(BaseModel):
    """The state of the server."""

    status: Literal["alive", "ready", "read-only"]


@router.get(
    "/health",
    summary="Check that the process is alive",
    response_model=Status,
    response_description="Alive.",
)
async def health() -> Response:
    """Return 200 as long as the process serves requests."""
    return json_response({"status": "alive"})


@router.get(
    "/ready",
    summary="Check that the server can handle requests",
    description="With the parameter write: check that it can handle writes.",
    response_model=Status,
    response_description="Ready; the status of a standby is read-only.",
    responses=operations.describe_success(503, operations.ERRORS[503], "imsx_StatusInfo"),
)
async def ready(request: Request, state: StateDep, db: DatabaseDep) -> Response:
    """Return 200 if the database responds and has the schema version of this release, else 503.

    A standby has the status ``read-only``, and returns 503 if it does not receive the WAL of its
    primary server, or if the request has the query parameter ``write``.
    """
    async with db.connection() as connection:
        schema_version = await version.get_schema_version(connection)
    if schema_version != state.schema_version:
        raise ServiceUnavailable(
            f"the database has schema version {schema_version}, but this server requires "
            f"{state.schema_version}: run case-server migrate",
            retry_after=10,
        )
    await state.replication.refresh_status()
    if not db.is_standby:
        return json_response({"status": "ready"})
    problem = ""
    if "write" in request.query_params:
        problem = "the database is a standby, which is read-only: use the primary server"
    elif state.replication.has_lost_primary:
        problem = "the standby does not receive the changes of its primary server"
    if problem:
        raise ServiceUnavailable(problem, retry_after=2)
    return json_response({"status": "read-only"})
