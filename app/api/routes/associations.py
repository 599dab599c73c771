"""CFItemAssociations: GET takes an item's identifier, PUT and DELETE an association's."""

from collections.abc import AsyncIterator

import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ...case.resources import ASSOCIATIONS, ITEMS
from ...db.read import entities
from ...db.write import entities as store
from ..dependencies import DeleteAccess, ReadAccess, get_state
from ..openapi import documents
from ..openapi.schemas import ref
from ..profiles import Profile
from ..rendering.renderer import Renderer
from ..responses import JSON, get_renderer
from ..routing import Routes
from .entities import Identifier

BATCH_SIZE = 250
"""Associations read and sent at a time: a client that stalls costs the server one batch, and 1 MB
of identifiers for each 25,000 associations."""

PATH = "/CFItemAssociations/{sourcedId}"


def association_routes(profile: Profile) -> Routes:
    """An item with its associations, and the only DELETE there is."""
    routes = Routes()

    async def read_item_associations(
        identifier: Identifier, request: Request, _: ReadAccess
    ) -> Response:
        database = get_state(request).database
        # One more than a batch, to see whether there are more.
        item, associations = await entities.get_item_with_associations(
            database, identifier, BATCH_SIZE + 1
        )
        render = get_renderer(request, profile)
        if len(associations) > BATCH_SIZE:
            batches = entities.iter_association_batches(database, identifier, BATCH_SIZE)
            chunks = _chunks(render, item, batches)
            # The first is read before the status is sent, because it may become another.
            first = await anext(chunks)
            return StreamingResponse(_following(first, chunks), media_type=JSON)
        one = await render.to_json(ITEMS, [item])
        several = await _rendered(render, associations)
        return Response(b'{"CFItem":%s,"CFAssociations":[%s]}' % (one, several), media_type=JSON)

    described = documents.wrapped("CFItem", ref("CFItem"))
    listed = documents.wrapped("CFAssociations", ref("CFAssociation"), many=True)
    described["properties"] |= listed["properties"]
    routes.add(
        PATH,
        read_item_associations,
        name="getCFItemAssociations",
        summary="An item and all its associations; sourcedId names the item",
        responses=documents.responses(
            200, "The item and its associations.", documents.json_content(described), 404
        ),
    )
    if profile.writes:
        _add_delete(routes)
    return routes


def _add_delete(routes: Routes) -> None:
    routes.add(
        PATH,
        delete_association,
        methods=["DELETE"],
        status_code=204,
        name="deleteCFItemAssociation",
        summary="Remove an association for good; sourcedId names the association",
        responses=documents.responses(204, "Removed; no body.", None, 404),
    )


async def _chunks(
    render: Renderer, item: str, batches: AsyncIterator[list[str]]
) -> AsyncIterator[bytes]:
    """Yield the answer of an item with its associations, a batch at a time."""
    head = b'{"CFItem":%s,"CFAssociations":[' % await render.to_json(ITEMS, [item])
    async for batch in batches:
        yield head + await _rendered(render, batch)
        head = b","
    yield b"]}" if head == b"," else head + b"]}"


async def _following(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


async def _rendered(render: Renderer, associations: list[str]) -> bytes:
    """Return associations as JSON separated by commas."""
    if render.profile.package_links:
        # The profile leaves nothing out of them here, so they are those that stand alone.
        return await render.to_json(ASSOCIATIONS, associations)
    return orjson.dumps(await render.to_package_objects(ASSOCIATIONS, associations))[1:-1]


async def delete_association(identifier: Identifier, request: Request, _: DeleteAccess) -> Response:
    """Remove an association for good."""
    await store.delete_association(get_state(request).database, identifier)
    return Response(status_code=204)
