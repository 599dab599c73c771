"""CFItems: one item, the list of items with search, and PUT of an item."""

from fastapi import APIRouter, Request, Response

from ...case.model import CFItem
from ...case.resources import ITEMS
from ...db.write import entities as store
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..request_body import RawBody
from ..routing import CompiledRoute
from . import puts
from .entities import respond_with_entity, respond_with_list_page

router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)

WRAPPERS = ("item", "CFItem")


@router.get(
    "/{sourcedId}",
    operation_id="getCFItem",
    summary="Get a CFItem",
    response_model=CFItem,
    response_description="The CFItem.",
    responses=operations.describe_errors(400, 404),
    openapi_extra=operations.describe_query_parameters(*operations.ENTITY_PARAMETERS),
)
async def get_item(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    renderer: RendererDep,
) -> Response:
    """Return one item."""
    return await respond_with_entity(ITEMS, sourced_id, request, db, renderer)


@vendor_router.get(
    "",
    operation_id="getAllCFItems",
    summary="List CFItems",
    responses=operations.describe_list_response(ITEMS) | operations.describe_errors(400),
    openapi_extra=operations.describe_list_parameters(ITEMS),
)
async def list_items(
    _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """List items."""
    return await respond_with_list_page(ITEMS, request, db, renderer)


@vendor_router.put(
    "/{sourcedId}",
    operation_id="putCFItem",
    summary="Create or replace a CFItem",
    openapi_extra=operations.describe_request_body("CFItem", examples.ITEM, wrapper="item"),
    **puts.OPTIONS,
)
async def put_item(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Create or replace an item, without storing ``echoed`` values. Returns 201."""
    body = await puts.parse_entity(request, sourced_id, raw_body, CFItem, WRAPPERS)
    await store.put_item(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=puts.CREATED)
