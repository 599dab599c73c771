"""CFItems: one item, the list of items with search, and PUT of an item."""

from fastapi import APIRouter

from ...case.resources import ITEMS
from ...db.write import entities as store
from ..openapi import examples, operations
from ..routing import CompiledRoute
from .entities import add_entity_route, add_list_route
from .puts import add_put_route

router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFItems", route_class=CompiledRoute)

add_entity_route(router, ITEMS, description="Return one item.")
add_list_route(vendor_router, ITEMS, description="List items.")
add_put_route(
    vendor_router,
    ITEMS,
    "/{sourcedId}",
    store.put_item,
    wrapper="item",
    description="Create or replace an item.",
    request_body=operations.describe_request_body("CFItem", examples.ITEM, wrapper="item"),
)
