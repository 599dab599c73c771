"""CFItems: one item, the list of items with search, and PUT of an item."""

from fastapi import APIRouter, Request, Response

from ...case.model import CFItem
from ...case.resources import ITEMS
from ...db.write import entities as store
from ..dependencies import DatabaseDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..request_body import RawBody
from ..routing import CompiledRoute
from . import puts
from .entities import add_entity_route, add_list_route

router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)

WRAPPERS = ("item", "CFItem")

add_entity_route(router, ITEMS, description="Return one item.")
add_list_route(vendor_router, ITEMS, description="List items.")


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
    """Create or replace an item."""
    body = await puts.parse_entity(request, sourced_id, raw_body, CFItem, WRAPPERS)
    await store.put_item(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=puts.CREATED)
