"""Links, forms, redirects, static files and /docs of a namespace stay within it."""

import re
from collections.abc import AsyncIterator
from html import unescape
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from support.applications import create_client
from support.test_mode_client import BASE, NamespaceClient

ADDRESS = re.compile(r'\s(?:href|src|action|formaction|data-children)="([^"]*)"')
OWN = ("local-client", "local-secret")


def addresses(page: str) -> set[str]:
    """Return the paths on this host that a page links to."""
    results = {unescape(address) for address in ADDRESS.findall(page)}
    return {address for address in results if address and not address.startswith(("#", "http"))}


async def sign_in(browser: AsyncClient, prefix: str, wanted: str = "/") -> Response:
    form = {"next": wanted, "client_id": OWN[0], "client_secret": OWN[1]}
    return await browser.post(f"{prefix}/sign-in", data=form, headers={"Origin": BASE})


@pytest.fixture
async def browser(testmode_app: FastAPI, other: NamespaceClient) -> AsyncIterator[AsyncClient]:
    """A browser signed in to the namespace, which contains the sample."""
    await other.test_api("POST", "/seed", body={"sample": True})
    async with create_client(testmode_app) as browser:
        response = await sign_in(browser, "/ns/other")
        assert response.status_code == 303, response.text
        yield browser


async def test_pages_link_only_within_namespace(browser: AsyncClient) -> None:
    waiting = {"/ns/other/"}
    seen: set[str] = set()
    while waiting and len(seen) < 60:
        # The pages nearest to the home page first, so that each run visits the same ones.
        address = min(waiting, key=lambda path: (path.count("/"), len(path), path))
        waiting.remove(address)
        seen.add(address)
        response = await browser.get(address)
        assert response.status_code == 200, (address, response.text)
        if not response.headers["content-type"].startswith("text/html"):
            continue
        results = {urljoin(address, link) for link in addresses(response.text)}
        assert results, address
        assert {url for url in results if not url.startswith("/ns/other/")} == set(), address
        # The actions of forms accept only POST.
        results = {url for url in results if not re.search(r"/sign-out|/upload/|/docs/", url)}
        waiting |= {url.partition("#")[0] for url in results} - seen
    shown = {re.sub(r"[?].*|/documents/.*", "", url) for url in seen}
    assert shown >= {f"/ns/other{path}" for path in ("/", "", "/compare", "/upload", "/test-mode")}
    assert any("/items/" in url for url in seen)


async def test_redirects_stay_in_namespace(testmode_app: FastAPI, browser: AsyncClient) -> None:
    async with create_client(testmode_app) as anonymous_browser:
        led = await anonymous_browser.get("/ns/other/search?q=a")
        assert led.headers["location"] == "/ns/other/sign-in?next=%2Fsearch%3Fq%3Da"
        back = await sign_in(anonymous_browser, "/ns/other", "/search?q=a")
        assert back.headers["location"] == "/ns/other/search?q=a"
        assert "Path=/ns/other;" in back.headers["set-cookie"]
        out = await anonymous_browser.post("/ns/other/sign-out", headers={"Origin": BASE})
        assert out.headers["location"] == "/ns/other/sign-in"
        assert (await anonymous_browser.get("/ns/other/")).status_code == 303
    assert (await browser.get("/ns/other/sign-in")).headers["location"] == "/ns/other/"


async def test_namespaces_have_own_sessions(testmode_app: FastAPI, browser: AsyncClient) -> None:
    assert (await browser.get("/")).status_code == 303
    assert (await sign_in(browser, "")).status_code == 303
    assert (await browser.get("/")).status_code == 200
    assert (await browser.get("/ns/other/")).status_code == 200


async def test_swagger_ui_uses_the_namespace(testmode_app: FastAPI, browser: AsyncClient) -> None:
    page = await browser.get("/ns/other/docs")
    assert addresses(page.text) >= {"/ns/other/openapi.json"}
    for address in addresses(page.text) - {"/ns/other/sign-out"}:
        assert address.startswith("/ns/other/")
        assert (await browser.get(address)).status_code == 200, address
    # The script finds the document from its own address.
    assert "../../openapi.json" in (await browser.get("/ns/other/docs/assets/docs.js")).text
    document = (await browser.get("/ns/other/openapi.json")).json()
    assert document["servers"] == [{"url": "/ns/other"}]
    flow = document["components"]["securitySchemes"]["CaseOAuth2"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "/ns/other/oauth2/token"
    own = (await browser.get("/openapi.json")).json()
    assert "servers" not in own


async def test_page_of_namespace_shows_log(other: NamespaceClient, browser: AsyncClient) -> None:
    await other.call("GET", "/case/1.1/CFItems/only-requested-here")
    assert "only-requested-here" in (await browser.get("/ns/other/test-mode")).text
    await sign_in(browser, "")
    assert "only-requested-here" not in (await browser.get("/test-mode")).text
