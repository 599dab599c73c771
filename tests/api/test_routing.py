"""Compiled routes and the route table give the results of FastAPI's dispatch, and are in use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import SecurityScopes
from httpx import AsyncClient
from pydantic import AfterValidator
from support.applications import create_client
from support.calls import Api, list_collections

from case_server.api import dependencies
from case_server.api.profiles import PROFILES, ApiProfile
from case_server.api.routing import CompiledRoute, RoutingMiddleware
from case_server.auth.scopes import Scope
from case_server.auth.verifier import Caller

each_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)


def route_table(app: FastAPI) -> RoutingMiddleware:
    (arguments,) = (entry.kwargs for entry in app.user_middleware if "routers" in entry.kwargs)
    routers: Any = arguments["routers"]
    return RoutingMiddleware(app, routers)


async def test_every_route_of_a_profile_is_compiled_and_in_the_path_table(app: FastAPI) -> None:
    table = route_table(app)
    counts = dict.fromkeys((profile.name for profile in PROFILES), 0)
    for context in iter_route_contexts(app.routes):
        route, path = context.original_route, context.path or ""
        profile = next((each for each in PROFILES if path.startswith(f"{each.prefix}/CF")), None)
        if profile is None:
            continue
        assert isinstance(route, CompiledRoute), path
        assert route.compiled_handler, f"{path} is not compiled"
        # The table does not know what include_router adds, so nothing may be added there.
        assert context.dependencies == route.dependencies
        if path.endswith("/groups"):
            continue
        for method in context.methods or ():
            parent = path.rpartition("/")[0]
            exact = table.handlers.get((method, path))
            with_parameter, _ = table.parameter_handlers.get((method, parent), (None, ""))
            assert route.compiled_handler in {exact, with_parameter}, path
            counts[profile.name] += 1
    assert counts == {"platform": 21, "sdk": 21, "standard": 12, "standard-1.0": 12}


@each_profile
async def test_profile_has_the_lists_of_its_guide_or_standard(
    app: FastAPI, profile: ApiProfile
) -> None:
    paths = {
        context.path
        for context in iter_route_contexts(app.routes)
        if "GET" in (context.methods or ())
    }
    plurals = {path.removeprefix(f"{profile.prefix}/CF") for path in paths if path}
    assert {f"CF{plural}" for plural in plurals if plural.isalpha()} == list_collections(profile)


async def test_dependency_overrides_replace_a_dependency(api: Api, app: FastAPI) -> None:
    item = await api.create_item(await api.create_document())
    path = f"{api.profile.prefix}/CFItems/{item['identifier']}"

    async def override() -> Caller:
        return Caller("override", frozenset({Scope.READONLY}))

    anonymous = create_client(app)
    app.dependency_overrides[dependencies.get_caller] = override
    try:
        response = await anonymous.get(path)
    finally:
        app.dependency_overrides.clear()
    assert response.status_code == 200
    assert response.json() == (await api.client.get(path)).json()
    assert (await anonymous.get(path)).status_code == 401


async def test_fastapi_and_the_path_table_send_the_same_responses(api: Api, app: FastAPI) -> None:
    """An override that changes nothing sends requests through FastAPI's own solver."""
    document = await api.create_document()
    item = await api.create_item(document)
    paths = [
        "/CFDocuments",
        f"/CFItems/{item['identifier']}",
        f"/CFItems/{item['identifier']}?fields=identifier",
        f"/CFItemAssociations/{item['identifier']}",
        f"/CFPackages/{document['identifier']}",
        "/CFItems/missing",
        "/CFItems/nul%00",
        "/CFItems?limit=x",
        "/CFNothing",
    ]
    compiled = [await api.client.get(api.profile.prefix + path) for path in paths]
    app.dependency_overrides[get_count] = get_count
    try:
        resolved = [await api.client.get(api.profile.prefix + path) for path in paths]
    finally:
        app.dependency_overrides.clear()
    for path, response, other in zip(paths, compiled, resolved, strict=True):
        assert response.status_code == other.status_code, path
        assert response.content == other.content, path


async def get_count(request: Request) -> int:
    request.state.calls = getattr(request.state, "calls", 0) + 1
    calls: int = request.state.calls
    return calls


async def get_scopes(scopes: SecurityScopes, count: Annotated[int, Depends(get_count)]) -> str:
    return f"{count}:{' '.join(scopes.scopes)}"


async def get_nested(
    scopes: Annotated[str, Security(get_scopes, scopes=["inner"])],
    count: Annotated[int, Depends(get_count)],
) -> str:
    return f"{count} {scopes}"


def get_sync() -> int:
    return 1


async def get_generator() -> AsyncIterator[int]:
    yield 1


