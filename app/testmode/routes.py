"""The routes of the test API under ``/_test/``.

They are not part of CASE: they require no scope and are not in the OpenAPI documents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from ..api.request_body import read_body
from ..api.responses import json_response
from ..auth.invalid_tokens import Defect, make_invalid_token
from ..auth.local_issuer import LocalIssuer
from ..auth.scopes import Scope
from ..case.package import Package, parse_package
from ..case.package_stream import parse_large_package
from ..case.problems import format_path
from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, Resource
from ..db.write import soft_delete
from ..exceptions import BadRequest, Conflict, Problem, UnprocessableContent
from ..repair.reader import read_repaired
from ..sample import read_sample
from .faults import Fault
from .middleware import NAMESPACE, TEST_API_PREFIX
from .namespaces import NAME_PATTERN, Namespace, Namespaces
from .request_log import Expectation, RequestFilter, find_differences

Model = TypeVar("Model")

PACKAGE_FIELDS = {"CFDocument", "CFPackage", "package"}
"""A seed with one of these is a CFPackage, bare or wrapped."""

SCOPES_BY_SHORT_NAME = {scope.name.lower(): scope for scope in Scope}


def create_test_api_routes() -> APIRouter:
    """Return all routes of the test API."""
    router = APIRouter(prefix=TEST_API_PREFIX, include_in_schema=False)
    router.get("")(read_namespace)
    router.post("/reset")(reset)
    router.post("/seed")(seed)
    router.get("/snapshots")(list_snapshots)
    router.post("/snapshots/{name}")(take_snapshot)
    router.post("/snapshots/{name}/restore")(restore_snapshot)
    router.delete("/snapshots/{name}")(delete_snapshot)
    router.get("/namespaces")(list_namespaces)
    router.delete("/namespaces/{name}")(drop_namespace)
    for resource in (DOCUMENTS, ITEMS):
        _add_deletion_routes(router, resource)
    router.get("/faults")(list_faults)
    router.put("/faults")(replace_faults)
    router.post("/faults")(add_faults)
    router.delete("/faults")(clear_faults)
    router.get("/requests")(list_requests)
    router.delete("/requests")(clear_requests)
    router.post("/requests/verify")(verify_requests)
    router.post("/tokens")(create_token)
    router.get("/token-lifetimes")(read_token_lifetimes)
    router.put("/token-lifetimes")(replace_token_lifetimes)
    router.delete("/token-lifetimes")(clear_token_lifetimes)
    router.post("/keys/rotate")(rotate_keys)
    return router


class Seed(BaseModel):
    """The seed data of a namespace: the sample framework, packages, both or neither."""

    model_config = ConfigDict(extra="forbid")

    sample: bool = False
    packages: list[dict[str, Any]] = []

    @model_validator(mode="before")
    @classmethod
    def _from_package(cls, body: Any) -> Any:
        """Accept a single package instead of ``packages``."""
        if isinstance(body, dict) and PACKAGE_FIELDS & body.keys():
            return {"packages": [body]}
        return body


class RequestQuery(BaseModel):
    """The query parameters that filter the request log."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = None
    path: str | None = None
    client: str | None = None
    status: int | None = None
    since: datetime | None = None
    """A time without an offset is in UTC."""
    body: bool = False

    def to_filter(self) -> RequestFilter:
        """Return the parameters as a filter of the request log."""
        since = self.since
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        timestamp = None if since is None else since.timestamp()
        return RequestFilter(self.method, self.path, None, self.client, self.status, timestamp)


class TokenRequest(BaseModel):
    """An access token to create, valid unless it has a defect."""

    model_config = ConfigDict(extra="forbid")

    defect: Defect | None = None
    scopes: list[Scope] = list(Scope)
    """Full names, or short ones: readonly, createput, delete."""
    client_id: str | None = None

    @field_validator("scopes", mode="before")
    @classmethod
    def _expand_short_names(cls, scopes: object) -> object:
        if not isinstance(scopes, list):
            return scopes
        return [SCOPES_BY_SHORT_NAME.get(str(name).removeprefix("case."), name) for name in scopes]


SEED = TypeAdapter(Seed)
FAULTS = TypeAdapter(list[Fault])
EXPECTATIONS = TypeAdapter(list[Expectation])
REQUEST_QUERY = TypeAdapter(RequestQuery)
TOKEN_REQUEST = TypeAdapter(TokenRequest)
TOKEN_LIFETIMES = TypeAdapter(dict[str, Annotated[int, Field(ge=1, le=86400)]])


async def read_namespace(request: Request) -> Response:
    """Describe the namespace of the request."""
    return json_response(_describe(get_namespace(request)))


