"""CFDefinitions: concepts, subjects, licenses, item types and association groupings.

The five types have one endpoint in common, which ``create_definition_router`` makes for each entry
of the register. The platform profile also lists subjects and takes PUTs of item types.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from ...case.model import CFItemType
from ...case.resources import DEFINITIONS, SUBJECTS, ResourceType
from ...db.write import entities as store
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..request_body import RawBody
from ..routing import CompiledRoute
from . import puts
from .entities import respond_with_definition_hierarchy, respond_with_entity, respond_with_list_page

WRAPPERS = ("itemType", "CFItemType")


def create_definition_router(resource: ResourceType) -> APIRouter:
    """Create the router that serves one type of definition, such as CFConcepts."""
    router = APIRouter(prefix=f"/{resource.collection}", route_class=CompiledRoute)
    is_hierarchy = resource.with_descendants
    respond = respond_with_definition_hierarchy if is_hierarchy else respond_with_entity

    @router.get(
        "/{sourcedId}",
        operation_id=f"get{resource.name}",
        openapi_extra=operations.describe_query_parameters(*operations.ENTITY_PARAMETERS),
        **(_hierarchy_options(resource) if is_hierarchy else _entity_options(resource)),
    )
    async def get_definition(
        _caller: ReadAccess,
        sourced_id: SourcedId,
        request: Request,
        db: DatabaseDep,
        renderer: RendererDep,
    ) -> Response:
        return await respond(resource, sourced_id, request, db, renderer)

    return router


def _entity_options(resource: ResourceType) -> dict[str, Any]:
    return {
        "summary": f"Get a {resource.name}",
        "response_model": resource.schema,
        "response_description": f"The {resource.name}.",
        "responses": operations.describe_errors(400, 404),
    }


def _hierarchy_options(resource: ResourceType) -> dict[str, Any]:
    content = f"The {resource.name}, then those whose hierarchyCode continues its own."
    return {
        "summary": f"Get a {resource.name} and those below it in the hierarchy",
        "responses": operations.describe_success(200, content, f"{resource.name}Set")
        | operations.describe_errors(400, 404),
    }


routers = tuple(create_definition_router(resource) for resource in DEFINITIONS)
vendor_router = APIRouter(route_class=CompiledRoute)


@vendor_router.get(
    "/CFSubjects",
    operation_id="getAllCFSubjects",
    summary="List CFSubjects",
    responses=operations.describe_list_response(SUBJECTS) | operations.describe_errors(400),
    openapi_extra=operations.describe_list_parameters(SUBJECTS),
)
async def list_subjects(
    _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """List subjects."""
    return await respond_with_list_page(SUBJECTS, request, db, renderer)


@vendor_router.put(
    "/CFItemTypes/{sourcedId}",
    operation_id="putCFItemType",
    summary="Create or replace a CFItemType",
    openapi_extra=operations.describe_request_body("CFItemType", examples.ITEM_TYPE),
    **puts.OPTIONS,
)
async def put_item_type(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Create or replace an item type, without storing ``echoed`` values. Returns 201."""
    body = await puts.parse_entity(request, sourced_id, raw_body, CFItemType, WRAPPERS)
    await store.put_item_type(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=puts.CREATED)
