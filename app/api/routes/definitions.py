"""CFDefinitions: concepts, subjects, licenses, item types and association groupings.

The five types have one endpoint in common, which ``create_definition_router`` makes for each entry
of the register. The platform profile also lists subjects and takes PUTs of item types.
"""

from fastapi import APIRouter, Request, Response

from ...case.model import CFItemType
from ...case.resources import DEFINITIONS, ITEM_TYPES, SUBJECTS, ResourceType
from ...db.pool import Database
from ...db.read import entities
from ...db.write import entities as store
from ...query import pagination
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..rendering.renderer import Renderer
from ..request_body import RawBody, parse_entity
from ..responses import json_response
from ..routing import CompiledRoute
from .entities import parse_selected_fields, respond_with_entity, respond_with_list_page


def create_definition_router(resource: ResourceType) -> APIRouter:
    """Create the router that serves one type of definition, such as CFConcepts."""
    router = APIRouter(prefix=f"/{resource.collection}", route_class=CompiledRoute)
    respond = respond_with_descendants if resource.with_descendants else respond_with_entity

    @router.get("/{sourcedId}", **operations.describe_get(resource))
    async def get_definition(
        _caller: ReadAccess,
        sourced_id: SourcedId,
        request: Request,
        db: DatabaseDep,
        renderer: RendererDep,
    ) -> Response:
        return await respond(resource, sourced_id, request, db, renderer)

    return router


async def respond_with_descendants(
    resource: ResourceType, identifier: str, request: Request, db: Database, renderer: Renderer
) -> Response:
    """Respond with a definition and those below it in the hierarchy, such as a CFConceptSet.

    Raises ``NotFound`` if it does not exist or is soft-deleted, and ``BadRequest`` for unknown
    ``fields``.
    """
    fields = parse_selected_fields(resource, request, renderer)
    bodies = await entities.get_entity_with_descendants(db, resource, identifier)
    objects = await renderer.to_response_objects(resource, bodies)
    selected = [pagination.select_fields(definition, fields) for definition in objects]
    return json_response({resource.collection: selected})


routers = tuple(create_definition_router(resource) for resource in DEFINITIONS)
vendor_router = APIRouter(route_class=CompiledRoute)


@vendor_router.get("/CFSubjects", **operations.describe_list(SUBJECTS))
async def list_subjects(
    _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """List subjects."""
    return await respond_with_list_page(SUBJECTS, request, db, renderer)


@vendor_router.put(
    "/CFItemTypes/{sourcedId}", **operations.describe_put(ITEM_TYPES, examples.ITEM_TYPE)
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
    wrappers = ("itemType", "CFItemType")
    body = await parse_entity(request, sourced_id, raw_body, CFItemType, wrappers)
    await store.put_item_type(db, body.entity, echoed=echoed)
    return Response(status_code=201)
