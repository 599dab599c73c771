"""Access to the web UI: sessions, scopes, CSRF protection, and loopback without sign-in."""

from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from support import factories
from support.applications import create_client
from support.external_issuer import ExternalIssuer

from case_server.settings import Settings
from case_server.web.auth import SESSION_COOKIE, sanitize_next_url

from .conftest import CREDENTIALS, LOOPBACK, run_for_visitor

Token = Callable[..., Awaitable[str]]

PAGES = (
    *("/", "/search", "/documents/x", "/documents/x/children/y"),
    *("/compare", "/compare.csv", "/upload"),
)


@pytest.mark.parametrize("path", PAGES)
async def test_page_without_session_redirects_to_sign_in(
    anonymous_browser: AsyncClient, path: str
) -> None:
    response = await anonymous_browser.get(path)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/sign-in")
    assert response.headers["cache-control"] == "private, no-store"


async def test_sign_in_redirects_to_requested_page(anonymous_browser: AsyncClient) -> None:
    wanted = (await anonymous_browser.get("/search?q=a%20b")).headers["location"]
    page = await anonymous_browser.get(wanted)
    assert 'name="next" value="/search?q=a%20b"' in page.text
    form = {"next": "/search?q=a%20b", **CREDENTIALS}
    response = await anonymous_browser.post("/sign-in", data=form)
    assert response.status_code == 303
    assert response.headers["location"] == "/search?q=a%20b"
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert {"httponly", "samesite=lax"} <= set(cookie.lower().split("; "))
    assert (await anonymous_browser.get("/search")).status_code == 200
    assert (await anonymous_browser.post("/sign-out")).status_code == 303
    assert (await anonymous_browser.get("/")).status_code == 303


@pytest.mark.parametrize(
    "wanted",
    [
        "//elsewhere.example",
        "https://elsewhere.example",
        "/\\elsewhere",
        "",
        "javascript:x",
        "/a\nb",
    ],
)
def test_sanitize_next_url_rejects_foreign_urls(wanted: str) -> None:
    assert sanitize_next_url(wanted) == "/"


async def test_wrong_secret_returns_401(anonymous_browser: AsyncClient) -> None:
    form = {**CREDENTIALS, "client_secret": "no"}
    response = await anonymous_browser.post("/sign-in", data=form)
    assert response.status_code == 401
    assert "Unknown client ID or wrong secret" in response.text
    assert SESSION_COOKIE not in anonymous_browser.cookies


async def test_cookie_is_secure_with_https(settings: Settings, clean: None) -> None:
    url = "https://case.test"
    async with run_for_visitor(settings, url, public_url=url) as browser:
        response = await browser.post("/sign-in", data=CREDENTIALS)
        assert "secure" in response.headers["set-cookie"].lower()


OWN = "http://case.test"
FOREIGN = "https://foreign.example"