async def reset(request: Request) -> Response:
    """Restore the seed; clear faults, request log, token lifetimes and failed logins."""
    started, namespace = time.perf_counter(), get_namespace(request)
    await namespace.reset()
    return json_response({**_describe(namespace), "milliseconds": _milliseconds_since(started)})


async def seed(request: Request) -> Response:
    """Replace the seed and reset to it."""
    namespace, repair = get_namespace(request), _read_flag(request.query_params, "repair")
    body = await _read_json(request, SEED, default="{}")
    packages = await to_thread.run_sync(lambda: list(_parse_packages(body, repair=repair)))
    await get_namespaces(request).seed(namespace, packages)
    counts = {
        "documents": len(packages),
        "items": sum(package.count(ITEMS.name) for package in packages),
        "associations": sum(package.count(ASSOCIATIONS.name) for package in packages),
    }
    return json_response({**_describe(namespace), "seeded": counts})


def _parse_packages(seed: Seed, *, repair: bool) -> Iterator[Package]:
    """Yield the packages of a seed, parsed as uploads are.

    Raises ``UnprocessableContent`` with the problems of all packages.
    """
    if seed.sample:
        yield parse_package(read_sample())
    problems: list[Problem] = []
    for index, package in enumerate(seed.packages):
        raw = orjson.dumps(package)
        try:
            yield read_repaired(raw)[0] if repair else parse_large_package(raw)
        except UnprocessableContent as error:
            problems += [
                {**problem, "path": f"packages[{index}].{problem['path']}"}
                for problem in error.problems
            ]
    if problems:
        raise UnprocessableContent("a package of the seed is invalid", problems=problems)


async def list_snapshots(request: Request) -> Response:
    """List the names of the snapshots."""
    return json_response(list(get_namespace(request).snapshots))


async def take_snapshot(name: str, request: Request) -> Response:
    """Save the data as a snapshot, replacing one of the same name."""
    if not NAME_PATTERN.fullmatch(name):
        raise BadRequest(
            f"invalid snapshot name {name!r}: use 1 to 40 of the characters a-z, 0-9 and -"
        )
    namespace = get_namespace(request)
    await namespace.take_snapshot(name)
    return json_response(_describe(namespace), 201)


async def restore_snapshot(name: str, request: Request) -> Response:
    """Replace the data by a snapshot."""
    started, namespace = time.perf_counter(), get_namespace(request)
    await namespace.restore_snapshot(name)
    return json_response({**_describe(namespace), "milliseconds": _milliseconds_since(started)})


async def delete_snapshot(name: str, request: Request) -> Response:
    """Delete a snapshot."""
    await get_namespace(request).delete_snapshot(name)
    return Response(status_code=204)


async def list_namespaces(request: Request) -> Response:
    """Describe all namespaces."""
    return json_response([_describe(namespace) for namespace in get_namespaces(request).all()])


async def drop_namespace(name: str, request: Request) -> Response:
    """Drop a namespace with its data; the next request to it creates it again."""
    await get_namespaces(request).drop(name)
    return Response(status_code=204)


def _add_deletion_routes(router: APIRouter, resource: Resource) -> None:
    """Add routes that soft-delete and undelete an entity, for which CASE 1.1 has no operations."""

    async def delete(identifier: str, request: Request) -> Response:
        async with get_namespace(request).request(writes=True) as app_state:
            changes = await soft_delete.delete(app_state.database, resource, identifier)
        return json_response({"changes": _count_by_kind(changes)})

    async def undelete(identifier: str, request: Request) -> Response:
        async with get_namespace(request).request(writes=True) as app_state:
            undeleted = await soft_delete.undelete(app_state.database, resource, identifier)
        counts = _count_by_kind(undeleted.changes)
        return json_response({"changes": counts, "notRestored": undeleted.not_restored})

    path = f"/{resource.plural}/{{identifier}}"
    router.post(f"{path}/delete")(delete)
    router.post(f"{path}/undelete")(undelete)


def _count_by_kind(changes: soft_delete.Changes) -> dict[str, int]:
    return {kind: count for (kind, _), count in changes.items()}


async def list_faults(request: Request) -> Response:
    """List the faults with their counters."""
    return json_response([rule.to_dict() for rule in get_namespace(request).faults.rules])


async def replace_faults(request: Request) -> Response:
    """Replace all faults."""
    faults = await _read_json(request, FAULTS)
    get_namespace(request).faults.replace(faults)
    return await list_faults(request)


async def add_faults(request: Request) -> Response:
    """Add faults after the existing ones."""
    faults = await _read_json(request, FAULTS)
    get_namespace(request).faults.add(faults)
    return await list_faults(request)


async def clear_faults(request: Request) -> Response:
    """Remove all faults."""
    get_namespace(request).faults.replace([])
    return Response(status_code=204)


