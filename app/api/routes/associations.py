"""CFAssociations, and CFItemAssociations: the associations of an item.

GET of CFItemAssociations takes an item's identifier, PUT and DELETE an association's (guide).
"""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from ...case.model import CFAssociation
from ...case.resources import ASSOCIATIONS, ITEMS
from ...db.read import entities
from ...db.write import entities as store
from ..dependencies import (
    DatabaseDep,
    DeleteAccess,
    ReadAccess,
    RendererDep,
    SourcedId,
    WriteAccess,
)
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..rendering.renderer import Renderer
from ..request_body import RawBody, parse_entity
from ..responses import JSON
from ..routing import CompiledRoute
from .entities import respond_with_entity

BATCH_SIZE = 250
"""Associations read and sent at a time. A client that stalls costs the server one batch, and 1 MB
of identifiers for each 25,000 associations."""

router = APIRouter(route_class=CompiledRoute)
vendor_router = APIRouter(route_class=CompiledRoute)


@router.get("/CFAssociations/{sourcedId}", **operations.describe_get(ASSOCIATIONS))
async def get_association(
    _caller: ReadAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    renderer: RendererDep,
) -> Response:
    """Return one association."""
    return await respond_with_entity(ASSOCIATIONS, sourced_id, request, db, renderer)


@router.get(
    "/CFItemAssociations/{sourcedId}",
    operation_id="getCFItemAssociations",
    summary="Get an item and all its associations; sourcedId is that of the item",
    responses=operations.describe_success(200, "The item and its associations.", "CFAssociationSet")
    | operations.describe_error_responses(404),
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


@vendor_router.put(
    "/CFItemAssociations/{sourcedId}",
    **operations.describe_put(ASSOCIATIONS, examples.ASSOCIATION, wrapper="association"),
)
async def put_association(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Create or replace an association."""
    wrappers = ("association", "CFAssociation")
    body = await parse_entity(request, sourced_id, raw_body, CFAssociation, wrappers)
    await store.put_association(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=201)


@vendor_router.delete(
    "/CFItemAssociations/{sourcedId}",
    status_code=204,
    operation_id="deleteCFItemAssociation",
    summary="Delete an association permanently; sourcedId is that of the association",
    responses=operations.describe_success(204, "Deleted; no body.")
    | operations.describe_error_responses(404),
)
async def delete_association(
    _caller: DeleteAccess, sourced_id: SourcedId, db: DatabaseDep
) -> Response:
    """Delete an association permanently. The response is 404 if it does not exist."""
    await store.delete_association(db, sourced_id)
    return Response(status_code=204)