def reject(value: str) -> str:
    if value == "invalid":
        raise ValueError
    return value


Name = Annotated[str, Path(alias="thingId"), AfterValidator(reject)]
router = APIRouter(prefix="/things", route_class=CompiledRoute)


@router.get("/{thingId}")
async def get_thing(
    name: Name,
    nested: Annotated[str, Security(get_nested, scopes=["outer"])],
    count: Annotated[int, Depends(get_count)],
) -> Response:
    return Response(f"{name}, {nested}, {count}")


@router.get("")
async def get_missing() -> Response:
    raise HTTPException(418, "no things")


@pytest.fixture
async def things_client() -> AsyncIterator[AsyncClient]:
    app = FastAPI()
    app.include_router(router)
    app.add_middleware(RoutingMiddleware, routers=[("", router)])
    async with create_client(app, "http://things.test") as client:
        client.headers["app"] = "things"
        yield client


async def test_shared_dependency_runs_once_with_scopes_of_parents(
    things_client: AsyncClient,
) -> None:
    assert (await things_client.get("/things/a")).text == "a, 1 1:outer inner, 1"


async def test_invalid_path_parameter_returns_422(things_client: AsyncClient) -> None:
    response = await things_client.get("/things/invalid")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["path", "thingId"]


async def test_exceptions_of_endpoints_reach_the_handlers_of_the_app(
    things_client: AsyncClient,
) -> None:
    response = await things_client.get("/things")
    assert response.status_code == 418
    assert response.json() == {"detail": "no things"}


ERRORS = {
    "status": HTTPException(409),
    "class": KeyError(),
    "base": IndexError(),
    "other": HTTPException(418, "no handler"),
    "unexpected": OSError(),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_exception_handlers_are_chosen_as_fastapi_does(name: str) -> None:
    responses = []
    for route_class in (APIRoute, CompiledRoute):
        errors = APIRouter(route_class=route_class)

        @errors.get("/")
        async def raise_error() -> Response:
            raise ERRORS[name]

        app = FastAPI()
        app.include_router(errors)
        app.add_middleware(RoutingMiddleware, routers=[("", errors)])
        for key, text in ((409, "409"), (KeyError, "key"), (LookupError, "lookup"), (500, "500")):
            app.add_exception_handler(key, create_exception_handler(text))
        async with create_client(app, raise_app_exceptions=False) as client:
            responses.append(await client.get("/"))
    expected, response = responses
    assert (response.status_code, response.text) == (expected.status_code, expected.text)
    assert response.text == {"status": "409", "class": "key", "base": "lookup"}.get(
        name, expected.text
    )


def create_exception_handler(text: str) -> Any:
    """Create a handler that responds with a text; that of LookupError is ``async``."""

    def handle(_request: Request, _error: Exception) -> Response:
        return Response(text, 500)

    async def handle_async(request: Request, error: Exception) -> Response:
        return handle(request, error)

    return handle_async if text == "lookup" else handle


async def test_unknown_methods_and_paths_are_left_to_fastapi(things_client: AsyncClient) -> None:
    assert (await things_client.put("/things/a")).status_code == 405
    assert (await things_client.get("/things/")).status_code == 307
    assert (await things_client.get("/things/a/b")).status_code == 404


async def test_endpoints_with_other_kinds_of_dependencies_are_left_to_fastapi() -> None:
    other = APIRouter(route_class=CompiledRoute)

    @other.get("/sync")
    async def sync(value: Annotated[int, Depends(get_sync)]) -> Response:
        return Response(str(value))

    @other.get("/generator")
    async def generator(value: Annotated[int, Depends(get_generator)]) -> Response:
        return Response(str(value))

    @other.get("/uncached")
    async def uncached(value: Annotated[int, Depends(get_count, use_cache=False)]) -> Response:
        return Response(str(value))

    @other.get("/query")
    async def query(value: Annotated[int, Query()] = 1) -> Response:
        return Response(str(value))

    @other.get("/header")
    async def header(value: Annotated[int, Header()] = 1) -> Response:
        return Response(str(value))

    @other.get("/tasks")
    async def tasks(_tasks: BackgroundTasks) -> Response:
        return Response("1")

    @other.get("/model")
    async def model() -> int:
        return 1

    @other.get("/function")
    def function() -> Response:
        return Response("1")

    app = FastAPI()
    app.include_router(other)
    app.add_middleware(RoutingMiddleware, routers=[("", other)])
    async with create_client(app, "http://things.test") as client:
        for route in other.routes:
            assert isinstance(route, CompiledRoute)
            assert route.compiled_handler is None, route.path
            assert (await client.get(route.path)).text == "1"