async def list_requests(request: Request) -> Response:
    """List the request log, oldest first."""
    query = _read_query(request, REQUEST_QUERY)
    entries = get_namespace(request).request_log.find(query.to_filter())
    return json_response([entry.to_dict(body=query.body) for entry in entries])


async def clear_requests(request: Request) -> Response:
    """Clear the request log."""
    get_namespace(request).request_log.clear()
    return Response(status_code=204)


async def verify_requests(request: Request) -> Response:
    """Compare the request log with expectations; return ``met`` and the differences."""
    expectations = await _read_json(request, EXPECTATIONS)
    differences = list(find_differences(get_namespace(request).request_log, expectations))
    return json_response({"met": not differences, "differences": differences})


async def create_token(request: Request) -> Response:
    """Create an access token without a request to the token endpoint."""
    issuer, token = _get_issuer(request), await _read_json(request, TOKEN_REQUEST, default="{}")
    client = token.client_id or get_namespace(request).app_state.settings.client_id
    access_token = make_invalid_token(issuer, client, token.scopes, token.defect)
    return json_response({"access_token": access_token, "token_type": "Bearer"}, 201)


async def read_token_lifetimes(request: Request) -> Response:
    """Return the custom token lifetimes in seconds, by client."""
    return json_response(_get_issuer(request).lifetimes)


async def replace_token_lifetimes(request: Request) -> Response:
    """Set the lifetimes of future tokens; clients not named get the configured lifetime."""
    issuer = _get_issuer(request)
    issuer.lifetimes = await _read_json(request, TOKEN_LIFETIMES)
    return json_response(issuer.lifetimes)


async def clear_token_lifetimes(request: Request) -> Response:
    """Remove all custom token lifetimes."""
    _get_issuer(request).lifetimes = {}
    return Response(status_code=204)


async def rotate_keys(request: Request) -> Response:
    """Sign with a new key; tokens of older keys stay valid unless ``revoke=true``."""
    issuer = _get_issuer(request)
    revoke = _read_flag(request.query_params, "revoke")
    kid = await get_namespace(request).rotate_keys(issuer, revoke=revoke)
    return json_response({"kid": kid, "kids": list(issuer.kids)}, 201)


def _get_issuer(request: Request) -> LocalIssuer:
    issuer = get_namespace(request).app_state.issuer
    if issuer is None:
        raise Conflict(
            "this server does not issue tokens (CASE_SERVER_LOCAL_ISSUER is false): request them "
            "from its trusted issuer"
        )
    return issuer


def get_namespace(request: Request) -> Namespace:
    """Return the namespace that the middleware resolved for a request."""
    namespace: Namespace = request.scope[NAMESPACE]
    return namespace


def get_namespaces(request: Request) -> Namespaces:
    """Return the namespaces of the server."""
    namespaces: Namespaces = request.app.state.namespaces
    return namespaces


def _describe(namespace: Namespace) -> dict[str, Any]:
    return {
        "namespace": namespace.name,
        "base_url": namespace.base_url,
        "snapshots": list(namespace.snapshots),
        "faults": len(namespace.faults.rules),
        "requests": len(namespace.request_log),
    }


def _milliseconds_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)


async def _read_json(request: Request, schema: TypeAdapter[Model], *, default: str = "") -> Model:
    """Parse and validate the request body; ``default`` is the JSON used for an empty one.

    Raises ``BadRequest`` if it is not JSON, ``UnprocessableContent`` with all problems if it does
    not have the form of ``schema``.
    """
    raw = await read_body(request) or default.encode()
    try:
        return schema.validate_json(raw)
    except ValidationError as error:
        problems = _problems(error)
        if error.errors()[0]["type"] == "json_invalid":
            raise BadRequest(f"the body is not JSON: {problems[0]['message']}") from error
        raise UnprocessableContent(_join(problems), problems=problems) from error


def _read_query(request: Request, schema: TypeAdapter[Model]) -> Model:
    """Parse and validate the query string. Raises ``BadRequest`` with all problems."""
    try:
        return schema.validate_python(dict(request.query_params))
    except ValidationError as error:
        problems = _problems(error)
        raise BadRequest(_join(problems), problems=problems) from error


def _problems(error: ValidationError) -> list[Problem]:
    return [
        Problem(
            path=format_path(detail["loc"]),
            message=str(detail["msg"]).removeprefix("Value error, "),
        )
        for detail in error.errors()
    ]


def _join(problems: list[Problem]) -> str:
    return "; ".join(
        f"{problem['path']}: {problem['message']}" if problem["path"] else problem["message"]
        for problem in problems
    )


def _read_flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise BadRequest(f"{name} must be true or false, not {value!r}")
    return value == "true"
