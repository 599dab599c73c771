"""The routes of the test API under ``/_test/``.

They are not part of CASE: they require no scope and are not in the OpenAPI documents.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import to_json

from ..api.request_body import read_body
from ..api.responses import json_response
from ..auth.invalid_tokens import Defect, make_test_token
from ..auth.local_issuer import LocalIssuer
from ..auth.scopes import Scope
from ..case.package import PreparedPackage, parse_package
from ..case.package_stream import parse_large_package
from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, ResourceType
from ..case.validation.problems import format_location
from ..db.write import soft_delete
from ..exceptions import BadRequest, Conflict, Problem, UnprocessableContent
from ..repair.reader import repair_and_parse
from ..sample import read_sample
from .faults import Fault, FaultRule
from .middleware import NAMESPACE, TEST_API_PREFIX
from .namespaces import NAME_PATTERN, Namespace, NamespaceRegistry
from .request_log import LoggedRequest, RequestExpectation, RequestFilter, find_unmet_expectations

Model = TypeVar("Model")

PACKAGE_FIELDS = {"CFDocument", "CFPackage", "package"}
"""A seed with one of these is a CFPackage, bare or wrapped."""

SCOPES_BY_SHORT_NAME = {scope.name.lower(): scope for scope in Scope}

router = APIRouter(prefix=TEST_API_PREFIX, include_in_schema=False)


class Seed(BaseModel):
    """The data that a reset restores: CASE packages, and the sample framework if requested."""

    model_config = ConfigDict(extra="forbid")

    sample: bool = False
    packages: list[dict[str, Any]] = []

    @model_validator(mode="before")
    @classmethod
    def _wrap_single_package(cls, body: Any) -> Any:
        """Return ``{"packages": [body]}`` if the request body is a CFPackage, or else the body.

        In this way, a client can send one package without the field ``packages``.
        """
        if isinstance(body, dict) and PACKAGE_FIELDS & body.keys():
            return {"packages": [body]}
        return body


class RequestLogQuery(RequestFilter):
    """The query parameters of ``GET /_test/requests``, which select entries of the request log."""

    status: int | None = None
    since: datetime | None = None
    """A time without an offset is in UTC."""
    body: bool = False

    def matches(self, entry: LoggedRequest) -> bool:
        """Return whether the parameters select a logged request."""
        since = self.since
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        return (
            super().matches(entry)
            and (self.status is None or self.status == entry.status)
            and (since is None or since.timestamp() <= entry.started)
        )


class TokenOptions(BaseModel):
    """The properties of an access token to create.

    ``defect`` makes the token invalid in one way, for example "expired".
    """

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
EXPECTATIONS = TypeAdapter(list[RequestExpectation])
REQUEST_QUERY = TypeAdapter(RequestLogQuery)
TOKEN_REQUEST = TypeAdapter(TokenOptions)
TOKEN_LIFETIMES = TypeAdapter(dict[str, Annotated[int, Field(ge=1, le=86400)]])


async def get_namespace(request: Request) -> Namespace:
    """Return the test namespace of a request, as determined by the middleware."""
    namespace: Namespace = request.scope[NAMESPACE]
    return namespace


async def get_namespace_registry(request: Request) -> NamespaceRegistry:
    """Return the registry of the server's test namespaces."""
    namespaces: NamespaceRegistry = request.app.state.namespaces
    return namespaces


NamespaceDep = Annotated[Namespace, Depends(get_namespace)]
RegistryDep = Annotated[NamespaceRegistry, Depends(get_namespace_registry)]


async def get_issuer(namespace: NamespaceDep) -> LocalIssuer:
    """Return the token issuer of a namespace, or raise ``Conflict`` if the server has none."""
    issuer = namespace.app_state.issuer
    if issuer is None:
        raise Conflict(
            "this server does not issue tokens (CASE_SERVER_LOCAL_ISSUER is false): request them "
            "from its trusted issuer"
        )
    return issuer


IssuerDep = Annotated[LocalIssuer, Depends(get_issuer)]


