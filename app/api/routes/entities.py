"""The routes that most resource types have: one entity, and the page of a list.

The modules of the resource types add these routes to their routers, because the endpoints differ
only in the resource type.
"""

import orjson
from fastapi import APIRouter, Request, Response

from ...case.resources import ResourceType
from ...db.read import entities
from ...db.read.lists import entity_lists
from ...exceptions import QueryTimeout
from ...query import page, params
from ..dependencies import DatabaseDep, ReadAccess, RendererDep, SourcedId
from ..openapi import operations
from ..rendering.renderer import Renderer
from ..responses import JSON, json_response


def add_entity_route(
    router: APIRouter, resource: ResourceType, path: str = "/{sourcedId}", description: str = ""
) -> None:
    """Add the route that returns one entity of a CASE class, or only its selected ``fields``.

    ``path`` is relative to the prefix of ``router``; ``description`` is shown in OpenAPI.
    """

    @router.get(
        path,
        operation_id=f"get{resource.name}",
        summary=f"Get a {resource.name}",
        description=description,
        response_model=resource.schema,
        response_description=f"The {resource.name}.",
        responses=operations.describe_errors(400, 404),
        openapi_extra=operations.describe_query_parameters(*operations.ENTITY_PARAMETERS),
    )
    async def get_entity(
        _caller: ReadAccess,
        sourced_id: SourcedId,
        request: Request,
        db: DatabaseDep,
        renderer: RendererDep,
    ) -> Response:
        fields = parse_selected_fields(resource, request, renderer)
        bodies = await entities.get_entity_with_descendants(db, resource, sourced_id)
        if fields is None and not renderer.profile.wraps:
            entity_json = await renderer.to_comma_separated_json(resource, bodies)
            return Response(entity_json, media_type=JSON)
        entity = page.select_fields(await renderer.to_response_object(resource, bodies[0]), fields)
        return json_response(renderer.wrap(resource.name, entity))


def add_list_route(
    router: APIRouter, resource: ResourceType, path: str = "", description: str = ""
) -> None:
    """Add the route that returns a page of the list of all entities of a CASE class.

    ``path`` is relative to the prefix of ``router``; ``description`` is shown in OpenAPI. The query
    parameters of a request select the page (CASE 1.1 binding, section 3).
    """

    @router.get(
        path,
        operation_id=f"getAll{resource.collection}",
        summary=f"List {resource.collection}",
        description=description,
        responses=operations.describe_list_response(resource) | operations.describe_errors(400),
        openapi_extra=operations.describe_list_parameters(resource),
    )
    async def list_entities(
        _caller: ReadAccess, request: Request, db: DatabaseDep, renderer: RendererDep
    ) -> Response:
        profile, raw_query = renderer.profile, request.query_params.multi_items()
        query = params.parse_list_query(
            raw_query,
            resource.schema,
            limits=profile.limits,
            grammar=profile.grammar,
            rules=profile.get_query_rules(resource),
        )
        try:
            view = profile.get_resource_view(resource)
            rows = await entity_lists.fetch_page(db, view, query, renderer.profile_base_url)
        except QueryTimeout as error:
            description = page.describe_query(resource.collection, raw_query)
            raise QueryTimeout(error.seconds, description) from error
        paging = page.build_paging_fields(query, rows.total)
        fields = {name: paging[name] for name in profile.paging_fields}
        url = renderer.base_url + request.url.path
        headers = page.build_pagination_headers(url, raw_query, query, rows.total)
        if query.fields is None:
            entities_json = await renderer.to_comma_separated_json(resource, rows.bodies)
            start = b'{"%s":[%s]' % (resource.collection.encode(), entities_json)
            end = b"," + orjson.dumps(fields)[1:] if fields else b"}"
            return Response(start + end, headers=headers, media_type=JSON)
        objects = await renderer.to_response_objects(resource, rows.bodies)
        selected = [page.select_fields(entity, query.fields) for entity in objects]
        return json_response({resource.collection: selected, **fields}, headers=headers)


def parse_selected_fields(
    resource: ResourceType, request: Request, renderer: Renderer
) -> tuple[str, ...] | None:
    """Parse the query parameter ``fields`` of a request into a tuple of field names.

    The request is for one entity. Returns None if the parameter is absent, which selects all
    fields. Raises ``BadRequest`` for fields that the class does not have.
    """
    if not request.scope["query_string"]:
        return None
    query = request.query_params.multi_items()
    return params.parse_fields(query, resource.schema, renderer.profile.get_query_rules(resource))
