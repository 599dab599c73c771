"""Responses of the endpoints of most resource types: one entity, and the page of a list."""

import orjson
from fastapi import Request, Response

from ...case.resources import ResourceType
from ...db.pool import Database
from ...db.read import entities
from ...db.read.lists import entity_lists
from ...exceptions import QueryTimeout
from ...query import pagination, params
from ..rendering.renderer import Renderer
from ..responses import JSON, json_response


async def respond_with_entity(
    resource: ResourceType, identifier: str, request: Request, db: Database, renderer: Renderer
) -> Response:
    """Respond with one entity of a CASE class, or only the ``fields`` that the request selects.

    Raises ``NotFound`` if it does not exist or is soft-deleted, and ``BadRequest`` for unknown
    fields.
    """
    fields = parse_selected_fields(resource, request, renderer)
    bodies = await entities.get_entity_with_descendants(db, resource, identifier)
    if fields is None and not renderer.profile.wraps:
        entity_json = await renderer.to_comma_separated_json(resource, bodies)
        return Response(entity_json, media_type=JSON)
    entity = pagination.select_fields(
        await renderer.to_response_object(resource, bodies[0]), fields
    )
    return json_response(renderer.wrap(resource.name, entity))


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


async def respond_with_list_page(
    resource: ResourceType, request: Request, db: Database, renderer: Renderer
) -> Response:
    """Respond with the page of a list that the query parameters of the request select.

    See CASE 1.1 binding, section 3. Raises ``BadRequest`` for invalid parameters and
    ``QueryTimeout`` if the database query takes too long.
    """
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
        description = pagination.describe_query(resource.collection, raw_query)
        raise QueryTimeout(error.seconds, description) from error
    paging = pagination.build_paging_fields(query, rows.total)
    fields = {name: paging[name] for name in profile.paging_fields}
    url = renderer.base_url + request.url.path
    headers = pagination.build_pagination_headers(url, raw_query, query, rows.total)
    if query.fields is None:
        entities_json = await renderer.to_comma_separated_json(resource, rows.bodies)
        start = b'{"%s":[%s]' % (resource.collection.encode(), entities_json)
        end = b"," + orjson.dumps(fields)[1:] if fields else b"}"
        return Response(start + end, headers=headers, media_type=JSON)
    objects = await renderer.to_response_objects(resource, rows.bodies)
    selected = [pagination.select_fields(entity, query.fields) for entity in objects]
    return json_response({resource.collection: selected, **fields}, headers=headers)
