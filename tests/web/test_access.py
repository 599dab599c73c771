"""Who may look: anybody on this machine with the default client, else who signed in, as scoped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from conftest import CLIENT
from fastapi import FastAPI
from support import factories
from support.external_issuer import ExternalIssuer

from case_server.main import create_app
from case_server.settings import Settings
from case_server.web.auth import CSRF, SESSION, local_path

from .conftest import form_token, visitor

Token = Callable[..., Awaitable[str]]

PAGES = (
    "/",
    "/search",
    "/documents/x",
    "/documents/x/children/y",
    "/compare",
    "/compare.csv",
    "/upload",
)


@pytest.mark.parametrize("path", PAGES)
async def test_stranger_is_led_to_the_sign_in(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")
    assert answer.headers["cache-control"] == "private, no-store"


async def test_sign_in_leads_back(stranger: httpx.AsyncClient) -> None:
    wanted = (await stranger.get("/search?q=a%20b")).headers["location"]
    page = await stranger.get(wanted)
    assert 'name="next" value="/search?q=a%20b"' in page.text
    form = {"csrf": await form_token(stranger, wanted), "next": "/search?q=a%20b"}
    form |= {"client_id": CLIENT[0], "client_secret": CLIENT[1]}
    answer = await stranger.post("/sign-in", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/search?q=a%20b"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{SESSION}=")
    assert {"httponly", "samesite=lax"} <= set(cookie.lower().split("; "))
    assert (await stranger.get("/search")).status_code == 200
    out = {"csrf": form["csrf"]}
    assert (await stranger.post("/sign-out", data=out)).status_code == 303
    assert (await stranger.get("/")).status_code == 303


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
def test_sign_in_leads_nowhere_else(wanted: str) -> None:
    assert local_path(wanted) == "/"


async def test_wrong_secret(stranger: httpx.AsyncClient) -> None:
    form = {
        "csrf": await form_token(stranger, "/sign-in"),
        "client_id": CLIENT[0],
        "client_secret": "no",
    }
    answer = await stranger.post("/sign-in", data=form)
    assert answer.status_code == 401
    assert "not the id and secret" in answer.text
    assert SESSION not in stranger.cookies


async def test_cookies_are_for_https_alone_where_there_is_https(
    settings: Settings, clean: None
) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://case.test"}))
    async with app.router.lifespan_context(app), visitor(app, "https://case.test") as browser:
        page = await browser.get("/sign-in")
        assert "secure" in page.headers["set-cookie"].lower()
        assert "samesite=strict" in page.headers["set-cookie"].lower()


async def test_forged_forms_are_refused(browser: httpx.AsyncClient) -> None:
    good = await form_token(browser, "/upload")
    file = {"file": ("a.json", b"{}")}
    for csrf, headers in (
        ("", {}),
        ("made up", {}),
        (good, {"Origin": "https://elsewhere.example"}),
        (good, {"Origin": "null"}),
    ):
        for path in ("/upload/check", "/upload/store"):
            answer = await browser.post(path, data={"csrf": csrf}, files=file, headers=headers)
            assert answer.status_code == 403, (csrf, headers)
        for path in ("/sign-in", "/sign-out"):
            answer = await browser.post(path, data={"csrf": csrf}, headers=headers)
            assert answer.status_code == 403, (csrf, headers)
    browser.cookies.delete(CSRF)
    answer = await browser.post("/upload/check", data={"csrf": good}, files=file)
    assert answer.status_code == 403
    answer = await browser.post("/upload/check", data={"csrf": ""}, files=file)
    assert answer.status_code == 403


async def test_scopes_are_those_of_the_token(stranger: httpx.AsyncClient, token: Token) -> None:
    stranger.cookies.set(SESSION, await token("readonly"))
    page = await stranger.get("/")
    assert page.status_code == 200
    assert "/upload" not in page.text
    assert (await stranger.get("/upload")).status_code == 403
    csrf = await form_token(stranger, "/")
    files = {"file": ("a.json", b"{}")}
    assert (
        await stranger.post("/upload/store", data={"csrf": csrf}, files=files)
    ).status_code == 403
    stranger.cookies.set(SESSION, await token("createput"))
    assert (await stranger.get("/")).status_code == 403
    stranger.cookies.set(SESSION, "not a token")
    assert (await stranger.get("/")).status_code == 303


async def test_this_machine_needs_no_sign_in(local: httpx.AsyncClient) -> None:
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
async def test_name_from_elsewhere_that_leads_here_is_refused(
    local: httpx.AsyncClient, host: str, status: int
) -> None:
    assert (await local.get("/", headers={"Host": host})).status_code == status


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via"])
async def test_who_comes_through_a_proxy_needs_one(local: httpx.AsyncClient, name: str) -> None:
    assert (await local.get("/", headers={name: "somewhere"})).status_code == 303


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
async def test_names_of_this_machine(local: httpx.AsyncClient, host: str) -> None:
    assert (await local.get("/", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("changed", [{"host": "0.0.0.0"}, {"client_id": "another"}])
async def test_open_only_with_the_default_client_on_loopback(
    open_app: FastAPI, clean: None, changed: dict[str, str]
) -> None:
    settings: Settings = open_app.state.app_state.settings
    app = create_app(settings.model_copy(update=changed))
    async with app.router.lifespan_context(app), visitor(app, "http://127.0.0.1:8000") as browser:
        assert (await browser.get("/")).status_code == 303


async def test_tokens_of_another_issuer(
    settings: Settings, external_issuer: ExternalIssuer, clean: None
) -> None:
    app = create_app(settings.model_copy(update={"local_issuer": False}))
    async with app.router.lifespan_context(app), visitor(app) as browser:
        assert 'name="token"' in (await browser.get("/sign-in")).text
        csrf = await form_token(browser, "/sign-in")
        refused = await browser.post("/sign-in", data={"csrf": csrf, "token": "made up"})
        assert refused.status_code == 401
        form = {"csrf": csrf, "token": external_issuer.token()}
        assert (await browser.post("/sign-in", data=form)).status_code == 303
        assert (await browser.get("/")).status_code == 200


async def test_pages_say_nothing_of_frameworks_to_strangers(
    stranger: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    body = factories.package()
    await client.post("/case/1.1/CFPackages", json=body)
    for path in (f"/documents/{body['CFDocument']['identifier']}", "/documents/nobody"):
        answer = await stranger.get(path)
        assert (answer.status_code, answer.text) == (303, "")
