"""Authorization of every route: each scope, no token and an invalid token."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from starlette.routing import Mount
from support.applications import run_app

from case_server.api.profiles import PROFILES
from case_server.main import create_app
from case_server.settings import Settings

READ, WRITE, DELETE = "readonly", "createput", "delete"

ROUTES = [
    *(
        ("GET", path, READ)
        for path in (
            *("/CFDocuments", "/CFItems", "/CFSubjects", "/changes", "/CFPackages/x/groups"),
            *("/CFDocuments/x", "/CFItems/x", "/CFPackages/x", "/CFRubrics/x", "/CFLicenses/x"),
            *("/CFAssociations/x", "/CFItemAssociations/x", "/CFAssociationGroupings/x"),
            *("/CFSubjects/x", "/CFConcepts/x", "/CFItemTypes/x"),
        )
    ),
    *(("PUT", f"/{name}/x", WRITE) for name in ("CFDocuments", "CFItems", "CFItemAssociations")),
    *(("PUT", f"/{name}/x", WRITE) for name in ("CFItemTypes", "CFPackages")),
    ("POST", "/CFPackages", WRITE),
    ("DELETE", "/CFItemAssociations/x", DELETE),
]
"""The table of the guide, what the union rule adds, and the feed of changes."""

PUBLIC = {
    "/health",
    "/ready",
    "/oauth2/token",
    "/.well-known/jwks.json",
    "/.well-known/openid-configuration",
}

OPEN = {
    *(("GET", path) for path in PUBLIC - {"/oauth2/token"}),
    *(("POST", path) for path in ("/oauth2/token", "/oauth/token", "/auth/1.0/token")),
    *(("GET", path) for path in ("/docs", "/docs/assets/x", "/openapi.json")),
    *(("GET", profile.prefix + profile.document) for profile in PROFILES),
}
"""The routes that need no token."""

PAGES = {
    *(
        ("GET", path)
        for path in (
            *("/", "/search", "/documents/x", "/documents/x/changes"),
            *("/documents/x/changes.csv", "/documents/x/children/x", "/documents/x/json"),
            *("/documents/x/items/x", "/documents/x/items/x/json", "/compare"),
            *("/compare.csv", "/upload", "/sign-in", "/static/x"),
        )
    ),
    *(("POST", path) for path in ("/upload/check", "/upload/store", "/sign-in", "/sign-out")),
}
"""The routes of the web UI, which uses sessions; tests/web/test_auth.py covers their access."""

TEST_API = {
    *(
        ("GET", path)
        for path in ("", "/snapshots", "/namespaces", "/faults", "/requests", "/token-lifetimes")
    ),
    *(
        ("POST", path)
        for path in (
            *("/reset", "/seed", "/snapshots/x", "/snapshots/x/restore", "/faults"),
            *("/requests/verify", "/tokens", "/keys/rotate"),
            *(
                f"/{collection}/x/{operation}"
                for collection in ("CFDocuments", "CFItems")
                for operation in ("delete", "undelete")
            ),
        )
    ),
    *(("PUT", path) for path in ("/faults", "/token-lifetimes")),
    *(
        ("DELETE", path)
        for path in ("/snapshots/x", "/namespaces/x", "/faults", "/requests", "/token-lifetimes")
    ),
}
"""Routes of test mode under ``/_test``. They require the test API token and refuse web pages of
other origins (tests/testmode/test_cross_site.py)."""

Token = Callable[..., Awaitable[str]]

WRITERS = [profile for profile in PROFILES if profile.writes]

each_profile = pytest.mark.parametrize("prefix", [profile.prefix for profile in WRITERS])


async def test_route_table_matches_openapi_document(client: AsyncClient) -> None:
    """The OpenAPI document has these routes and no others, with these scopes."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    operations = {
        (method.upper(), path.replace("{sourcedId}", "x")): operation.get("security", [])
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    secured = {
        (*route, scope.rpartition(".")[2])
        for route, security in operations.items()
        for scheme in security
        for scopes in scheme.values()
        for scope in scopes
    }
    prefix = PROFILES[0].prefix
    assert secured == {(method, prefix + path, scope) for method, path, scope in ROUTES}
    assert {path for (_, path), security in operations.items() if not security} == PUBLIC


