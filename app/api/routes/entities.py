"""The routes that every resource type has: one entity, and for some a list."""

# FastAPI evaluates the annotations of these closures, so they are not postponed to strings.
from typing import Annotated, Any

import orjson
from fastapi import Path, Request, Response
from pydantic import AfterValidator

from ...case.resources import ITEMS, RESOURCES, Resource
from ...case.types import IDENTIFIER_SCHEMA
from ...db.read import entities as reading
from ...db.read import lists
from ...exceptions import ReadTimeout
from ...query import page, params
from ..dependencies import ReadAccess, get_state
from ..openapi import documents, examples
from ..openapi.schemas import Schema, ref
from ..profiles import Profile
from ..responses import JSON, get_renderer, json_response, reject_nul
from ..routing import Routes

Identifier = Annotated[
    str,
    Path(
        alias="sourcedId",
        description="The identifier.",
        examples=[examples.ITEM_ID],
        json_schema_extra=IDENTIFIER_SCHEMA,
    ),
    AfterValidator(reject_nul),
]


def resource_routes(profile: Profile) -> Routes:
    """One entity of every resource type, and a list of those types that have one."""
    routes = Routes()
    for resource in RESOURCES:
        if resource.plural in profile.lists:
            _add_list(routes, resource, profile)
        add = _add_set if resource.with_descendants else _add_single
        add(routes, resource, profile)
    return routes


def _add_list(routes: Routes, resource: Resource, profile: Profile) -> None:
    derivation, dialect = profile.derivation, profile.dialect(resource)

    async def read_list(request: Request, _: ReadAccess) -> Response:
        asked = request.query_params.multi_items()
        query = params.parse_list_query(
            asked,
            resource.schema,
            limits=profile.limits,
            grammar=profile.grammar,
            dialect=dialect,
        )
        render = get_renderer(request, profile)
        try:
            found = await lists.fetch_page(
                get_state(request).database, resource, query, derivation, render.profile_url
            )
        except ReadTimeout as error:
            raise ReadTimeout(error.seconds, page.describe_query(resource.plural, asked)) from error
        paging = page.paging_fields(query, found.total)
        said = {name: paging[name] for name in profile.paging_fields}
        url = render.base_url + request.url.path
        headers = page.pagination_headers(url, asked, query, found.total)
        if query.fields is None:
            listed = b'{"%s":[%s]' % (
                resource.plural.encode(),
                await render.to_json(resource, found.bodies),
            )
            told = b"," + orjson.dumps(said)[1:] if said else b"}"
            return Response(listed + told, headers=headers, media_type=JSON)
        entities = await render.to_objects(resource, found.bodies)
        chosen = [page.select_fields(entity, query.fields) for entity in entities]
        return json_response({resource.plural: chosen, **said}, headers=headers)

    parameters = documents.list_parameters(profile, resource)
    if resource is ITEMS:
        parameters.append(documents.SEARCH_PARAMETER)
    routes.add(
        f"/{resource.plural}",
        read_list,
        name=f"getAll{resource.plural}",
        summary=f"List {resource.plural}",
        responses=documents.responses(
            200,
            "One page; X-Total-Count and Link say how to go on.",
            documents.json_content(
                documents.page_of(resource.plural, ref(resource.name), profile.paging_fields)
            ),
            400,
        ),
        openapi_extra={"parameters": parameters},
    )


def _add_single(routes: Routes, resource: Resource, profile: Profile) -> None:
    dialect = profile.dialect(resource)

    async def read_one(identifier: Identifier, request: Request, _: ReadAccess) -> Response:
        fields = None
        if request.scope["query_string"]:
            asked = request.query_params.multi_items()
            fields = params.parse_fields(asked, resource.schema, dialect)
        found = await reading.get(get_state(request).database, resource, identifier)
        render = get_renderer(request, profile)
        if fields is None and not profile.wraps:
            return Response(await render.to_json(resource, found), media_type=JSON)
        entity = page.select_fields(await render.to_object(resource, found[0]), fields)
        return json_response(render.wrap(resource.name, entity))

    schema = ref(resource.name)
    content = documents.wrapped(resource.name, schema) if profile.wraps else schema
    _add_get(routes, (resource, profile), read_one, f"One {resource.name}", content)


def _add_set(routes: Routes, resource: Resource, profile: Profile) -> None:
    dialect = profile.dialect(resource)

    async def read_set(identifier: Identifier, request: Request, _: ReadAccess) -> Response:
        asked = request.query_params.multi_items()
        fields = params.parse_fields(asked, resource.schema, dialect)
        found = await reading.get(get_state(request).database, resource, identifier)
        render = get_renderer(request, profile)
        entities = await render.to_objects(resource, found)
        return json_response(
            {resource.plural: [page.select_fields(entity, fields) for entity in entities]}
        )

    summary = f"One {resource.name}, then those whose hierarchyCode continues its own"
    content = documents.wrapped(resource.plural, ref(resource.name), many=True)
    _add_get(routes, (resource, profile), read_set, summary, content)


def _add_get(
    routes: Routes,
    route: tuple[Resource, Profile],
    handler: Any,
    summary: str,
    content: Schema,
) -> None:
    resource, profile = route
    routes.add(
        f"/{resource.plural}/{{sourcedId}}",
        handler,
        name=f"get{resource.name}",
        summary=summary,
        responses=documents.responses(200, summary, documents.json_content(content), 400, 404),
        openapi_extra={"parameters": documents.entity_parameters(profile)},
    )