@router.get("")
async def describe_namespace(namespace: NamespaceDep) -> Response:
    """Return a JSON object that describes the test namespace.

    Its fields are ``namespace`` (the name), ``base_url``, ``snapshots`` (an array of names), and
    ``faults`` and ``requests`` (the numbers of faults and logged requests).
    """
    return json_response(_namespace_to_dict(namespace))


@router.post("/reset")
async def reset_namespace(namespace: NamespaceDep) -> Response:
    """Restore the seed data, and clear faults, requests, token lifetimes and failed logins.

    Returns the namespace's description and the duration.
    """
    return await _time_operation(namespace, namespace.reset())


@router.post("/seed")
async def seed_namespace(
    request: Request, namespace: NamespaceDep, namespaces: RegistryDep
) -> Response:
    """Replace the seed data of the test namespace with the packages in the request body.

    Also resets the namespace to this seed. Returns the namespace's description and, as ``seeded``,
    the number of entities of each class.
    """
    repair, body = _parse_flag(request, "repair"), await _parse_body(request, SEED, empty="{}")
    packages = await to_thread.run_sync(lambda: list(_parse_packages(body, repair=repair)))
    await namespaces.replace_seed(namespace, packages)
    counts = {
        "documents": len(packages),
        "items": sum(package.count_entities(ITEMS.name) for package in packages),
        "associations": sum(package.count_entities(ASSOCIATIONS.name) for package in packages),
    }
    return json_response({**_namespace_to_dict(namespace), "seeded": counts})


def _parse_packages(seed: Seed, *, repair: bool) -> Iterator[PreparedPackage]:
    """Yield the seed's packages as ``PreparedPackage`` objects, repaired if ``repair`` is true.

    The sample framework comes first if the seed includes it. If packages are invalid, raises
    ``UnprocessableContent`` at the end, with all problems of all of them.
    """
    if seed.sample:
        yield parse_package(read_sample())
    problems: list[Problem] = []
    for index, package in enumerate(seed.packages):
        raw = to_json(package)
        try:
            yield repair_and_parse(raw)[0] if repair else parse_large_package(raw)
        except UnprocessableContent as error:
            problems += [
                {**problem, "path": f"packages[{index}].{problem['path']}"}
                for problem in error.problems
            ]
    if problems:
        raise UnprocessableContent("a package of the seed is invalid", problems=problems)


@router.get("/snapshots")
async def list_snapshots(namespace: NamespaceDep) -> Response:
    """Return the names of the snapshots of the test namespace."""
    return json_response(list(namespace.snapshots))


@router.post("/snapshots/{name}")
async def save_snapshot(name: str, namespace: NamespaceDep) -> Response:
    """Save the data of the test namespace as a snapshot, replacing one of the same name."""
    if not NAME_PATTERN.fullmatch(name):
        raise BadRequest(
            f"invalid snapshot name {name!r}: use 1 to 40 of the characters a-z, 0-9 and -"
        )
    await namespace.save_snapshot(name)
    return json_response(_namespace_to_dict(namespace), 201)


@router.post("/snapshots/{name}/restore")
async def restore_snapshot(name: str, namespace: NamespaceDep) -> Response:
    """Replace the test namespace's data with the data saved in a snapshot."""
    return await _time_operation(namespace, namespace.restore_snapshot(name))


@router.delete("/snapshots/{name}")
async def delete_snapshot(name: str, namespace: NamespaceDep) -> Response:
    """Delete a snapshot of the test namespace's data."""
    await namespace.delete_snapshot(name)
    return Response(status_code=204)


@router.get("/namespaces")
async def list_namespaces(namespaces: RegistryDep) -> Response:
    """Return a description of each test namespace, as ``describe_namespace`` does for one."""
    return json_response([_namespace_to_dict(each) for each in namespaces.by_name.values()])


@router.delete("/namespaces/{name}")
async def drop_namespace(name: str, namespaces: RegistryDep) -> Response:
    """Drop a test namespace with its data.

    The next request that names the namespace creates it again.
    """
    await namespaces.drop(name)
    return Response(status_code=204)


