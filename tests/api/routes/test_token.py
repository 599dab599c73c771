import base64
import json
import logging
from collections.abc import AsyncIterator
from itertools import chain
from typing import Any, cast
from urllib.parse import quote_plus

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import SecretStr
from support.applications import create_client, run_app
from support.clock import stop_clock_of_logins

from case_server.auth.clients import ClientAuthenticator
from case_server.auth.hashing import hash_secret, verify_secret
from case_server.auth.scopes import Scope, format_scopes
from case_server.auth.tokens import decode_unverified
from case_server.db.auth_store import add_client
from case_server.db.pool import Database
from case_server.settings import Settings

PATHS = ("/oauth2/token", "/oauth/token", "/auth/1.0/token")
PATH = PATHS[0]
ID, SECRET = "robot@school", "s%20cret+/: ü"
GRANT = {"grant_type": "client_credentials"}
SENT = {**GRANT, "client_id": ID, "client_secret": SECRET}
V1P1 = "https://purl.imsglobal.org/spec/case/v1p1/scope/"


def basic(client_id: str, secret: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def assert_issued(response: Response, scopes: frozenset[Scope] = frozenset(Scope)) -> str:
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 1800
    assert body["scope"] == format_scopes(scopes)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert decode_unverified(body["access_token"])[1]["scope"] == format_scopes(scopes)
    return cast("str", body["access_token"])


def assert_refused(response: Response, error: str, status: int = 400) -> str:
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert set(response.json()) == {"error", "error_description"}
    assert response.headers["Cache-Control"] == "no-store"
    challenge = 'Basic realm="case-server"' if status == 401 else None
    assert response.headers.get("WWW-Authenticate") == challenge
    return cast("str", response.json()["error_description"])


@pytest.fixture(scope="module")
async def own_app(settings: Settings) -> AsyncIterator[FastAPI]:
    changes = {"client_id": ID, "client_secret": SecretStr(SECRET), "token_lifetime": 1800}
    async with run_app(settings.model_copy(update=changes)) as (app, _):
        yield app


@pytest.fixture
async def http(own_app: FastAPI, clean: None) -> AsyncIterator[AsyncClient]:
    own_app.state.app_state.clients.clear_failed_logins()
    async with create_client(own_app) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_token_is_issued_for_every_request_format(http: AsyncClient, path: str) -> None:
    encoded = basic(quote_plus(ID), quote_plus(SECRET))
    credentials = {"client_id": ID, "client_secret": SECRET}

    assert_issued(await http.post(path, data=GRANT, headers=encoded))
    assert_issued(await http.post(path, data=GRANT, headers=basic(ID, SECRET)))
    assert_issued(await http.post(path, data=SENT))
    assert_issued(await http.post(path, json=SENT))
    assert_issued(await http.post(path, json=credentials))
    assert_issued(await http.post(path, json={}, headers=encoded))
    assert_issued(await http.post(path, json={**SENT, "grant_type": "", "scope": None}))
    assert_issued(await http.post(path, data={**SENT, "audience": "x"}))
    assert_issued(await http.post(path, content=b"grant_type=client_credentials", headers=encoded))


async def test_credentials_in_header_and_body_must_agree(http: AsyncClient) -> None:
    for headers in (basic(ID, SECRET), basic(quote_plus(ID), quote_plus(SECRET))):
        assert_issued(await http.post(PATH, data=SENT, headers=headers))
        assert_issued(await http.post(PATH, data={**GRANT, "client_id": ID}, headers=headers))
        for change in ({"client_id": "x"}, {"client_secret": "x"}):
            response = await http.post(PATH, data={**SENT, **change}, headers=headers)
            assert "contain different credentials" in assert_refused(response, "invalid_request")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(ID, SECRET + " "),
        basic(ID.upper(), SECRET),
        basic(ID, ""),
        basic("", SECRET),
        basic("", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !"},
        {"Authorization": "Basic /w=="},
        {"Authorization": "Bearer x"},
    ],
)
async def test_unknown_client_is_rejected(http: AsyncClient, headers: dict[str, str]) -> None:
    assert_refused(await http.post(PATH, data=GRANT, headers=headers), "invalid_client", 401)


