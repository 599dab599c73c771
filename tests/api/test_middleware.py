"""Security headers, CORS and the access log."""

import logging

import pytest
from conftest import CLIENT
from httpx import AsyncClient
from pydantic import ValidationError
from support.applications import create_client

from case_server.api.middleware import SECURITY_HEADERS
from case_server.log_config import REQUEST_LOGGER
from case_server.main import create_app
from case_server.settings import Settings

PAGE = "https://app.example.edu"


def client_for(**changes: object) -> AsyncClient:
    """Return a client of an application with these settings and without a database."""
    settings = Settings.model_validate(
        {"database_url": "postgresql://user@127.0.0.1:9/x"} | changes
    )
    return create_client(create_app(settings), "http://localhost")


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
async def test_response_has_security_headers(client: AsyncClient, method: str, path: str) -> None:
    headers = (await client.request(method, path)).headers
    for name, value in SECURITY_HEADERS:
        assert headers.get_list(name.decode()) == [value.decode()]
    assert "Strict-Transport-Security" not in headers
    assert "Access-Control-Allow-Origin" not in headers
    assert "Server" not in headers


async def test_headers_of_the_response_win(client: AsyncClient) -> None:
    form = {"grant_type": "client_credentials"}
    token = await client.post(
        "/oauth2/token", data=form, auth=CLIENT, headers={"Authorization": ""}
    )
    assert token.headers.get_list("Cache-Control") == ["no-store"]
    assert token.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/.well-known/jwks.json", "/.well-known/openid-configuration"):
        keys = await client.get(path)
        assert keys.headers.get_list("Cache-Control") == ["public, max-age=60"]


async def test_csp_of_pages_allows_only_own_scripts(anonymous: AsyncClient) -> None:
    response = await anonymous.get("/docs")
    (policy,) = response.headers.get_list("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "https://" not in response.text


@pytest.mark.parametrize(
    ("public_url", "expected"), [("https://case.example.edu", True), ("", False)]
)
async def test_hsts_is_sent_if_the_public_url_is_https(public_url: str, expected: object) -> None:
    async with client_for(public_url=public_url) as client:
        headers = (await client.get("/health")).headers
    assert (headers.get("Strict-Transport-Security") == "max-age=31536000") == expected


def preflight(origin: str, method: str = "PUT") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type",
    }


async def test_preflight_is_rejected_without_cors_origins() -> None:
    async with client_for() as client:
        response = await client.options("/case/1.1/CFItems/x", headers=preflight(PAGE))
        assert response.status_code == 405
        assert not any(name.startswith("access-control") for name in response.headers)


async def test_preflight_is_allowed_for_configured_origins_only() -> None:
    async with client_for(cors_origins=f"{PAGE}, http://localhost:3000") as client:
        for origin in (PAGE, "http://localhost:3000"):
            response = await client.options("/case/1.1/CFItems/x", headers=preflight(origin))
            assert response.status_code == 200
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert "Access-Control-Allow-Credentials" not in response.headers
            assert response.headers["X-Request-ID"]
        for origin in ("https://evil.test", f"{PAGE}.evil.test", "null"):
            response = await client.options("/case/1.1/CFItems/x", headers=preflight(origin))
            assert response.status_code == 400
            assert "Access-Control-Allow-Origin" not in response.headers
        read_response = await client.get("/health", headers={"Origin": PAGE})
        assert read_response.headers["Access-Control-Allow-Origin"] == PAGE
        assert "X-Total-Count" in read_response.headers["Access-Control-Expose-Headers"]
        assert read_response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["app.example.edu", "https://a.test/x", "https://a b", "null"])
def test_invalid_cors_origin_is_rejected(origin: str) -> None:
    with pytest.raises(ValidationError, match="invalid origin"):
        Settings.model_validate({"cors_origins": origin})


async def test_request_logs_one_line(client: AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, REQUEST_LOGGER)
    path = "/case/1.1/CFItems/a%0Ab%20%C3%BC"
    await client.get(f"{path}?access_token=hidden", headers={"X-Request-ID": "mine"})
    (line,) = [record.getMessage() for record in caplog.records if record.name == REQUEST_LOGGER]
    method, logged_path, status, milliseconds, unit, caller, request = line.split(" ")
    assert (method, logged_path, status, unit) == ("GET", path, "404", "ms")
    assert 0 < float(milliseconds) < 60_000
    assert (caller, request) == (f"client={CLIENT[0]}", "request=mine")
    assert "hidden" not in caplog.text


async def test_unauthenticated_client_is_not_logged(
    anonymous: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, REQUEST_LOGGER)
    form = {"grant_type": "client_credentials"}
    await anonymous.post("/oauth2/token", data=form, auth=("s3cret-in-the-wrong-field", "x"))
    await anonymous.get("/case/1.1/CFItems", headers={"Authorization": "Bearer x.y.z"})
    lines = [record.getMessage() for record in caplog.records if record.name == REQUEST_LOGGER]
    assert len(lines) == 2
    assert all("client=- " in line for line in lines)
    assert "s3cret" not in caplog.text


async def test_probes_and_disabled_access_log_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, REQUEST_LOGGER)
    async with client_for() as client:
        await client.get("/health")
    async with client_for(access_log=False) as client:
        await client.get("/nothing")
    assert not caplog.records
