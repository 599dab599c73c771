"""Tokens with flaws, short lives and new keys, against every check that must see them."""

from __future__ import annotations

from typing import Any

import pytest
from support.test_mode_client import DOCUMENTS, Suite


async def made(suite: Suite, **wish: Any) -> dict[str, str]:
    token = (await suite.control("POST", "/tokens", 201, wish))["access_token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("defect", "told"),
    [
        ("expired", "it has expired"),
        ("not_yet_valid", "it is not valid yet"),
        ("wrong_issuer", "does not trust its issuer"),
        ("unknown_key", "names a key that this server does not have"),
    ],
)
async def test_flaw(suite: Suite, defect: str, told: str) -> None:
    answer = await suite.call("GET", DOCUMENTS, headers=await made(suite, defect=defect))
    assert answer.status_code == 401
    assert told in answer.json()["imsx_description"]
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


async def test_without_flaw_or_without_scope(suite: Suite) -> None:
    for wish in ({}, {"scopes": ["readonly"]}, {"scopes": ["case.readonly"]}):
        answer = await suite.call("GET", DOCUMENTS, headers=await made(suite, **wish))
        assert answer.status_code == 200
    for scopes in ([], ["createput", "delete"]):
        answer = await suite.call("GET", DOCUMENTS, headers=await made(suite, scopes=scopes))
        assert answer.status_code == 403


async def test_of_a_client(suite: Suite) -> None:
    await suite.call("GET", DOCUMENTS, headers=await made(suite, client_id="somebody"))
    await suite.call("GET", DOCUMENTS, headers=await made(suite, defect="expired"))
    entries = await suite.control("GET", "/requests")
    assert [one["client"] for one in entries] == ["somebody", "local-client"]


@pytest.mark.parametrize("wish", [{"defect": "ugly"}, {"scopes": ["everything"]}, {"colour": 1}])
async def test_wish_that_makes_no_sense(suite: Suite, wish: dict[str, Any]) -> None:
    refused = await suite.control("POST", "/tokens", 422, wish)
    assert refused["imsx_error_details"]


async def test_lifetime_of_a_client(suite: Suite) -> None:
    form = {"grant_type": "client_credentials"}
    pair = ("local-client", "local-secret")

    async def expires_in() -> int:
        answer = await suite.call("POST", "/oauth2/token", data=form, auth=pair)
        return int(answer.json()["expires_in"])

    await suite.control("PUT", "/token-lifetimes", body={"local-client": 7, "another": 8})
    assert await expires_in() == 7
    await suite.control("PUT", "/token-lifetimes", body={"another": 8})
    assert await expires_in() == 3600
    assert await suite.control("GET", "/token-lifetimes") == {"another": 8}
    await suite.control("DELETE", "/token-lifetimes", 204)
    assert await suite.control("GET", "/token-lifetimes") == {}
    await suite.control("PUT", "/token-lifetimes", 422, {"local-client": 0})


async def test_rotation(suite: Suite) -> None:
    async def kids() -> list[str]:
        keys = (await suite.call("GET", "/.well-known/jwks.json")).json()["keys"]
        return [key["kid"] for key in keys]

    (before,) = await kids()
    rotated = await suite.control("POST", "/keys/rotate", 201)
    assert await kids() == [before, rotated["kid"]] == rotated["kids"]
    assert await suite.total() == 0, "tokens of the old key stay valid"
    revoked = await suite.control("POST", "/keys/rotate?revoke=true", 201)
    assert await kids() == [revoked["kid"]]
    answer = await suite.call("GET", DOCUMENTS)
    assert answer.status_code == 401
    await suite.login()
    assert await suite.total() == 0
    await suite.control("POST", "/snapshots/rotated", 201)
    await suite.control("POST", "/reset")
    assert await kids() == [before]
    await suite.control("POST", "/snapshots/rotated/restore")
    assert await kids() == [revoked["kid"]]
    await suite.control("DELETE", "/snapshots/rotated", 204)


async def test_reset_forgets_failed_logins_of_its_namespace(suite: Suite, other: Suite) -> None:
    async def login(by: Suite, secret: str) -> int:
        form = {"grant_type": "client_credentials"}
        pair = ("local-client", secret)
        answer = await by.call("POST", "/oauth2/token", data=form, auth=pair)
        return answer.status_code

    for by in (suite, other):
        assert [await login(by, "wrong") for _ in range(5)] == [401] * 5
        assert await login(by, "local-secret") == 429
    await suite.control("POST", "/reset")
    assert await login(suite, "local-secret") == 200
    assert await login(other, "local-secret") == 429
