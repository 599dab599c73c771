"""Pages, forms, redirects, files and /docs of a namespace lead nowhere outside it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI
from support.test_mode_client import BASE, Suite, client_of

ADDRESS = re.compile(r'\s(?:href|src|action|formaction|data-children)="([^"]*)"')
OWN = ("local-client", "local-secret")


def addresses(page: str) -> set[str]:
    """Return the addresses of this host that a page names."""
    found = {unescape(address) for address in ADDRESS.findall(page)}
    return {address for address in found if address and not address.startswith(("#", "http"))}


async def sign_in(browser: httpx.AsyncClient, prefix: str, wanted: str = "/") -> httpx.Response:
    form = {"next": wanted, "client_id": OWN[0], "client_secret": OWN[1]}
    return await browser.post(f"{prefix}/sign-in", data=form, headers={"Origin": BASE})


@pytest.fixture
async def browser(testmode_app: FastAPI, other: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that is signed in to the namespace, which holds the sample."""
    await other.control("POST", "/seed", body={"sample": True})
    async with client_of(testmode_app) as browser:
        answer = await sign_in(browser, "/ns/other")
        assert answer.status_code == 303, answer.text
        yield browser


async def test_pages_of_a_namespace_name_addresses_of_it_alone(browser: httpx.AsyncClient) -> None:
    waiting = {"/ns/other/"}
    seen: set[str] = set()
    while waiting and len(seen) < 60:
        address = waiting.pop()
        seen.add(address)
        answer = await browser.get(address)
        assert answer.status_code == 200, (address, answer.text)
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        found = {urljoin(address, one) for one in addresses(answer.text)}
        assert found, address
        assert {one for one in found if not one.startswith("/ns/other/")} == set(), address
        # The action of the form to sign out, and those of uploads, are not to be read.
        found = {one for one in found if not re.search(r"/sign-out|/upload/|/docs/", one)}
        waiting |= {one.partition("#")[0] for one in found} - seen
    shown = {re.sub(r"[?].*|/documents/.*", "", one) for one in seen}
    assert shown >= {f"/ns/other{path}" for path in ("/", "", "/compare", "/upload", "/test-mode")}
    assert any("/items/" in one for one in seen)


async def test_redirects_of_a_namespace_stay_in_it(
    testmode_app: FastAPI, browser: httpx.AsyncClient
) -> None:
    async with client_of(testmode_app) as stranger:
        led = await stranger.get("/ns/other/search?q=a")
        assert led.headers["location"] == "/ns/other/sign-in?next=%2Fsearch%3Fq%3Da"
        back = await sign_in(stranger, "/ns/other", "/search?q=a")
        assert back.headers["location"] == "/ns/other/search?q=a"
        assert "Path=/ns/other;" in back.headers["set-cookie"]
        out = await stranger.post("/ns/other/sign-out", headers={"Origin": BASE})
        assert out.headers["location"] == "/ns/other/sign-in"
        assert (await stranger.get("/ns/other/")).status_code == 303
    assert (await browser.get("/ns/other/sign-in")).headers["location"] == "/ns/other/"


async def test_sessions_of_two_namespaces_do_not_end_each_other(
    testmode_app: FastAPI, browser: httpx.AsyncClient
) -> None:
    assert (await browser.get("/")).status_code == 303
    assert (await sign_in(browser, "")).status_code == 303
    assert (await browser.get("/")).status_code == 200
    assert (await browser.get("/ns/other/")).status_code == 200


async def test_docs_of_a_namespace_lead_to_its_api(
    testmode_app: FastAPI, browser: httpx.AsyncClient
) -> None:
    page = await browser.get("/ns/other/docs")
    assert addresses(page.text) >= {"/ns/other/openapi.json"}
    for address in addresses(page.text):
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


async def test_test_mode_page_of_a_namespace_shows_its_requests(
    other: Suite, browser: httpx.AsyncClient
) -> None:
    await other.call("GET", "/case/1.1/CFItems/only-asked-here")
    assert "only-asked-here" in (await browser.get("/ns/other/test-mode")).text
    await sign_in(browser, "")
    assert "only-asked-here" not in (await browser.get("/test-mode")).text
