"""Allowed and rejected Host headers (DNS rebinding)."""

from collections.abc import AsyncIterator
from functools import cache

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import ValidationError
from support.applications import create_client

from case_server.api.profiles import ALIASES, PROFILES, find_profile
from case_server.main import create_app
from case_server.settings import Settings

DEFAULT_CLIENT = {"client_id": "local-client", "client_secret": "local-secret"}


@cache
def app_with(**changes: object) -> FastAPI:
    """Return an application without a database, the same for the same settings."""
    defaults = {"database_url": "postgresql://user@127.0.0.1:9/x", "client_secret": "own"}
    return create_app(Settings.model_validate(defaults | changes))


def client_of(app: FastAPI) -> AsyncClient:
    return create_client(app, "http://localhost", raise_app_exceptions=False)


async def is_rejected(name: str, **changes: object) -> bool:
    async with client_of(app_with(**changes)) as client:
        response = await client.get("/static/style.css", headers={"Host": name})
    # In test mode, a response needs a database, which this application does not have.
    assert response.status_code in {200, 421, *([500] if "test_mode" in changes else [])}
    return response.status_code == 421


OWN_NAMES = [
    *("localhost", "localhost:8000", "LocalHost.", "case.localhost:80"),
    *("127.0.0.1", "127.8.9.1:8000", "[::1]:8000", "[0:0:0:0:0:0:0:1]"),
    *("public.example.org", "PUBLIC.example.org.:443"),
]
FOREIGN_NAMES = [
    *("evil.test", "evil.test:8000", "localhost.evil.test", "127.0.0.1.evil.test", "xlocalhost"),
    *("example.org", "a.public.example.org", "10.0.2.2", "128.0.0.1", "[::2]", ""),
]
PUBLIC = {"public_url": "https://public.example.org/case"}


@pytest.mark.parametrize("host", OWN_NAMES)
async def test_own_name_is_allowed_with_the_default_secret(host: str) -> None:
    assert not await is_rejected(host, client_secret="local-secret", **PUBLIC)


@pytest.mark.parametrize(
    ("public_url", "host"),
    [("http://[FD00:0::1]:80", "[fd00::1]"), ("https://case.test./x", "case.test")],
)
async def test_name_of_the_public_url_is_allowed_in_another_form(
    public_url: str, host: str
) -> None:
    assert not await is_rejected(host, client_secret="local-secret", public_url=public_url)


@pytest.mark.parametrize("name", ["public_url", "primary_url"])
@pytest.mark.parametrize(
    "url",
    [
        *("x", "case.example.org", "//case.test", "ftp://case.test", "https://", "https:///case"),
        *("https://case.test:port", "https://[::1", "https://me@case.test", "https://a b.test"),
        *("https://case.test/?page=1", "https://case.test/#top", "https://case.test/\x01"),
    ],
)
def test_invalid_base_url_is_rejected(name: str, url: str) -> None:
    with pytest.raises(ValidationError, match="invalid base URL"):
        Settings.model_validate({name: url})


def test_slash_at_the_end_of_a_base_url_is_removed() -> None:
    settings = Settings.model_validate({"public_url": " https://case.test:8443/case/ "})
    assert settings.public_url == "https://case.test:8443/case"


@pytest.mark.parametrize("host", FOREIGN_NAMES)
async def test_foreign_name_is_rejected_with_the_default_secret(host: str) -> None:
    assert await is_rejected(host, client_secret="local-secret", **PUBLIC)
    assert not await is_rejected(host, **PUBLIC)


@pytest.mark.parametrize("host", FOREIGN_NAMES)
async def test_foreign_name_is_rejected_if_allowed_hosts_are_set(host: str) -> None:
    for address in ("127.0.0.1", "0.0.0.0"):
        settings = {"host": address, "allowed_hosts": "case", **PUBLIC}
        assert await is_rejected(host, **settings)
        assert not await is_rejected("case", **settings)


