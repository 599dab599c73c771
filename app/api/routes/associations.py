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
    if len(associations) > BATCH_SIZE:
        batches = entities.iter_association_batches(db, sourced_id, BATCH_SIZE)
        chunks = _iter_item_json(renderer, item, batches)
        # The first is read before the status is sent, because an error would change the status.
        first_chunk = await anext(chunks)
        return StreamingResponse(_prepend(first_chunk, chunks), media_type=JSON)
    item_json = await renderer.to_comma_separated_json(ITEMS, [item])
    associations_json = await renderer.to_package_json(ASSOCIATIONS, associations)
    content = b'{"CFItem":%s,"CFAssociations":[%s]}' % (item_json, associations_json)
    return Response(content, media_type=JSON)


async def _iter_item_json(
    renderer: Renderer, item: str, batches: AsyncIterator[list[str]]
) -> AsyncIterator[bytes]:
    """Yield the JSON of an item and its associations, with one chunk per batch of associations.

    ``item`` and the strings in ``batches`` are stored JSON bodies.
    """
    separator = b'{"CFItem":%s,"CFAssociations":[' % await renderer.to_comma_separated_json(
        ITEMS, [item]
    )
    async for batch in batches:
        yield separator + await renderer.to_package_json(ASSOCIATIONS, batch)
        separator = b","
    yield b"]}" if separator == b"," else separator + b"]}"


async def _prepend(first_chunk: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first_chunk
    async for chunk in chunks:
        yield chunk


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
