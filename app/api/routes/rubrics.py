"""CFRubrics: one rubric with its criteria."""

from fastapi import APIRouter

from ...case.resources import RUBRICS
from ..routing import CompiledRoute
from .entities import add_entity_route

router = APIRouter(prefix="/CFRubrics", route_class=CompiledRoute)
add_entity_route(router, RUBRICS, description="Return one rubric.")