def _add_delete_and_restore_routes(resource: ResourceType) -> None:
    """Add routes that soft-delete and restore documents or items, the type ``resource``.

    CASE 1.1 does not define such operations.
    """
    path = f"/{resource.collection}/{{identifier}}"

    @router.post(f"{path}/delete")
    async def soft_delete_entity(identifier: str, namespace: NamespaceDep) -> Response:
        async with namespace.acquire_app_state(writes=True) as app_state:
            changes = await soft_delete.delete_entity(app_state.database, resource, identifier)
        return json_response({"changes": _count_by_kind(changes)})

    @router.post(f"{path}/undelete")
    async def undelete_entity(identifier: str, namespace: NamespaceDep) -> Response:
        async with namespace.acquire_app_state(writes=True) as app_state:
            undeleted = await soft_delete.undelete_entity(app_state.database, resource, identifier)
        counts = _count_by_kind(undeleted.changes)
        return json_response({"changes": counts, "notRestored": undeleted.not_restored})


for _resource in (DOCUMENTS, ITEMS):
    _add_delete_and_restore_routes(_resource)


def _count_by_kind(changes: soft_delete.Changes) -> dict[str, int]:
    return {kind: count for (kind, _), count in changes.items()}


@router.get("/faults")
async def list_faults(namespace: NamespaceDep) -> Response:
    """Return a JSON array of the namespace's faults, each with two counts of requests.

    ``matched`` counts those that met the fault's conditions, ``applied`` those that it was injected
    into.
    """
    return json_response([rule.to_dict() for rule in namespace.faults])


@router.put("/faults")
async def replace_faults(request: Request, namespace: NamespaceDep) -> Response:
    """Replace all faults of the test namespace with those in the request body."""
    namespace.faults = [FaultRule(fault) for fault in await _parse_body(request, FAULTS)]
    return await list_faults(namespace)


@router.post("/faults")
async def add_faults(request: Request, namespace: NamespaceDep) -> Response:
    """Append the faults in the request body to the existing faults, which take precedence."""
    faults = await _parse_body(request, FAULTS)
    namespace.faults += map(FaultRule, faults)
    return await list_faults(namespace)


@router.delete("/faults")
async def clear_faults(namespace: NamespaceDep) -> Response:
    """Remove all faults, so that requests get normal responses again."""
    namespace.faults = []
    return Response(status_code=204)


@router.get("/requests")
async def list_logged_requests(request: Request, namespace: NamespaceDep) -> Response:
    """Return a JSON array of the logged requests that the query parameters select, oldest first.

    ``body=true`` includes the bodies of the requests.
    """
    query = _parse_query(request, REQUEST_QUERY)
    entries = namespace.request_log.find_entries(query)
    return json_response([entry.to_dict(include_body=query.body) for entry in entries])


@router.delete("/requests")
async def clear_request_log(namespace: NamespaceDep) -> Response:
    """Remove all requests from the request log of a namespace."""
    namespace.request_log.clear()
    return Response(status_code=204)


@router.post("/requests/verify")
async def verify_requests(request: Request, namespace: NamespaceDep) -> Response:
    """Compare the logged requests with the expectations in the request body.

    Returns ``met``, which is true if all are met, and ``differences``, a message for each that is
    not met.
    """
    expectations = await _parse_body(request, EXPECTATIONS)
    differences = list(find_unmet_expectations(namespace.request_log, expectations))
    return json_response({"met": not differences, "differences": differences})


@router.post("/tokens")
async def create_token(request: Request, namespace: NamespaceDep, issuer: IssuerDep) -> Response:
    """Create an access token for the client and with the scopes given in the request body.

    With a ``defect``, such as "expired", the token is invalid in this way. Returns a JSON object
    with ``access_token`` and ``token_type``.
    """
    token = await _parse_body(request, TOKEN_REQUEST, empty="{}")
    client = token.client_id or namespace.app_state.settings.client_id
    access_token = make_test_token(issuer, client, token.scopes, token.defect)
    return json_response({"access_token": access_token, "token_type": "Bearer"}, 201)


@router.get("/token-lifetimes")
async def get_token_lifetimes(issuer: IssuerDep) -> Response:
    """Return a JSON object from client IDs to their custom token lifetimes in seconds."""
    return json_response(issuer.lifetimes)


