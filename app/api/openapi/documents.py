"""The OpenAPI documents, generated from the routes of the application.

Each API profile has a document of its own operations; ``/openapi.json`` has those of the platform
profile and all other routes. A document is generated when it is first requested, then cached.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from copy import deepcopy
from functools import cache, partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import orjson
from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts

from ... import __version__
from ...case.resources import RESOURCES
from ..dependencies import get_app_state
from ..profiles import PLATFORM, PROFILES, ApiProfile
from ..responses import json_response
from .operations import build_profile_components, resolve_profile_components
from .schemas import (
    BINDING,
    PREFIX,
    Schema,
    build_all_schemas,
    build_closed_object_schema,
    make_ref,
    rename_to_standard_names,
    suffix_references,
)

Document: TypeAlias = dict[str, Any]

DESCRIPTION = """CASE over a Postgres of your own.

Get an access token from `/oauth2/token` with the client credentials that the server printed at
start-up, and send it as `Authorization: Bearer TOKEN`.
"""

WRAPPED_CLASSES = {*(resource.name for resource in RESOURCES), "CFPackage", "CFPackageWithGroups"}
"""Classes whose objects some profiles wrap: ``{"CFItem": {…}}``."""

REFERENCE_PATTERN = re.compile(rf'"\$ref":"{PREFIX}([^"]+)"')
"""A reference to a schema in compact JSON."""


def create_openapi_router(app: FastAPI) -> APIRouter:
    """Create the router that serves the OpenAPI document of each profile and of the application.

    The paths of the standard profiles' documents are those of the CASE 1.1 binding, section 2.5.
    """
    router = APIRouter(include_in_schema=False)
    for profile in PROFILES:
        generate = cache(partial(_generate_profile_openapi, app, profile))
        path = profile.prefix + profile.document
        router.add_api_route(path, _create_document_endpoint(generate, profile))
    generate = cache(partial(_generate_application_openapi, app))
    router.add_api_route("/openapi.json", _create_document_endpoint(generate))
    return router


def _create_document_endpoint(
    generate: Callable[[], Document], profile: ApiProfile | None = None
) -> Callable[[Request], Awaitable[Response]]:
    async def read_document(request: Request) -> Response:
        document = await to_thread.run_sync(generate)
        base_url = get_app_state(request).settings.base_url
        if prefix := urlsplit(base_url).path:
            document = _add_path_prefix(document, prefix)
        if profile:
            servers = [{"url": base_url + profile.prefix, "description": profile.title}]
            document = {**document, "servers": servers}
        return json_response(document)

    return read_document


def _add_path_prefix(document: Document, prefix: str) -> Document:
    """Return a copy of an OpenAPI document whose server URL and token URL begin with ``prefix``.

    These URLs contain no host, because clients may reach this server under different host names.
    """
    components = document["components"]
    schemes = deepcopy(components["securitySchemes"])
    for scheme in schemes.values():
        for flow in scheme["flows"].values():
            flow["tokenUrl"] = prefix + flow["tokenUrl"]
    components = {**components, "securitySchemes": schemes}
    return {**document, "servers": [{"url": prefix}], "components": components}


def _generate_profile_openapi(app: FastAPI, profile: ApiProfile) -> Document:
    """Generate the OpenAPI document of one profile, as a dict.

    Its paths are relative to the profile's prefix.
    """
    routes = [route for route in iter_route_contexts(app.routes) if _is_below(profile, route)]
    document = _generate_document(routes, profile)
    document["paths"] = {
        path.removeprefix(profile.prefix): operations
        for path, operations in document["paths"].items()
    }
    return document


def _generate_application_openapi(app: FastAPI) -> Document:
    """Generate the OpenAPI document at ``/openapi.json``, as a dict.

    It describes the platform API profile and the routes outside all profiles.
    """
    other_profiles = [profile for profile in PROFILES if profile is not PLATFORM]
    routes = [
        route
        for route in iter_route_contexts(app.routes)
        if not any(_is_below(profile, route) for profile in other_profiles)
    ]
    return _generate_document(routes, PLATFORM)


def _is_below(profile: ApiProfile, route: RouteContext) -> bool:
    return (route.path or "").startswith(f"{profile.prefix}/")


def _generate_document(routes: list[RouteContext], profile: ApiProfile) -> Document:
    document = get_openapi(
        title="case-server", version=__version__, description=DESCRIPTION, routes=routes
    )
    document["paths"] = resolve_profile_components(
        document["paths"], build_profile_components(profile)
    )
    components = document["components"]
    # In place of FastAPI's schemas of the same classes, which describe optional fields as null.
    schemas: dict[str, Schema] = components["schemas"] | build_all_schemas(profile)
    if profile.wraps:
        for content in _iter_success_media_types(document):
            name = content["schema"]["$ref"].removeprefix(PREFIX)
            if name in WRAPPED_CLASSES:
                schemas[f"Wrapped{name}"] = build_closed_object_schema({name: content["schema"]})
                content["schema"] = make_ref(f"Wrapped{name}")
    components["schemas"] = {
        name: schemas[name] for name in sorted(_find_referenced_schemas(document["paths"], schemas))
    }
    if profile.writes:
        return document
    components["schemas"] = rename_to_standard_names(components["schemas"])
    components["schemas"], document["paths"] = (
        suffix_references(part, BINDING) for part in (components["schemas"], document["paths"])
    )
    return document


def _find_referenced_schemas(paths: Any, schemas: dict[str, Schema]) -> set[str]:
    """Return the names of all schemas that the paths of an OpenAPI document refer to.

    Includes the schemas to which these schemas refer. All others can be left out of the document.
    """
    pending_values, names = [paths], set[str]()
    while pending_values:
        references = REFERENCE_PATTERN.findall(orjson.dumps(pending_values.pop()).decode())
        names |= (new := set(references) - names)
        pending_values += [schemas[name] for name in new]
    return names


def _iter_success_media_types(document: Document) -> Iterator[Schema]:
    """Yield the media type object of each operation's 200 JSON response in an OpenAPI document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("200", {}).get("content", {})
            if "application/json" in content:
                yield content["application/json"]