async def test_wrong_secret_in_body_is_rejected(http: AsyncClient) -> None:
    changes: list[dict[str, Any]] = [{"client_secret": ""}, {"client_secret": "x"}]
    for change in [*changes, {"client_id": "x"}, {"client_id": ""}]:
        for way in ("data", "json"):
            response = await http.post(PATH, **{way: {**SENT, **change}})  # type: ignore[arg-type]  # one of two bodies
            description = assert_refused(response, "invalid_client", 401)
            assert "CASE_CLIENT_ID and CASE_CLIENT_SECRET" in description


async def test_other_grant_type_is_rejected(http: AsyncClient) -> None:
    credentials = {"client_id": ID, "client_secret": SECRET}
    for grant in ({}, {"grant_type": ""}):
        response = await http.post(PATH, data={**credentials, **grant})
        assert "grant_type" in assert_refused(response, "invalid_request")
    for body in ("data", "json"):
        other = {**credentials, "grant_type": "password"}
        response = await http.post(PATH, **{body: other})  # type: ignore[arg-type]  # one of two bodies
        assert "client_credentials" in assert_refused(response, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("scope_text", "granted"),
    [
        ("", set(Scope)),
        (" ", set(Scope)),
        (Scope.READONLY.value, {Scope.READONLY}),
        (f"{V1P1}case.readonly", {Scope.READONLY}),
        (f"{V1P1}case.delete  {Scope.CREATEPUT}", {Scope.CREATEPUT, Scope.DELETE}),
    ],
)
async def test_requested_scopes_are_granted(
    http: AsyncClient, scope_text: str, granted: set[Scope]
) -> None:
    for body in ({"data": {**SENT, "scope": scope_text}}, {"json": {**SENT, "scope": scope_text}}):
        assert_issued(await http.post(PATH, **body), frozenset(granted))  # type: ignore[arg-type]  # one of two bodies


FOREIGN = ["openid", Scope.READONLY + "x", "case.readonly", "ü"]


@pytest.mark.parametrize("foreign", FOREIGN)
async def test_foreign_scope_is_not_among_granted_scopes(http: AsyncClient, foreign: str) -> None:
    for scope_text in (f"{Scope.READONLY} {foreign}", f"{foreign} {V1P1}case.readonly"):
        response = await http.post(PATH, data={**SENT, "scope": scope_text})
        assert_issued(response, frozenset({Scope.READONLY}))


@pytest.mark.parametrize("foreign", [*FOREIGN, " ".join(FOREIGN)])
async def test_only_foreign_scopes_return_invalid_scope(http: AsyncClient, foreign: str) -> None:
    response = await http.post(PATH, data={**SENT, "scope": foreign})
    assert Scope.READONLY in assert_refused(response, "invalid_scope")


async def test_scope_not_allowed_for_client_returns_invalid_scope(
    http: AsyncClient, database: Database
) -> None:
    await add_client(database, "reader", None, [Scope.READONLY], hash_secret(SECRET))
    form = {**GRANT, "client_id": "reader", "client_secret": SECRET}
    scope_text = f"openid {Scope.READONLY} {Scope.DELETE}"
    description = assert_refused(
        await http.post(PATH, data={**form, "scope": scope_text}), "invalid_scope"
    )
    assert f"does not have the scope {Scope.DELETE}: leave it out." in description


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", "{"),
        ("application/json", "[]"),
        ("application/json", '"x"'),
        ("application/json", json.dumps({**SENT, "scope": 7})),
        ("application/json", json.dumps({**SENT, "scope": [Scope.READONLY]})),
        ("application/json", json.dumps({**SENT, "client_secret": "\ud800"})),
        ("application/json; charset=utf-8", "["),
        ("text/plain", "grant_type=client_credentials"),
        ("multipart/form-data; boundary=x", "--x--"),
        ("application/x-www-form-urlencoded", b"grant_type=\xff"),
        ("application/x-www-form-urlencoded", "grant_type=client_credentials" + "&a=1" * 100),
        ("application/x-www-form-urlencoded", "grant_type=x&grant_type=client_credentials"),
    ],
)
async def test_unreadable_body_is_rejected(http: AsyncClient, kind: str, body: str | bytes) -> None:
    response = await http.post(
        PATH, content=body, headers={**basic(ID, SECRET), "Content-Type": kind}
    )

    assert_refused(response, "invalid_request")


async def test_too_large_body_is_rejected(http: AsyncClient) -> None:
    form = "grant_type=client_credentials&pad="
    allowed = form + "x" * (64 * 1024 - len(form))

    headers = {**basic(ID, SECRET), "Content-Type": "application/x-www-form-urlencoded"}
    assert_issued(await http.post(PATH, content=allowed, headers=headers))
    response = await http.post(PATH, content=allowed + "x", headers=headers)
    assert "65536" in assert_refused(response, "invalid_request", 413)


