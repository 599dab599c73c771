"""CFDefinitions: concepts, subjects, licenses, item types and association groupings.

The five types have one endpoint in common, which ``create_definition_router`` makes for each entry
of the register. The platform profile also lists subjects and takes PUTs of item types.
"""

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
from .entities import add_entity_route, add_list_route, respond_with_definition_hierarchy

WRAPPERS = ("itemType", "CFItemType")


def create_definition_router(resource: ResourceType) -> APIRouter:
    """Create the router that serves one type of definition, such as CFConcepts."""
    router = APIRouter(prefix=f"/{resource.collection}", route_class=CompiledRoute)
    if not resource.with_descendants:
        add_entity_route(router, resource)
        return router
    content = f"The {resource.name}, then those whose hierarchyCode continues its own."

    @router.get(
        "/{sourcedId}",
        operation_id=f"get{resource.name}",
        summary=f"Get a {resource.name} and those below it in the hierarchy",
        responses=operations.describe_success(200, content, f"{resource.name}Set")
        | operations.describe_errors(400, 404),
        openapi_extra=operations.describe_query_parameters(*operations.ENTITY_PARAMETERS),
    )
    async def get_definition(
        _caller: ReadAccess,
        sourced_id: SourcedId,
        request: Request,
        db: DatabaseDep,
        renderer: RendererDep,
    ) -> Response:
        return await respond_with_definition_hierarchy(resource, sourced_id, request, db, renderer)

    return router


routers = tuple(create_definition_router(resource) for resource in DEFINITIONS)
vendor_router = APIRouter(route_class=CompiledRoute)

add_list_route(vendor_router, SUBJECTS, "/CFSubjects", "List subjects.")


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
    """Create or replace an item type."""
    body = await puts.parse_entity(request, sourced_id, raw_body, CFItemType, WRAPPERS)
    await store.put_item_type(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=puts.CREATED)
