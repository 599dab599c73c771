"""The OpenAPI document: the model's classes, the guide's examples, and every error described.

Routes read and write raw JSON, so what FastAPI cannot see in their signatures is told here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Request, Response

from ... import __version__
from ...case.resources import DOCUMENTS, ITEMS, SUBJECTS, Resource
from ...query.params import Limits
from ..dependencies import get_state
from ..profiles import PROFILES, Profile
from ..responses import json_response
from .schemas import Schema, all_schemas, ref

if TYPE_CHECKING:
    from ..routing import Routes


def json_content(schema: Schema, example: Any = None) -> Schema:
    """A JSON body."""
    content: Schema = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"application/json": content}


def wrapped(name: str, schema: Schema, *, many: bool = False) -> Schema:
    """An object with one name."""
    inner = {"type": "array", "items": schema} if many else schema
    return {"type": "object", "required": [name], "properties": {name: inner}}


def page_of(plural: str, schema: Schema, paging: tuple[str, ...]) -> Schema:
    """A page of a list, with its paging keys."""
    paged = wrapped(plural, schema, many=True)
    for key in paging:
        paged["properties"][key] = {"type": "integer"}
    paged["required"] += paging
    return paged


ERRORS = {
    400: "Malformed: not JSON, ids that differ, a bad list parameter",
    401: "No access token, or one that is not accepted",
    403: "The token lacks the scope of this operation",
    404: "No live entity has this identifier",
    409: "It contradicts what is stored, and the description names what",
    410: "The cursor is of a history that this store no longer tells: begin without one",
    413: "The body is larger than this server reads",
    422: "Not valid: imsx_error_details lists every problem with its path",
    503: "The database cannot answer now; Retry-After says when to come again",
}


def responses(
    status: int, description: str, content: Schema | None, *errors: int
) -> dict[int | str, Schema]:
    """What a route answers: its success, and the errors that it can meet."""
    success: Schema = {"description": description}
    if content is not None:
        success["content"] = content
    told: dict[int | str, Schema] = {status: success}
    for code in sorted({401, 403, 503, *errors}):
        told[code] = {"description": ERRORS[code], "content": json_content(ref("imsx_StatusInfo"))}
    # "default" also keeps FastAPI from describing a validation error that is never answered.
    told["default"] = {
        "description": "Any other error",
        "content": json_content(ref("imsx_StatusInfo")),
    }
    return told


def request_body(schema: Schema, example: Any) -> Schema:
    """The body a route reads."""
    return {"requestBody": {"required": True, "content": json_content(schema, example)}}


FIELDS_PARAMETER = {
    "name": "fields",
    "in": "query",
    "description": "The fields to answer, those and only those: separated by commas or repeated.",
    "schema": {"type": "array", "items": {"type": "string"}},
    "style": "form",
    "explode": False,
}


EXTENSIONS_PARAMETER = {
    "name": "extensions",
    "in": "query",
    "description": "Whether extensions are answered too.",
    "schema": {"type": "boolean", "default": False},
}


SEARCH_PARAMETER = {
    "name": "search",
    "in": "query",
    "description": "Words to be found in code, statement and keywords, each as the beginning of a "
    "word; what has the whole as its code comes first. An extension of this server, for use beside "
    "filter; without a sort the best match comes first.",
    "schema": {"type": "string"},
    "example": "3.OA.A.1",
}


REPAIR_PARAMETER = {
    "name": "repair",
    "in": "query",
    "description": "Whether what is not valid is repaired where that needs no guessing; the result "
    "then lists each kind of repair under repairs.",
    "schema": {"type": "boolean", "default": False},
}


def entity_parameters(profile: Profile) -> list[Schema]:
    """What may be asked of one entity."""
    hides = not profile.extensions and profile.version != "1.0"
    return [FIELDS_PARAMETER, *([EXTENSIONS_PARAMETER] if hides else [])]


JOINED = {
    True: "any number of them joined by AND, OR and parentheses; @ is one of a list",
    False: "two of them joined by AND or OR",
}


FILTER_EXAMPLES = {
    DOCUMENTS: "title~'math' AND creator='My Learning App'",
    ITEMS: "fullStatement~'product' AND CFItemType='Learning Standard'",
    SUBJECTS: "title~'math'",
}
"""A filter of each list; each finds something in the examples of the writes."""

LINK_EXAMPLES = {
    DOCUMENTS: "CFPackageURI.identifier",
    ITEMS: "CFDocumentURI.identifier",
    SUBJECTS: None,
}
"""A part of a link of each class that has one."""


def list_parameters(profile: Profile, resource: Resource) -> list[Schema]:
    """Return what may be asked of a list (CASE 1.1 binding, section 3)."""
    limits, joined = profile.limits, JOINED[profile.grammar.mixed_operators]
    sort = "fullStatement" if resource is ITEMS else "title"
    link = LINK_EXAMPLES[resource]
    links = f"links are asked about through their parts ({link}); " if link else ""

    def query(name: str, description: str, **schema: Any) -> Schema:
        return {"name": name, "in": "query", "description": description, "schema": schema}

    return [
        query(
            "limit",
            "How many to answer.",
            type="integer",
            minimum=1,
            maximum=limits.maximum,
            default=limits.default,
        ),
        query("offset", "How many to pass over first.", type="integer", minimum=0, default=0),
        query(
            "sort",
            f"The field to sort by, such as {f'{sort} or {link}' if link else sort}.",
            type="string",
        ),
        query(
            "orderBy",
            "The direction of the sort.",
            type="string",
            enum=["asc", "desc"],
            default="asc",
        ),
        query(
            "filter",
            f"field='value', with = != > >= < <= or ~ (contains); {joined}. "
            "Values are compared as this list answers them. "
            f"Comparison ignores case; a quote in a value is doubled; {links}a list equals all "
            "its members joined by commas and contains (~) what any member contains.",
            type="string",
            example=FILTER_EXAMPLES[resource],
        ),
        *entity_parameters(profile),
    ]


def feed_parameters(limits: Limits) -> list[Schema]:
    """What may be asked of the feed of changes."""
    limit = {"type": "integer", "minimum": 1}
    limit |= {"maximum": limits.maximum, "default": limits.default}
    since = "The next of an answer before; empty begins with the first change."
    return [
        {"name": "since", "in": "query", "description": since, "schema": {"type": "string"}},
        {"name": "limit", "in": "query", "description": "How many writes.", "schema": limit},
    ]


Document: TypeAlias = Callable[[], dict[str, Any]]

DESCRIPTION = """CASE over a Postgres of your own.

