"""Tokens with defects, token lifetimes, key rotation and failed logins."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from support.clock import stop_clock_of_logins
from support.test_mode_client import DOCUMENTS, NamespaceClient


async def made(namespace: NamespaceClient, **fields: Any) -> dict[str, str]:
    token = (await namespace.test_api("POST", "/tokens", 201, fields))["access_token"]
    return {"Authorization": f"Bearer {token}"}


async def request_token(by: NamespaceClient, secret: str = "local-secret") -> Response:
    form = {"grant_type": "client_credentials"}
    return await by.call("POST", "/oauth2/token", data=form, auth=("local-client", secret))


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("expired", "it has expired"),
        ("not_yet_valid", "it is not valid yet"),
        ("wrong_issuer", "does not trust its issuer"),
        ("unknown_key", "names a key that this server does not have"),
    ],
)
async def test_token_with_defect_returns_401(
    namespace: NamespaceClient, defect: str, message: str
) -> None:
    response = await namespace.call("GET", DOCUMENTS, headers=await made(namespace, defect=defect))
    assert response.status_code == 401
    assert message in response.json()["imsx_description"]
    assert "invalid_token" in response.headers["WWW-Authenticate"]


async def test_token_scopes_are_enforced(namespace: NamespaceClient) -> None:
    for request in ({}, {"scopes": ["readonly"]}, {"scopes": ["case.readonly"]}):
        response = await namespace.call("GET", DOCUMENTS, headers=await made(namespace, **request))
        assert response.status_code == 200
    for scopes in ([], ["createput", "delete"]):
        response = await namespace.call(
            "GET", DOCUMENTS, headers=await made(namespace, scopes=scopes)
        )
        assert response.status_code == 403


async def test_token_client_is_logged(namespace: NamespaceClient) -> None:
    await namespace.call("GET", DOCUMENTS, headers=await made(namespace, client_id="other-client"))
    await namespace.call("GET", DOCUMENTS, headers=await made(namespace, defect="expired"))
    entries = await namespace.test_api("GET", "/requests")
    assert [entry["client"] for entry in entries] == ["other-client", "local-client"]


@pytest.mark.parametrize(
    "token_request", [{"defect": "ugly"}, {"scopes": ["everything"]}, {"colour": 1}]
)
async def test_invalid_token_request_returns_422(
    namespace: NamespaceClient, token_request: dict[str, Any]
) -> None:
    refused = await namespace.test_api("POST", "/tokens", 422, token_request)
    assert refused["imsx_error_details"]


async def test_token_lifetime_applies_to_client(namespace: NamespaceClient) -> None:
    async def expires_in() -> int:
        return int((await request_token(namespace)).json()["expires_in"])

    await namespace.test_api("PUT", "/token-lifetimes", body={"local-client": 7, "another": 8})
    assert await expires_in() == 7
    await namespace.test_api("PUT", "/token-lifetimes", body={"another": 8})
    assert await expires_in() == 3600
    assert await namespace.test_api("GET", "/token-lifetimes") == {"another": 8}
    await namespace.test_api("DELETE", "/token-lifetimes", 204)
    assert await namespace.test_api("GET", "/token-lifetimes") == {}
    await namespace.test_api("PUT", "/token-lifetimes", 422, {"local-client": 0})


async def test_key_rotation_replaces_or_adds_key(namespace: NamespaceClient) -> None:
    async def kids() -> list[str]:
        keys = (await namespace.call("GET", "/.well-known/jwks.json")).json()["keys"]
        return [key["kid"] for key in keys]

    (before,) = await kids()
    rotated = await namespace.test_api("POST", "/keys/rotate", 201)
    assert await kids() == [before, rotated["kid"]] == rotated["kids"]
    assert await namespace.total() == 0, "tokens of the old key stay valid"
    revoked = await namespace.test_api("POST", "/keys/rotate?revoke=true", 201)
    assert await kids() == [revoked["kid"]]
    response = await namespace.call("GET", DOCUMENTS)
    assert response.status_code == 401
    await namespace.login()
    assert await namespace.total() == 0
    await namespace.test_api("POST", "/snapshots/rotated", 201)
    await namespace.test_api("POST", "/reset")
    assert await kids() == [before]
    await namespace.test_api("POST", "/snapshots/rotated/restore")
    assert await kids() == [revoked["kid"]]
    await namespace.test_api("DELETE", "/snapshots/rotated", 204)


async def test_reset_clears_failed_logins_of_namespace(
    namespace: NamespaceClient,
    other: NamespaceClient,
    testmode_app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in testmode_app.state.namespaces.by_name.values():
        stop_clock_of_logins(monkeypatch, each.app_state.clients)

    async def login(by: NamespaceClient, secret: str) -> int:
        return (await request_token(by, secret)).status_code

    for by in (namespace, other):
        assert [await login(by, "wrong") for _ in range(5)] == [401] * 5
        assert await login(by, "local-secret") == 429
    await namespace.test_api("POST", "/reset")
    assert await login(namespace, "local-secret") == 200
    assert await login(other, "local-secret") == 429
