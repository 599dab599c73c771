"""CFRubrics: one rubric with its criteria."""

from fastapi import APIRouter, Request, Response

from ...case.resources import RUBRICS
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId
from ..openapi import operations
from ..routing import CompiledRoute
from .entities import respond_with_entity

router = APIRouter(prefix="/CFRubrics", route_class=CompiledRoute)


@router.get("/{sourcedId}", **operations.describe_get(RUBRICS))
async def get_rubric(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    renderer: RendererDep,
) -> Response:
    """Return one rubric."""
    return await respond_with_entity(RUBRICS, sourced_id, request, db, renderer)