Get a token from `/oauth2/token` with the client credentials that the server printed when it
started, and send it as `Authorization: Bearer TOKEN`.
"""


def document_routes(app: FastAPI, routes: dict[Profile, Routes], first: Profile) -> APIRouter:
    """The OpenAPI documents: of each profile, and of the application with its first profile.

    The standard's are where its consumers look for them (CASE 1.1 binding, section 2.5).
    """
    router = APIRouter(include_in_schema=False)
    for profile in PROFILES:
        document = _document(profile, routes[profile])
        path = profile.prefix + profile.document
        router.add_api_route(path, _reader(document, profile))
    document = _document(first, routes[first], prefix=first.prefix, beside=app)
    router.add_api_route("/openapi.json", _reader(document))
    return router


def _reader(
    document: Document, profile: Profile | None = None
) -> Callable[[Request], Awaitable[Response]]:
    async def read_document(request: Request) -> Response:
        told = await to_thread.run_sync(document)
        base_url = get_state(request).settings.base_url
        if prefix := urlsplit(base_url).path:
            # Without a host, as browsers may have another name for this server.
            told = _below(told, prefix)
        if profile:
            url = base_url + profile.prefix
            told = {**told, "servers": [{"url": url, "description": profile.title}]}
        return json_response(told)

    return read_document


def _below(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return an OpenAPI document of a server whose paths all stand below a prefix."""
    components = document["components"]
    schemes = {
        name: {
            **scheme,
            "flows": {
                kind: {**flow, "tokenUrl": prefix + flow["tokenUrl"]}
                for kind, flow in scheme["flows"].items()
            },
        }
        for name, scheme in components["securitySchemes"].items()
    }
    components = {**components, "securitySchemes": schemes}
    return {**document, "servers": [{"url": prefix}], "components": components}


def _document(
    profile: Profile, routes: Routes, *, prefix: str = "", beside: FastAPI | None = None
) -> Document:
    """Makes an OpenAPI document when it is first asked for: that takes a while.

    It knows the schemas that the routes refer to, and the other routes of an application.
    """

    @cache
    def made() -> dict[str, Any]:
        described = FastAPI(
            title="case-server",
            version=__version__,
            description=DESCRIPTION,
            generate_unique_id_function=lambda route: route.name,
        )
        described.include_router(routes.described(), prefix=prefix, tags=[profile.title])
        if beside:
            described.router.routes += beside.router.routes
        document = described.openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas |= all_schemas(both_ids=profile.sourced_ids)
        return document

    return made