def list_routes(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield every method and path of an app, including those of nested routers."""
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from list_routes(route.effective_candidates())
            continue
        inner = getattr(route, "starlette_route", None) or route
        if isinstance(inner, Mount):
            yield "GET", f"{inner.path}/x"
            continue
        assert inner.methods, f"{inner} is neither a router nor a route"
        path = re.sub(r"\{[^}]*\}", "x", inner.path)
        yield from ((method, path) for method in inner.methods - {"HEAD"})


def scope_of(method: str, path: str) -> str:
    """Return the scope that ``ROUTES`` requires for a path of any profile."""
    profile = next(profile for profile in PROFILES if path.startswith(f"{profile.prefix}/"))
    route_path = path.removeprefix(profile.prefix)
    return next(
        scope for verb, template, scope in ROUTES if (verb, template) == (method, route_path)
    )


async def test_every_route_is_in_a_table(app: FastAPI) -> None:
    routes = set(list_routes(app.routes))
    assert len(routes) > 70
    assert routes >= OPEN | PAGES
    closed = routes - OPEN - PAGES
    for profile in PROFILES:
        profile_routes = {
            (verb, path) for verb, path in closed if path.startswith(f"{profile.prefix}/")
        }
        documented = {(verb, profile.prefix + path) for verb, path, _ in ROUTES}
        assert profile_routes == documented if profile.writes else profile_routes <= documented
        closed -= profile_routes
    assert not closed


async def test_test_mode_adds_only_test_api_and_page(app: FastAPI, settings: Settings) -> None:
    control = {(method, f"/_test{path}") for method, path in TEST_API}
    for web, page in ((True, {("GET", "/test-mode")}), (False, set())):
        target = settings.model_copy(update={"test_mode": True, "web": web})
        result = set(list_routes(create_app(target).routes))
        assert result - set(list_routes(app.routes)) == control | page


async def test_route_needs_its_scope(app: FastAPI, anonymous: AsyncClient, token: Token) -> None:
    tokens = {scope: await token(scope) for scope in (READ, WRITE, DELETE)}
    others = [await token(*(other for other in tokens if other != scope)) for scope in tokens]
    tokens_without = dict(zip(tokens, others, strict=True))
    for method, path in set(list_routes(app.routes)) - OPEN - PAGES:
        needed = scope_of(method, path)
        full = f"https://purl.imsglobal.org/spec/case/v1p0/scope/case.{needed}"
        methods = (method, "HEAD") if method == "GET" else (method,)
        for verb in methods:

            async def send(token: str | None, verb: str = verb, path: str = path) -> Response:
                # The name of the scheme has no case.
                headers = {"Authorization": f"bearer  {token}"} if token else {}
                return await anonymous.request(verb, path, headers=headers)

            for credentials, status, challenge, reason in (
                (None, 401, "", "Authorization: Bearer"),
                ("x.y.z", 401, ' error="invalid_token", error_description="The', "not accepted"),
                (tokens_without[needed], 403, f' error="insufficient_scope", scope="{full}"', full),
            ):
                response = await send(credentials)
                assert response.status_code == status, (verb, path)
                assert response.headers["WWW-Authenticate"].startswith(f"Bearer{challenge}")
                assert verb == "HEAD" or reason in response.json()["imsx_description"]
            assert (await send(tokens[needed])).status_code in {200, 400, 404}, (verb, path)


async def test_public_read_is_for_standard_profiles_only(settings: Settings, clean: None) -> None:
    changes = {"public_read": "standard", "public_read_per_minute": 1000}
    async with run_app(settings.model_copy(update=changes)) as (app, http):
        for method, path in set(list_routes(app.routes)) - OPEN - PAGES:
            profile = next(profile for profile in PROFILES if path.startswith(f"{profile.prefix}/"))
            expected = {401} if profile.writes else {200, 404}
            response = await http.request(method, path)
            assert response.status_code in expected, (method, path)
            is_marked = response.headers.get("Access-Control-Allow-Origin") == "*"
            assert is_marked != profile.writes


ORIGINS = [("http://case.test", 200), ("https://elsewhere.test", 200), ("null", 200)]
"""Origins of reads with a token: the API looks at the token alone, and marks no response for other
origins. The test API refuses foreign ones (tests/testmode/test_cross_site.py), and so do forms
(tests/web/test_auth.py)."""


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
async def test_response_allows_no_origin(client: AsyncClient, origin: str, status: int) -> None:
    for profile in PROFILES:
        response = await client.get(f"{profile.prefix}/CFDocuments", headers={"Origin": origin})
        assert response.status_code == status
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_open_routes_need_no_token(anonymous: AsyncClient) -> None:
    for method, path in OPEN:
        response = await anonymous.request(method, path)
        expected = 404 if path.endswith("/x") else 400 if method == "POST" else 200
        assert response.status_code == expected, path


@pytest.mark.parametrize(
    "header",
    ["", "x", "Bearer", "Bearer ", "Bearerx y", "Basic abc", "Bearer " + "x" * 9000, "bearer é"],
)
@each_profile
async def test_invalid_authorization_header_returns_401(
    anonymous: AsyncClient, prefix: str, header: str
) -> None:
    headers = [(b"Authorization", header.encode())]
    response = await anonymous.get(f"{prefix}/CFItems", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path", ["/case/1.1/CFItems/%E6%97%A5", "/case/1.1/CFItems/a%0D%0AX%3A%20b"]
)
async def test_location_of_a_refused_write_is_percent_encoded(
    app: FastAPI, client: AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    state = app.state.app_state
    settings = state.settings.model_copy(update={"primary_url": "https://primary.test"})
    monkeypatch.setattr(state, "settings", settings)
    monkeypatch.setattr(state.database, "is_standby", True)
    response = await client.put(path, json={})
    assert (response.status_code, response.headers["Location"]) == (
        405,
        f"https://primary.test{path}",
    )
