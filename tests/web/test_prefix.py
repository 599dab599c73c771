"""A path prefix in CASE_SERVER_PUBLIC_URL, behind a proxy that strips it."""

import re
from collections.abc import AsyncIterator
from html import unescape
from urllib.parse import urljoin

import pytest
from conftest import CLIENT
from httpx import AsyncClient, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from support import factories
from support.applications import authorize, create_client, run_app

from case_server.api.profiles import PROFILES
from case_server.settings import Settings
from case_server.web.auth import SESSION_COOKIE

from .conftest import CREDENTIALS

PREFIX = "/schools/case"
BASE = f"https://schools.example.org{PREFIX}"
ADDRESS = re.compile(r'\s(?:href|src|action|formaction|data-children)="([^"]*)"')


class StrippingProxy:
    """A proxy that forwards only requests below a prefix, and removes the prefix."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith(f"{PREFIX}/"), f"{scope['path']} is not for this server"
        raw = scope["raw_path"].removeprefix(PREFIX.encode())
        passed = {**scope, "path": scope["path"].removeprefix(PREFIX), "raw_path": raw}
        await self.app(passed, receive, send)


@pytest.fixture
async def browser(settings: Settings, clean: None) -> AsyncIterator[AsyncClient]:
    """A browser behind the proxy; the server has one framework."""
    async with (
        run_app(settings.model_copy(update={"public_url": BASE})) as (app, _),
        create_client(StrippingProxy(app), BASE) as client,
    ):
        client.headers["Origin"] = "https://schools.example.org"
        await authorize(client, CLIENT)
        body = factories.package_with_every_class()
        stored = await client.post("/case/1.1/CFPackages", json=body)
        assert stored.status_code == 201, stored.text
        assert stored.headers["Location"].startswith(f"{BASE}/case/1.1/CFPackages/")
        yield client


async def sign_in(browser: AsyncClient, wanted: str = "/") -> Response:
    return await browser.post("/sign-in", data={"next": wanted, **CREDENTIALS})


def addresses(page: str, base: str) -> set[str]:
    """Return the absolute URLs that a page links to."""
    results = {urljoin(base, unescape(address)) for address in ADDRESS.findall(page) if address}
    return {address.partition("#")[0] for address in results}


async def test_links_and_forms_contain_prefix(browser: AsyncClient) -> None:
    assert (await sign_in(browser)).status_code == 303
    waiting, seen = {f"{BASE}/"}, set[str]()
    while waiting:
        address = waiting.pop()
        seen.add(address)
        response = await browser.get(address)
        assert response.status_code in {200, 400}, (address, response.text)
        if not response.headers["content-type"].startswith("text/html"):
            continue
        links = addresses(response.text, address)
        outside = {link for link in links if not link.startswith(f"{BASE}/")}
        assert not outside, f"{address} leads to {outside}"
        # The actions of forms accept only POST.
        forms = {f"{BASE}/sign-out", f"{BASE}/upload/check", f"{BASE}/upload/store"}
        waiting |= links - forms - seen
    shown = {url.removeprefix(BASE).partition("?")[0] for url in seen}
    assert shown >= {"/", "/search", "/compare", "/upload", "/docs", "/static/style.css"}
    assert any("/items/" in path for path in shown)
    assert any(path.endswith("/changes") for path in shown)


async def test_redirects_contain_prefix(browser: AsyncClient) -> None:
    led = await browser.get("/search?q=a")
    assert led.headers["location"] == f"{PREFIX}/sign-in?next=%2Fsearch%3Fq%3Da"
    back = await sign_in(browser, "/search?q=a")
    assert back.headers["location"] == f"{PREFIX}/search?q=a"
    out = await browser.post("/sign-out")
    assert out.headers["location"] == f"{PREFIX}/sign-in"


async def test_cookies_are_limited_to_prefix(browser: AsyncClient) -> None:
    assert (await sign_in(browser)).status_code == 303
    cookies = {cookie.name: cookie for cookie in browser.cookies.jar}
    assert {cookie.path for cookie in cookies.values()} == {PREFIX}
    assert sorted(cookies) == [f"{SESSION_COOKIE}_schools_case"]
    assert all(cookie.secure for cookie in cookies.values())


async def test_openapi_documents_contain_prefix(browser: AsyncClient) -> None:
    documents = {
        profile.prefix + profile.document: f"{BASE}{profile.prefix}" for profile in PROFILES
    }
    for path, server in {**documents, "/openapi.json": PREFIX}.items():
        document = (await browser.get(path)).json()
        assert [server_entry["url"] for server_entry in document["servers"]] == [server]
        flow = document["components"]["securitySchemes"]["CaseOAuth2"]["flows"]["clientCredentials"]
        assert flow["tokenUrl"] == f"{PREFIX}/oauth2/token", path


async def test_issuer_and_link_headers_contain_prefix(browser: AsyncClient) -> None:
    body = (await browser.get("/.well-known/openid-configuration")).json()
    assert body["issuer"] == BASE
    assert body["token_endpoint"] == f"{BASE}/oauth2/token"
    assert body["jwks_uri"] == f"{BASE}/.well-known/jwks.json"
    assert (await browser.get(body["jwks_uri"])).json()["keys"]
    for profile in PROFILES:
        collection = "CFItems" if profile.writes else "CFDocuments"
        response = await browser.get(f"{profile.prefix}/{collection}", params={"limit": 1})
        links = re.findall(r"<([^>]*)>", response.headers["Link"])
        assert links
        for link in links:
            assert link.startswith(f"{BASE}{profile.prefix}/{collection}?")
            assert (await browser.get(link)).status_code == 200