@router.put("/token-lifetimes")
async def set_token_lifetimes(request: Request, issuer: IssuerDep) -> Response:
    """Replace all custom token lifetimes with those in the request body.

    The body maps client IDs to seconds.
    """
    issuer.lifetimes = await _parse_body(request, TOKEN_LIFETIMES)
    return json_response(issuer.lifetimes)


@router.delete("/token-lifetimes")
async def clear_token_lifetimes(issuer: IssuerDep) -> Response:
    """Remove all custom token lifetimes, so that the configured one applies to all tokens."""
    issuer.lifetimes = {}
    return Response(status_code=204)


@router.post("/keys/rotate")
async def rotate_keys(request: Request, namespace: NamespaceDep, issuer: IssuerDep) -> Response:
    """Create a key that signs tokens from now on.

    Returns its ID as ``kid`` and the IDs of all keys as ``kids``. Tokens signed by older keys stay
    valid, unless the query contains ``revoke=true``.
    """
    kid = await namespace.rotate_keys(issuer, revoke=_parse_flag(request, "revoke"))
    return json_response({"kid": kid, "kids": issuer.key_ids}, 201)


async def _time_operation(namespace: Namespace, operation: Awaitable[None]) -> Response:
    """Await an operation on a namespace, and return the namespace's description as JSON.

    The response contains the duration in ``milliseconds``.
    """
    started = time.perf_counter()
    await operation
    milliseconds = round(1000 * (time.perf_counter() - started), 3)
    return json_response({**_namespace_to_dict(namespace), "milliseconds": milliseconds})


def _namespace_to_dict(namespace: Namespace) -> dict[str, Any]:
    return {
        "namespace": namespace.name,
        "base_url": namespace.app_state.settings.base_url,
        "snapshots": list(namespace.snapshots),
        "faults": len(namespace.faults),
        "requests": len(namespace.request_log),
    }


async def _parse_body(request: Request, schema: TypeAdapter[Model], *, empty: str = "") -> Model:
    """Return the JSON body of a request as an instance of the type of ``schema``.

    ``empty`` is the JSON that an empty body stands for, such as "{}". Raises ``BadRequest`` if the
    body is not JSON, ``UnprocessableContent`` if it does not match the schema.
    """
    raw = await read_body(request) or empty.encode()
    try:
        return schema.validate_json(raw)
    except ValidationError as error:
        problems = _list_problems(error, schema)
        if error.errors()[0]["type"] == "json_invalid":
            raise BadRequest(f"the body is not JSON: {problems[0]['message']}") from error
        raise UnprocessableContent(_format_problems(problems), problems=problems) from error


def _parse_query(request: Request, schema: TypeAdapter[Model]) -> Model:
    """Return the query parameters of a request as an instance of the type of ``schema``.

    Raises ``BadRequest`` with all problems if they do not match the schema.
    """
    try:
        return schema.validate_python(dict(request.query_params))
    except ValidationError as error:
        problems = _list_problems(error, schema)
        raise BadRequest(_format_problems(problems), problems=problems) from error


def _list_problems(error: ValidationError, schema: TypeAdapter[Any]) -> list[Problem]:
    problems = []
    for detail in error.errors():
        message = str(detail["msg"]).removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = _explain_unknown_field(str(detail["loc"][-1]), schema)
        problems.append(Problem(path=format_location(detail["loc"]), message=message))
    return problems


def _explain_unknown_field(name: str, schema: TypeAdapter[Any]) -> str:
    schema_object = schema.json_schema()
    models = (schema_object, *schema_object.get("$defs", {}).values())
    known_fields = [field for model in models for field in model.get("properties", ())]
    close = get_close_matches(name, known_fields, n=1)
    hint = f"did you mean {close[0]}?" if close else f"use {', '.join(known_fields)}"
    return f"unknown field: {hint}"


def _format_problems(problems: list[Problem]) -> str:
    return "; ".join(
        f"{problem['path']}: {problem['message']}" if problem["path"] else problem["message"]
        for problem in problems
    )


def _parse_flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise BadRequest(f"{name} must be true or false, not {value!r}")
    return value == "true"
