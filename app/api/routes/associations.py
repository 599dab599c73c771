"""CFAssociations, and CFItemAssociations: the associations of an item.

GET of CFItemAssociations takes an item's identifier, PUT and DELETE an association's (guide).
"""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from ...case.resources import ASSOCIATIONS, ITEMS
from ...db.read import entities
from ...db.write import entities as store
from ..dependencies import DatabaseDep, DeleteAccess, ReadAccess, RendererDep, SourcedId
from ..openapi import examples, operations
from ..rendering.renderer import Renderer
from ..responses import JSON
from ..routing import CompiledRoute
from .entities import add_entity_route
from .puts import add_put_route

BATCH_SIZE = 250
"""Associations read and sent at a time. A client that stalls costs the server one batch, and 1 MB
of identifiers for each 25,000 associations."""

router = APIRouter(route_class=CompiledRoute)
vendor_router = APIRouter(route_class=CompiledRoute)

add_entity_route(router, ASSOCIATIONS, "/CFAssociations/{sourcedId}", "Return one association.")


@router.get(
    "/CFItemAssociations/{sourcedId}",
    operation_id="getCFItemAssociations",
    summary="Get an item and all its associations; sourcedId is that of the item",
    responses=operations.describe_success(200, "The item and its associations.", "CFAssociationSet")
    | operations.describe_errors(404),
    openapi_extra=operations.describe_query_parameters("extensions"),
)
async def get_item_associations(
    _caller: ReadAccess, sourced_id: SourcedId, db: DatabaseDep, renderer: RendererDep
) -> Response:
    """Return an item and all its associations, as a CFAssociationSet.

    The response is 404 if the item does not exist.
    """
    # One more than a batch, to learn whether there are further batches.
    item, associations = await entities.get_item_with_associations(db, sourced_id, BATCH_SIZE + 1)
    has_batches = len(associations) > BATCH_SIZE
    if has_batches:
        batches = entities.iter_association_batches(db, sourced_id, BATCH_SIZE)
        # The first is read before the status is sent, because an error would change the status.
        associations = await anext(batches, [])
    item_json = await renderer.to_comma_separated_json(ITEMS, [item])
    associations_json = await renderer.to_package_json(ASSOCIATIONS, associations)
    start = b'{"CFItem":%s,"CFAssociations":[%s' % (item_json, associations_json)
    if has_batches:
        return StreamingResponse(_iter_chunks(start, batches, renderer), media_type=JSON)
    return Response(start + b"]}", media_type=JSON)


async def _iter_chunks(
    start: bytes, batches: AsyncIterator[list[str]], renderer: Renderer
) -> AsyncIterator[bytes]:
    yield start
    async for batch in batches:
        yield b"," + await renderer.to_package_json(ASSOCIATIONS, batch)
    yield b"]}"


add_put_route(
    vendor_router,
    ASSOCIATIONS,
    "/CFItemAssociations/{sourcedId}",
    store.put_association,
    wrapper="association",
    description="Create or replace an association.",
    request_body=operations.describe_request_body(
        "CFAssociation", examples.ASSOCIATION, wrapper="association"
    ),
)


@vendor_router.delete(
    "/CFItemAssociations/{sourcedId}",
    status_code=204,
    operation_id="deleteCFItemAssociation",
    summary="Delete an association permanently; sourcedId is that of the association",
    responses=operations.describe_success(204, "Deleted; no body.")
    | operations.describe_errors(404),
)
async def delete_association(
    _caller: DeleteAccess, sourced_id: SourcedId, db: DatabaseDep
) -> Response:
    """Delete an association permanently. The response is 404 if it does not exist."""
    await store.delete_association(db, sourced_id)
    return Response(status_code=204)