async def test_discovery_document_and_keys_are_published(http: AsyncClient) -> None:
    configuration = (await http.get("/.well-known/openid-configuration")).json()
    keys = (await http.get(configuration["jwks_uri"])).json()

    assert configuration["issuer"] == "http://case.test"
    assert configuration["token_endpoint"] == "http://case.test/oauth2/token"
    assert configuration["scopes_supported"] == [scope.value for scope in Scope]
    token = assert_issued(await http.post(configuration["token_endpoint"], data=SENT))
    assert decode_unverified(token)[0]["kid"] in {key["kid"] for key in keys["keys"]}
    assert {*chain(*keys["keys"])} == {"kty", "use", "alg", "kid", "n", "e"}


async def test_openapi_document_describes_the_token_endpoint(http: AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    (scheme,) = document["components"]["securitySchemes"].values()
    flow = scheme["flows"]["clientCredentials"]
    assert (flow["tokenUrl"], set(flow["scopes"])) == (PATH, set(Scope))
    operation = document["paths"][PATH]["post"]
    assert [*operation["requestBody"]["content"]] == ["application/x-www-form-urlencoded"]
    assert {"200", "400", "401", "413", "429"} <= set(operation["responses"])


async def test_wrong_secret_costs_one_slow_hash_whether_client_exists(
    database: Database, clean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = ClientAuthenticator(Settings(client_id=ID, client_secret=SecretStr(SECRET)), database)
    await add_client(database, "stored", None, [Scope.READONLY], hash_secret(SECRET))
    compared: list[str] = []

    def counted(secret: str, stored: str) -> bool:
        compared.append(stored.rpartition("$")[0].rpartition("$")[0])
        return verify_secret(secret, stored)

    monkeypatch.setattr("case_server.auth.clients.verify_secret", counted)
    slow = "scrypt$16384$8$1"
    for client_id in (ID, "stored", "unknown", "un:known"):
        compared.clear()
        assert await clients.authenticate([(client_id, "x" * 40)], "10.0.0.1") is None
        # Each attempt makes one slow comparison of the same cost.
        assert compared.count(slow) == 1
    compared.clear()
    # A slow hash of a secret that the settings contain would only delay the first token.
    assert await clients.authenticate([(ID, SECRET)], "10.0.0.2")
    assert slow not in compared


async def test_failed_attempts_are_throttled_with_an_oauth_error(
    own_app: FastAPI, http: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_clock_of_logins(monkeypatch, own_app.state.app_state.clients)
    for _ in range(5):
        response = await http.post(PATH, data={**SENT, "client_secret": "guess"})
        assert_refused(response, "invalid_client", 401)
    response = await http.post(PATH, data=SENT)
    assert_refused(response, "temporarily_unavailable", 429)
    assert int(response.headers["Retry-After"]) >= 1


async def test_other_address_is_not_throttled(
    own_app: FastAPI, http: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_clock_of_logins(monkeypatch, own_app.state.app_state.clients)

    async def ask(address: str, secret: str) -> int:
        async with create_client(own_app, client=(address, 1)) as client:
            return (await client.post(PATH, data={**SENT, "client_secret": secret})).status_code

    assert [await ask("10.0.0.1", "guess") for _ in range(6)] == [401] * 5 + [429]
    assert await ask("10.0.0.1", SECRET) == 429
    assert await ask("10.0.0.2", SECRET) == 200
    # The throttled address must not learn that this secret is right.
    assert await ask("10.0.0.1", SECRET) == 429


@pytest.mark.parametrize("secret", [SECRET, "wrong-s3cret-wrong"])
async def test_secret_is_never_logged(
    http: AsyncClient, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    form = {**SENT, "client_secret": secret}
    for _ in range(3):
        tokens = [
            (await http.post(PATH, data=form)).json().get("access_token"),
            (await http.post(PATH, json=form)).json().get("access_token"),
            (await http.post(PATH, data=GRANT, headers=basic(ID, secret))).json(),
        ]
    await http.post(PATH, json={**form, "scope": 7})
    await http.post(PATH, data={**form, "grant_type": "password"})
    assert caplog.records
    encoded = base64.b64encode(f"{ID}:{secret}".encode()).decode()
    for spelling in (secret, quote_plus(secret), encoded, *filter(None, tokens[:2])):
        assert spelling not in caplog.text