@pytest.mark.parametrize(
    "headers",
    [
        {},  # no browser since 2020 sends a POST without Origin
        {"Origin": FOREIGN},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Origin": "http://case.test.foreign.example"},
        {"Origin": "http://case.test:8000"},
        {"Origin": "http://sub.case.test", "Sec-Fetch-Site": "same-site"},
        {"Origin": FOREIGN, "Sec-Fetch-Site": "same-origin"},
        {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": OWN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": OWN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_forms_from_foreign_pages_are_refused(
    app: FastAPI, browser: AsyncClient, headers: dict[str, str]
) -> None:
    """Forms that another page could send with the cookies of a signed-in user."""
    async with create_client(app, OWN) as client:
        client.cookies.update(browser.cookies)
        file = {"file": ("a.json", b"{}")}
        for path in ("/upload/check", "/upload/store"):
            response = await client.post(path, files=file, headers=headers)
            assert response.status_code == 403, path
        for path in ("/sign-in", "/sign-out"):
            response = await client.post(path, data=CREDENTIALS, headers=headers)
            assert response.status_code == 403, path
            assert "set-cookie" not in response.headers
        assert (await client.get("/upload")).status_code == 200, "the session has not ended"


@pytest.mark.parametrize("headers", [{"Origin": FOREIGN}, {"Origin": "null"}, {}], ids=str)
async def test_forms_from_foreign_pages_are_refused_without_sign_in(
    open_app: FastAPI, clean: None, headers: dict[str, str]
) -> None:
    """A server on a loopback address needs no cookie, so no cookie protects it."""
    async with create_client(open_app, LOOPBACK) as client:
        for path in ("/upload/check", "/upload/store"):
            file = {"file": ("a.json", b"{}")}
            assert (await client.post(path, files=file, headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OWN},
        {"Origin": OWN, "Sec-Fetch-Site": "same-origin"},
        {"Origin": OWN, "Sec-Fetch-Site": "none"},
        {"Origin": "https://case.test"},  # a proxy ends TLS
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
async def test_form_of_own_page_is_accepted(browser: AsyncClient, headers: dict[str, str]) -> None:
    del browser.headers["Origin"]
    file = {"file": ("a.json", b"{}")}
    response = await browser.post("/upload/check", files=file, headers=headers)
    assert response.status_code == 200, response.text


async def test_session_has_scopes_of_token(anonymous_browser: AsyncClient, token: Token) -> None:
    anonymous_browser.cookies.set(SESSION_COOKIE, await token("readonly"))
    page = await anonymous_browser.get("/")
    assert page.status_code == 200
    assert "/upload" not in page.text
    assert (await anonymous_browser.get("/upload")).status_code == 403
    files = {"file": ("a.json", b"{}")}
    assert (await anonymous_browser.post("/upload/store", files=files)).status_code == 403
    anonymous_browser.cookies.set(SESSION_COOKIE, await token("createput"))
    assert (await anonymous_browser.get("/")).status_code == 403
    anonymous_browser.cookies.set(SESSION_COOKIE, "not a token")
    assert (await anonymous_browser.get("/")).status_code == 303


async def test_loopback_needs_no_sign_in(local: AsyncClient) -> None:
    page = await local.get("/")
    assert page.status_code == 200
    assert "Sign out" not in page.text
    assert "/upload" in page.text
    assert (await local.get("/sign-in")).headers["location"] == "/"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("elsewhere.example", 421),
        ("elsewhere.example:8000", 421),
        ("127.0.0.1.elsewhere.example", 421),
        ("", 421),
        ("[", 400),
    ],
)
async def test_foreign_host_name_is_rejected(local: AsyncClient, host: str, status: int) -> None:
    assert (await local.get("/", headers={"Host": host})).status_code == status


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via"])
async def test_proxied_request_needs_sign_in(local: AsyncClient, name: str) -> None:
    assert (await local.get("/", headers={name: "somewhere"})).status_code == 303


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
async def test_loopback_host_names_are_accepted(local: AsyncClient, host: str) -> None:
    assert (await local.get("/", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("changed", [{"host": "0.0.0.0"}, {"client_id": "another"}])
async def test_sign_in_is_needed_unless_default_client_on_loopback(
    open_app: FastAPI, clean: None, changed: dict[str, str]
) -> None:
    settings: Settings = open_app.state.app_state.settings
    async with run_for_visitor(settings, LOOPBACK, **changed) as browser:
        assert (await browser.get("/")).status_code == 303


async def test_token_of_trusted_issuer_signs_in(
    settings: Settings, external_issuer: ExternalIssuer, clean: None
) -> None:
    async with run_for_visitor(settings, local_issuer=False) as browser:
        assert 'name="token"' in (await browser.get("/sign-in")).text
        refused = await browser.post("/sign-in", data={"token": "made up"})
        assert refused.status_code == 401
        form = {"token": external_issuer.create_token()}
        assert (await browser.post("/sign-in", data=form)).status_code == 303
        assert (await browser.get("/")).status_code == 200


async def test_redirect_does_not_reveal_frameworks(
    anonymous_browser: AsyncClient, client: AsyncClient
) -> None:
    body = factories.package()
    await client.post("/case/1.1/CFPackages", json=body)
    for path in (f"/documents/{body['CFDocument']['identifier']}", "/documents/unknown"):
        response = await anonymous_browser.get(path)
        assert (response.status_code, response.text) == (303, "")
