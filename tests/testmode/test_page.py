"""The page /test-mode: faults and requests of a namespace, and who may see it."""

import re
from collections.abc import AsyncIterator
from html import unescape

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from support.applications import create_client
from support.test_mode_client import DOCUMENTS, TEST_API_TOKEN, NamespaceClient

LOCAL = "http://127.0.0.1"


@pytest.fixture
async def browser(testmode_app: FastAPI, namespace: NamespaceClient) -> AsyncIterator[AsyncClient]:
    """A browser on this machine, which needs no sign-in."""
    async with create_client(testmode_app, LOCAL) as client:
        yield client


def rows(page: Response, label: str) -> list[list[str]]:
    """Return the text of the cells of a table."""
    assert page.status_code == 200, page.text
    table = re.search(rf'aria-label="{label}"><table.*?<tbody>(.*?)</tbody>', page.text, re.DOTALL)
    if not table:
        return []
    matches = re.findall(r"<tr>(.*?)</tr>", table[1], re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", row)] for row in matches]


async def test_page_lists_requests(browser: AsyncClient, namespace: NamespaceClient) -> None:
    document = await namespace.put_document()
    await namespace.call("GET", f"{DOCUMENTS}?limit=1&filter=title<'<script>'")
    newest, before = rows(await browser.get("/test-mode"), "Requests")[:2]
    assert before[1:4] == [f"PUT {DOCUMENTS}/{document['identifier']}", "201", "local-client"]
    assert newest[1].startswith(f"GET {DOCUMENTS}?limit=1&filter=")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", newest[0])
    assert float(newest[4]) > 0


async def test_page_lists_faults(browser: AsyncClient, namespace: NamespaceClient) -> None:
    assert rows(await browser.get("/test-mode"), "Faults") == []
    faults = [{"path": DOCUMENTS, "times": 1, "status": 503}, {"delay": 0.01}]
    await namespace.test_api("PUT", "/faults", body=faults)
    assert (await namespace.call("GET", DOCUMENTS)).status_code == 503
    page = await browser.get("/test-mode")
    assert rows(page, "Faults") == [
        [f"path {DOCUMENTS}, times 1", "status 503", "1", "1"],
        ["every request", "delay 0.01", "1", "0"],
    ]
    assert rows(page, "Requests")[0][2:] == ["503", "local-client", *rows(page, "Requests")[0][4:]]
    assert rows(page, "Requests")[0][5] == "status 503"
    await namespace.test_api("DELETE", "/faults", 204)
    assert rows(await browser.get("/test-mode"), "Faults") == []


async def test_page_escapes_paths(browser: AsyncClient, namespace: NamespaceClient) -> None:
    await namespace.call("GET", "/<script>alert(1)</script>")
    page = await browser.get("/test-mode")
    assert "<script>alert" not in page.text
    assert rows(page, "Requests")[0][1] == "GET /<script>alert(1)</script>"


async def test_page_requests_are_not_logged_and_have_no_faults(
    browser: AsyncClient, namespace: NamespaceClient
) -> None:
    await namespace.test_api("PUT", "/faults", body=[{"path": "*", "status": 500}])
    for path in (
        "/test-mode",
        "/test-mode/",
        "/test-mode?namespace=default",
        "/static/test-mode.js",
    ):
        assert (await browser.get(path)).status_code == 200, path
    assert await namespace.test_api("GET", "/requests") == []
    assert (await browser.get("/")).status_code == 500


async def test_fragment_contains_only_changing_part(browser: AsyncClient) -> None:
    page = await browser.get("/test-mode")
    script = re.search(r'src="(/static/test-mode\.js\?v=\w+)"', page.text)
    assert script
    assert 'id="live"' in page.text
    source = (await browser.get(script[1])).text
    assert "2000" in source
    part = (await browser.get("/test-mode", headers={"X-Fragment": "1"})).text
    assert "<html" not in part
    assert 'id="live"' not in part
    assert part.strip() in page.text


async def test_page_shows_selected_namespace(
    browser: AsyncClient, namespace: NamespaceClient, other: NamespaceClient
) -> None:
    document = await other.put_document()
    seen = str(rows(await browser.get("/test-mode?namespace=other"), "Requests"))
    assert document["identifier"] in seen
    page = await browser.get("/test-mode")
    assert document["identifier"] not in page.text
    assert 'href="/test-mode?namespace=other"' in page.text
    unknown = await browser.get("/test-mode?namespace=unknown")
    assert unknown.status_code == 404
    assert "choose from default, other" in unknown.text
    assert len(await namespace.test_api("GET", "/namespaces")) == 2


async def test_page_requires_read_scope(namespace: NamespaceClient) -> None:
    """Requested with another host name than a loopback one, it requires a sign-in."""
    for headers in ({}, {"Authorization": f"Bearer {TEST_API_TOKEN}"}):
        response = await namespace.http.get("/test-mode", headers=headers)
        assert response.status_code == 303
        assert response.headers["Location"] == "/sign-in?next=%2Ftest-mode"


async def test_link_to_page_appears_only_in_test_mode(browser: AsyncClient, app: FastAPI) -> None:
    assert 'href="/test-mode"' in (await browser.get("/")).text
    async with create_client(app, LOCAL) as plain:
        page = await plain.get("/sign-in")
        assert page.status_code == 200
        assert 'href="/test-mode"' not in page.text
        assert (await plain.get("/test-mode")).status_code == 404
