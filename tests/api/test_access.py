"""Who may do what: every route, with every scope, without a token, and with a stranger's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from external_issuer import ExternalIssuer

from case_server.api.profiles import PROFILES

READ, WRITE, DELETE = "readonly", "createput", "delete"

ROUTES = [
    *(
        ("GET", path, READ)
        for path in (
            "/CFDocuments",
            "/CFDocuments/x",
            "/CFItems",
            "/CFItems/x",
            "/CFPackages/x",
            "/CFPackages/x/groups",
            "/CFAssociations/x",
            "/CFItemAssociations/x",
            "/CFSubjects",
            "/CFSubjects/x",
            "/CFConcepts/x",
            "/CFItemTypes/x",
            "/CFLicenses/x",
            "/CFAssociationGroupings/x",
            "/CFRubrics/x",
            "/changes",
        )
    ),
    *(
        ("PUT", path, WRITE)
        for path in (
            "/CFDocuments/x",
            "/CFItems/x",
            "/CFItemTypes/x",
            "/CFItemAssociations/x",
            "/CFPackages/x",
        )
    ),
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

Token = Callable[..., Awaitable[str]]

WRITERS = [profile for profile in PROFILES if profile.writes]

each_profile = pytest.mark.parametrize("prefix", [profile.prefix for profile in WRITERS])
each_route = pytest.mark.parametrize(
    ("method", "path", "scope"), ROUTES, ids=[f"{method} {path}" for method, path, _ in ROUTES]
)


async def test_the_table_is_complete(client: httpx.AsyncClient) -> None:
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


@each_profile
@each_route
async def test_without_a_token(
    anonymous: httpx.AsyncClient, prefix: str, method: str, path: str, scope: str
) -> None:
    answer = await anonymous.request(method, prefix + path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@each_profile
@each_route
async def test_only_the_scope_it_names_lets_in(
    anonymous: httpx.AsyncClient, token: Token, prefix: str, method: str, path: str, scope: str
) -> None:
    for held in (READ, WRITE, DELETE):
        headers = {"Authorization": f"Bearer {await token(held)}"}
        answer = await anonymous.request(method, prefix + path, headers=headers)
        if held == scope:
            assert answer.status_code in {200, 400, 404}, answer.text
        else:
            assert answer.status_code == 403
            assert f"scope/case.{scope}" in answer.json()["imsx_description"]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c", "Bearer " + "x" * 9000, "bearer é"],
)
@each_profile
async def test_headers_that_prove_nothing(
    anonymous: httpx.AsyncClient, prefix: str, header: str
) -> None:
    headers = [(b"Authorization", header.encode())]
    answer = await anonymous.get(f"{prefix}/CFItems", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_token_paths_are_one(anonymous: httpx.AsyncClient) -> None:
    form = {"grant_type": "client_credentials"}
    for path in ("/oauth2/token", "/oauth/token", "/auth/1.0/token"):
        answer = await anonymous.post(path, data=form, auth=("test-client", "test-secret"))
        assert answer.status_code == 200, path
        assert answer.json()["expires_in"] == 3600
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        read = await anonymous.get(f"{PROFILES[0].prefix}/CFDocuments", headers=headers)
        assert read.status_code == 200


async def test_tokens_of_a_trusted_issuer(
    anonymous: httpx.AsyncClient, external_issuer: ExternalIssuer
) -> None:
    path = f"{PROFILES[0].prefix}/CFDocuments"

    async def status(token: str, method: str = "GET") -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return (await anonymous.request(method, path, headers=headers)).status_code

    assert await status(external_issuer.token()) == 200
    assert await status(external_issuer.token(scope="openid")) == 403
    assert await status(external_issuer.token(exp=1)) == 401
    assert await status(external_issuer.token(iss="http://127.0.0.1:1/realm")) == 401


async def test_discovery_leads_to_the_keys(anonymous: httpx.AsyncClient) -> None:
    found = (await anonymous.get("/.well-known/openid-configuration")).json()
    assert found["issuer"] == "http://case.test"
    assert found["token_endpoint"] == "http://case.test/oauth2/token"
    keys = (await anonymous.get(found["jwks_uri"])).json()["keys"]
    assert keys
    assert all("d" not in key for key in keys)
