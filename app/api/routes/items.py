"""CFItems: one item, the list of items with search, and PUT of an item."""

from fastapi import APIRouter, Request, Response

from ...case.model import CFItem
from ...case.resources import ITEMS
from ...db.write import entities as store
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..request_body import RawBody, parse_entity
from ..routing import CompiledRoute
from .entities import respond_with_entity, respond_with_list_page

router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)


@router.get("/{sourcedId}", **operations.describe_get(ITEMS))
async def get_item(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    renderer: RendererDep,
) -> Response:
    """Return one item."""
    return await respond_with_entity(ITEMS, sourced_id, request, db, renderer)


@vendor_router.get("", **operations.describe_list(ITEMS))
async def list_items(
    _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """List items."""
    return await respond_with_list_page(ITEMS, request, db, renderer)


@vendor_router.put("/{sourcedId}", **operations.describe_put(ITEMS, examples.ITEM, wrapper="item"))
async def put_item(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Create or replace an item."""
    body = await parse_entity(request, sourced_id, raw_body, CFItem, ("item", "CFItem"))
    await store.put_item(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=201)
