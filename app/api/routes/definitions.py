"""CFDefinitions: concepts, subjects, licenses, item types and association groupings.

The five types have one endpoint in common, which ``create_definition_router`` makes for each entry
of the register. The platform profile also lists subjects and takes PUTs of item types.
"""

from fastapi import APIRouter, Request, Response

from ...case.resources import DEFINITIONS, ITEM_TYPES, SUBJECTS, ResourceType
from ...db.read import entities
from ...db.write import entities as store
from ...query import page
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId
from ..openapi import examples, operations
from ..responses import json_response
from ..routing import CompiledRoute
from .entities import add_entity_route, add_list_route, parse_selected_fields
from .puts import add_put_route


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
        fields = parse_selected_fields(resource, request, renderer)
        bodies = await entities.get_entity_with_descendants(db, resource, sourced_id)
        objects = await renderer.to_response_objects(resource, bodies)
        selected = [page.select_fields(definition, fields) for definition in objects]
        return json_response({resource.collection: selected})

    return router


routers = tuple(create_definition_router(resource) for resource in DEFINITIONS)
vendor_router = APIRouter(route_class=CompiledRoute)

add_list_route(vendor_router, SUBJECTS, "/CFSubjects", "List subjects.")
add_put_route(
    vendor_router,
    ITEM_TYPES,
    "/CFItemTypes/{sourcedId}",
    store.put_item_type,
    wrapper="itemType",
    description="Create or replace an item type.",
    request_body=operations.describe_request_body("CFItemType", examples.ITEM_TYPE),
)
