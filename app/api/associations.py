"""CFItemAssociations: GET takes an item's identifier, PUT and DELETE an association's."""

from fastapi import Request, Response

from ..case.resources import ASSOCIATIONS, ITEMS
from ..db import reading, store
from . import docs
from .answers import JSON, answer, renderer
from .deps import Deleter, Reader, services
from .direct import Routes
from .profiles import Profile
from .resources import Identifier
from .schemas import ref

PATH = "/CFItemAssociations/{sourcedId}"


def association_routes(profile: Profile) -> Routes:
    """An item with its associations, and the only DELETE there is."""
    routes = Routes()

    async def read_item_associations(
        identifier: Identifier, request: Request, _: Reader
    ) -> Response:
        item, associations = await reading.item_with_associations(
            services(request).database, identifier
        )
        render = renderer(request, profile)
        if profile.package_links:
            # Nothing is left out of them here, so they are what stands alone.
            one = await render.json(ITEMS, [item])
            several = await render.json(ASSOCIATIONS, associations)
            both = b'{"CFItem":%s,"CFAssociations":[%s]}' % (one, several)
            return Response(both, media_type=JSON)
        packed = await render.packed(ASSOCIATIONS, associations)
        return answer({"CFItem": await render.entity(ITEMS, item), "CFAssociations": packed})

    described = docs.wrapped("CFItem", ref("CFItem"))
    listed = docs.wrapped("CFAssociations", ref("CFAssociation"), many=True)
    described["properties"] |= listed["properties"]
    routes.add(
        PATH,
        read_item_associations,
        name="getCFItemAssociations",
        summary="An item and all its associations; sourcedId names the item",
        responses=docs.responses(
            200, "The item and its associations.", docs.json_content(described), 404
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
        responses=docs.responses(204, "Removed; no body.", None, 404),
    )


async def delete_association(identifier: Identifier, request: Request, _: Deleter) -> Response:
    """Remove an association for good."""
    await store.delete_association(services(request).database, identifier)
    return Response(status_code=204)
