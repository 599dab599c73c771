"""What every answer carries, what web pages may do, and the line that each request leaves."""

from __future__ import annotations

import logging

import httpx
import pytest
from conftest import CLIENT
from pydantic import ValidationError

from case_server.api.middleware import SECURITY_HEADERS
from case_server.log_config import REQUEST_LOGGER
from case_server.main import create_app
from case_server.settings import Settings

PAGE = "https://app.example.edu"


def door(**changes: object) -> httpx.AsyncClient:
    """A client of an application with these settings, which has no database."""
    settings = Settings.model_validate(
        {"database_url": "postgresql://nobody@127.0.0.1:9/x"} | changes
    )
    transport = httpx.ASGITransport(create_app(settings))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/case/1.1/CFItems"),
        ("HEAD", "/case/1.1/CFItems"),
        ("GET", "/case/1.1/CFItems/unknown"),
        ("PUT", "/case/1.1/CFItems/x"),
        ("GET", "/nothing"),
        ("PATCH", "/health"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
    ],
)
async def test_every_answer_is_guarded(client: httpx.AsyncClient, method: str, path: str) -> None:
    headers = (await client.request(method, path)).headers
    for name, value in SECURITY_HEADERS:
        assert headers.get_list(name.decode()) == [value.decode()]
    assert "Strict-Transport-Security" not in headers
    assert "Access-Control-Allow-Origin" not in headers
    assert "Server" not in headers


async def test_what_an_answer_says_itself_stands(client: httpx.AsyncClient) -> None:
    form = {"grant_type": "client_credentials"}
    token = await client.post(
        "/oauth2/token", data=form, auth=CLIENT, headers={"Authorization": ""}
    )
    assert token.headers.get_list("Cache-Control") == ["no-store"]
    assert token.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/.well-known/jwks.json", "/.well-known/openid-configuration"):
        keys = await client.get(path)
        assert keys.headers.get_list("Cache-Control") == ["public, max-age=60"]


async def test_pages_may_run_their_own_scripts_and_no_others() -> None:
    async with door() as client:
        answer = await client.get("/docs")
    (policy,) = answer.headers.get_list("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "https://" not in answer.text


@pytest.mark.parametrize(("public_url", "told"), [("https://case.example.edu", True), ("", False)])
async def test_browsers_are_told_to_stay_with_https(public_url: str, told: object) -> None:
    async with door(public_url=public_url) as client:
        headers = (await client.get("/health")).headers
    assert (headers.get("Strict-Transport-Security") == "max-age=31536000") == told


def preflight(origin: str, method: str = "PUT") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type",
    }


async def test_pages_elsewhere_may_do_nothing_unless_named() -> None:
    async with door() as client:
        answer = await client.options("/case/1.1/CFItems/x", headers=preflight(PAGE))
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_named_pages_may_call() -> None:
    async with door(cors_origins=f"{PAGE}, http://localhost:3000") as client:
        for origin in (PAGE, "http://localhost:3000"):
            answer = await client.options("/case/1.1/CFItems/x", headers=preflight(origin))
            assert answer.status_code == 200
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert answer.headers["X-Request-ID"]
        for origin in ("https://evil.test", f"{PAGE}.evil.test", "null"):
            answer = await client.options("/case/1.1/CFItems/x", headers=preflight(origin))
            assert answer.status_code == 400
            assert "Access-Control-Allow-Origin" not in answer.headers
        read = await client.get("/health", headers={"Origin": PAGE})
        assert read.headers["Access-Control-Allow-Origin"] == PAGE
        assert "X-Total-Count" in read.headers["Access-Control-Expose-Headers"]
        assert read.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["app.example.edu", "https://a.test/x", "https://a b", "null"])
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(ValidationError, match="invalid origin"):
        Settings.model_validate({"cors_origins": origin})


async def test_a_request_leaves_one_line(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, REQUEST_LOGGER)
    path = "/case/1.1/CFItems/a%0Ab%20%C3%BC"
    await client.get(f"{path}?access_token=hidden", headers={"X-Request-ID": "mine"})
    (line,) = [record.getMessage() for record in caplog.records if record.name == REQUEST_LOGGER]
    method, told, status, milliseconds, unit, who, which = line.split(" ")
    assert (method, told, status, unit) == ("GET", path, "404", "ms")
    assert 0 < float(milliseconds) < 60_000
    assert (who, which) == (f"client={CLIENT[0]}", "request=mine")
    assert "hidden" not in caplog.text


async def test_who_did_not_prove_itself_is_not_named(
    anonymous: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, REQUEST_LOGGER)
    form = {"grant_type": "client_credentials"}
    await anonymous.post("/oauth2/token", data=form, auth=("s3cret-in-the-wrong-field", "x"))
    await anonymous.get("/case/1.1/CFItems", headers={"Authorization": "Bearer x.y.z"})
    lines = [record.getMessage() for record in caplog.records if record.name == REQUEST_LOGGER]
    assert len(lines) == 2
    assert all("client=- " in line for line in lines)
    assert "s3cret" not in caplog.text


async def test_probes_leave_none_and_all_may_be_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, REQUEST_LOGGER)
    async with door() as client:
        await client.get("/health")
    async with door(access_log=False) as client:
        await client.get("/nothing")
    assert not caplog.records