@pytest.mark.parametrize(
    ("setting", "host", "rejected"),
    [
        ("case, host.docker.internal", "host.docker.internal:8000", False),
        ("Case:8000", "CASE.", False),
        ("my_case", "my_case:8000", False),
        ("10.0.2.2", "10.0.2.2:8000", False),
        ("[fd00::1]", "[FD00:0::1]:8000", False),
        ("*.example.org", "a.example.org", False),
        ("*.example.org", "a.b.Example.org:1", False),
        ("*.example.org", "example.org", True),
        ("*.example.org", "aexample.org", True),
        ("*", "anything.test", False),
        ("case,*", "anything.test", False),
    ],
)
async def test_allowed_hosts_add_names(setting: str, host: str, rejected: bool) -> None:  # noqa: FBT001  a test parameter
    assert await is_rejected(host, client_secret="local-secret", allowed_hosts=setting) == rejected


@pytest.mark.parametrize("name", ["https://case.test", "a b", "case/x", "*x.test", "a,*.*"])
def test_invalid_allowed_host_is_rejected(name: str) -> None:
    with pytest.raises(ValidationError, match="invalid host name"):
        Settings.model_validate({"allowed_hosts": name})


async def test_all_names_are_allowed_beyond_loopback_with_the_default_secret() -> None:
    # A server that listens on other interfaces cannot know the names in that network.
    settings = {"host": "0.0.0.0", "allow_default_secret": True, "client_secret": "local-secret"}
    assert not await is_rejected("evil.test", **settings)


async def test_test_mode_without_token_rejects_foreign_names() -> None:
    assert await is_rejected("evil.test", test_mode=True)
    assert not await is_rejected("localhost", test_mode=True, allowed_hosts="x")


@pytest.fixture
async def local() -> AsyncIterator[AsyncClient]:
    """Open a client with a foreign Host, for a server in test mode with the default secret."""
    async with client_of(app_with(test_mode=True, **DEFAULT_CLIENT)) as client:
        client.headers["Host"] = "evil.test"
        yield client


SETTING = "CASE_SERVER_ALLOWED_HOSTS"


@pytest.mark.parametrize("prefix", ["", "/ns/suite"])
async def test_rejection_has_the_format_of_its_path(local: AsyncClient, prefix: str) -> None:
    html = {"Accept": "text/html,*/*"}
    spellings = [(profile, profile.prefix) for profile in PROFILES]
    spellings += [(find_profile(alias), alias.rstrip("/")) for alias in ALIASES]
    for profile, path in spellings:
        response = await local.get(f"{prefix}{path}/CFItems", headers=html)
        body = response.json()
        assert (response.status_code, body["imsx_codeMajor"]) == (421, "failure")
        assert set(profile.code_minor_names) <= body.keys()
        assert SETTING in body["imsx_description"]
    for path in ("/oauth2/token", "/oauth/token", "/auth/1.0/token"):
        response = await local.post(prefix + path, data={"grant_type": "client_credentials"})
        assert (response.status_code, response.json()["error"]) == (421, "invalid_request")
        assert SETTING in response.json()["error_description"]
    for path in ("/", "/sign-in", "/docs", "/target", "/documents/x"):
        response = await local.get(prefix + path, headers=html)
        assert (response.status_code, response.headers["Content-Type"]) == (
            421,
            "text/html; charset=utf-8",
        )
        assert SETTING in response.text
    for path in ("/openapi.json", "/.well-known/jwks.json", "/static/style.css"):
        assert (await local.get(prefix + path)).json()["imsx_codeMajor"] == "failure"
    for method, path in (("POST", "/_test/reset"), ("GET", "/_test/requests")):
        response = await local.request(method, prefix + path)
        assert (response.status_code, response.json()["imsx_codeMajor"]) == (421, "failure")
        assert response.headers["X-Request-ID"]


async def test_host_name_in_a_page_is_escaped(local: AsyncClient) -> None:
    response = await local.get("/", headers={"Host": "x'&y", "Accept": "text/html"})
    assert response.status_code == 421
    assert "x&#x27;&amp;y" in response.text or "&#x27;x&#x27;" in response.text
    assert "'&y" not in response.text


async def test_health_probes_by_ip_address_are_allowed() -> None:
    async with client_of(app_with(allowed_hosts="case", **DEFAULT_CLIENT)) as client:
        headers = {"Host": "10.1.2.3:8000"}
        assert (await client.get("/health", headers=headers)).status_code == 200
        assert (await client.get("/ready", headers=headers)).status_code != 421
        assert (await client.get("/docs", headers=headers)).status_code == 421
