"""The OpenAPI document: the model's classes, the guide's examples, and every error described.

Routes read and write raw JSON, so what FastAPI cannot see in their signatures is told here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from .. import __version__
from ..query.params import Limits
from .answers import answer
from .deps import services
from .profiles import PROFILES, Profile
from .schemas import Schema, all_schemas, ref


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


def list_parameters(profile: Profile) -> list[Schema]:
    """What may be asked of a list (CASE 1.1 binding, section 3)."""
    limits, joined = profile.limits, JOINED[profile.grammar.mixing]

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
            "sort", "The field to sort by, such as title or CFPackageURI.identifier.", type="string"
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
            "Comparison ignores case; a quote in a value is doubled; links are asked about "
            "through their parts (CFPackageURI.identifier); a list equals all its members joined "
            "by commas and contains (~) what any member contains.",
            type="string",
            example="title~'math' AND adoptionStatus='Draft'",
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


DESCRIPTION = """CASE over a Postgres of your own.

Get a token from `/oauth2/token` with the client credentials that the server printed when it
started, and send it as `Authorization: Bearer TOKEN`.
"""


def describe(app: FastAPI, profile: Profile) -> None:
    """Make an application's OpenAPI document know the schemas that its routes refer to."""
    app.title, app.version, app.description = "case-server", __version__, DESCRIPTION
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "imsx_StatusInfo" not in schemas:
            schemas |= all_schemas(both_ids=profile.both_ids)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend it


def document_routes(routes: dict[Profile, APIRouter]) -> APIRouter:
    """The OpenAPI document of each profile, with this server in it.

    The standard's are where its consumers look for them (CASE 1.1 binding, section 2.5).
    """
    router = APIRouter(include_in_schema=False)
    for profile in PROFILES:
        router.add_api_route(profile.prefix + profile.document, _document(profile, routes[profile]))
    return router


def _document(profile: Profile, router: APIRouter) -> Callable[..., Awaitable[Response]]:
    described = FastAPI(generate_unique_id_function=lambda route: route.name)
    described.include_router(router, tags=[profile.title])
    describe(described, profile)

    async def read_document(request: Request) -> Response:
        base_url = services(request).settings.base_url
        servers = [{"url": base_url + profile.prefix, "description": profile.title}]
        return answer({**described.openapi(), "servers": servers})

    return read_document
