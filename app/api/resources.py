"""The routes that every resource type has: one entity, and for some a list."""

# FastAPI evaluates the annotations of these closures, so they are not postponed to strings.
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator

from ..case.resources import RESOURCES, Resource
from ..db import listing, store
from ..errors import NotFound
from ..query import page, params
from . import docs, examples
from .answers import answer, renderer
from .deps import Reader, services
from .profiles import Profile


def _storable(identifier: str) -> str:
    """Postgres cannot even be asked for a NUL character."""
    if "\x00" in identifier:
        raise NotFound("no identifier holds a NUL character")
    return identifier


Identifier = Annotated[
    str,
    Path(alias="sourcedId", description="The identifier.", examples=[examples.ITEM_ID]),
    AfterValidator(_storable),
]


def resource_routes(profile: Profile) -> APIRouter:
    """One entity of every resource type, and a list of those types that have one."""
    router = APIRouter()
    for resource in RESOURCES:
        if resource.listed:
            _add_list(router, resource, profile)
        add = _add_set if resource.answers == "set" else _add_single
        add(router, resource, profile)
    return router


def _add_list(router: APIRouter, resource: Resource, profile: Profile) -> None:
    async def read_list(request: Request, _: Reader) -> Response:
        asked = request.query_params.multi_items()
        query = params.read(asked, resource.schema, limits=profile.limits, grammar=profile.grammar)
        found = await listing.page(services(request).database, resource, query)
        render = renderer(request, profile)
        bodies = [render.entity(resource, body) for body in found.bodies]
        if query.fields is not None:
            bodies = [page.select(body, query.fields) for body in bodies]
        paging = {"total": found.total, "limit": query.limit, "offset": query.offset}
        url = render.base_url + request.url.path
        headers = page.headers(url, asked, query, found.total)
        return answer({resource.plural: bodies, **paging}, headers=headers)

    router.add_api_route(
        f"/{resource.plural}",
        read_list,
        name=f"getAll{resource.plural}",
        summary=f"List {resource.plural}",
        responses=docs.responses(
            200,
            "One page; X-Total-Count and Link say how to go on.",
            docs.json_content(docs.page_of(resource.plural, docs.ref(resource.name))),
            400,
        ),
        openapi_extra={"parameters": docs.list_parameters(profile.limits)},
    )


def _add_single(router: APIRouter, resource: Resource, profile: Profile) -> None:
    async def read_one(identifier: Identifier, request: Request, _: Reader) -> Response:
        fields = params.read_selection(request.query_params.multi_items(), resource.schema)
        (body,) = await store.get(services(request).database, resource, identifier)
        render = renderer(request, profile)
        entity = render.entity(resource, body)
        chosen = entity if fields is None else page.select(entity, fields)
        return answer(render.single(resource.name, chosen))

    schema = docs.ref(resource.name)
    content = docs.wrapped(resource.name, schema) if profile.wraps else schema
    _add_get(router, resource, read_one, f"One {resource.name}", content)


def _add_set(router: APIRouter, resource: Resource, profile: Profile) -> None:
    async def read_set(identifier: Identifier, request: Request, _: Reader) -> Response:
        fields = params.read_selection(request.query_params.multi_items(), resource.schema)
        found = await store.get(services(request).database, resource, identifier)
        render = renderer(request, profile)
        entities = [render.entity(resource, body) for body in found]
        if fields is not None:
            entities = [page.select(entity, fields) for entity in entities]
        return answer({resource.plural: entities})

    summary = f"One {resource.name}, then those whose hierarchyCode continues its own"
    content = docs.wrapped(resource.plural, docs.ref(resource.name), many=True)
    _add_get(router, resource, read_set, summary, content)


def _add_get(
    router: APIRouter, resource: Resource, handler: Any, summary: str, content: docs.Schema
) -> None:
    router.add_api_route(
        f"/{resource.plural}/{{sourcedId}}",
        handler,
        name=f"get{resource.name}",
        summary=summary,
        responses=docs.responses(200, summary, docs.json_content(content), 400, 404),
        openapi_extra={"parameters": [docs.FIELDS_PARAMETER]},
    )
