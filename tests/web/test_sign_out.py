"""Signing out revokes the session's token in all processes and across restarts."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.databases import Execute, MigratedDatabase
from support.external_issuer import ExternalIssuer
from support.live_server import run_live_server

from case_server.db import auth_store
from case_server.db.pool import Database
from case_server.settings import Settings
from case_server.web.auth import SESSION_COOKIE

from .conftest import run_for_visitor

DOCUMENTS = "/case/1.1/CFDocuments"


def bearer(token: str | None) -> dict[str, str]:
    assert token
    return {"Authorization": f"Bearer {token}"}


async def sign_out(browser: httpx.AsyncClient) -> None:
    response = await browser.post("/sign-out")
    assert response.status_code == 303


async def test_sign_out_revokes_only_session_token(
    browser: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    token = browser.cookies[SESSION_COOKIE]
    assert (await browser.get(DOCUMENTS, headers=bearer(token))).status_code == 200
    await sign_out(browser)
    assert SESSION_COOKIE not in browser.cookies
    refused = await browser.get(DOCUMENTS, headers=bearer(token))
    assert refused.status_code == 401
    assert "revoked" in refused.json()["imsx_description"]
    browser.cookies.set(SESSION_COOKIE, token)
    assert (await browser.get("/")).status_code == 303
    assert (await client.get(DOCUMENTS)).status_code == 200


async def test_sign_out_reaches_other_processes(
    browser: httpx.AsyncClient, settings: Settings
) -> None:
    token = browser.cookies[SESSION_COOKIE]
    async with run_for_visitor(settings) as elsewhere:
        for _ in range(3):  # so that it is cached there
            assert (await elsewhere.get(DOCUMENTS, headers=bearer(token))).status_code == 200
        await sign_out(browser)
        signed_out = time.monotonic()
        while (await elsewhere.get(DOCUMENTS, headers=bearer(token))).status_code == 200:
            assert time.monotonic() - signed_out < 30
            await asyncio.sleep(0.1)
    async with run_for_visitor(settings) as elsewhere:
        assert (await elsewhere.get(DOCUMENTS, headers=bearer(token))).status_code == 401


@pytest.mark.parametrize("claims", [{"jti": "of-an-issuer"}, {}, {"jti": 7}])
async def test_sign_out_revokes_token_of_trusted_issuer(
    settings: Settings, external_issuer: ExternalIssuer, clean: None, claims: dict[str, Any]
) -> None:
    token = external_issuer.create_token(**claims)
    async with run_for_visitor(settings, local_issuer=False) as browser:
        form = {"token": token}
        assert (await browser.post("/sign-in", data=form)).status_code == 303
        await sign_out(browser)
        assert (await browser.get(DOCUMENTS, headers=bearer(token))).status_code == 401
        different = external_issuer.create_token(sub="another", **claims | {"jti": "another"})
        assert (await browser.get(DOCUMENTS, headers=bearer(different))).status_code == 200


async def test_sign_out_with_invalid_token_stores_nothing(
    browser: httpx.AsyncClient, database: Database
) -> None:
    for token in ("made-up", "a.b.c", ""):
        browser.cookies.set(SESSION_COOKIE, token)
        await sign_out(browser)
    assert await auth_store.list_revoked_token_ids(database) == frozenset()


async def test_expired_revocations_are_deleted(
    browser: httpx.AsyncClient, database: Database, execute: Execute
) -> None:
    await execute("INSERT INTO revoked_tokens VALUES ('old', now() - interval '1 hour')")
    assert await auth_store.list_revoked_token_ids(database) == frozenset()
    await sign_out(browser)
    rows = await execute("SELECT jti FROM revoked_tokens")
    assert len(rows) == 1
    assert rows[0][0] != "old"


@pytest.mark.slow
def test_sign_out_reaches_every_worker(tmp_path: Path, migrated_database: MigratedDatabase) -> None:
    settings = {
        "CASE_SERVER_DATABASE_URL": migrated_database("sign_out"),
        "CASE_CLIENT_SECRET": "not-the-default",
    }
    with (
        run_live_server(tmp_path / "data", "--workers", "2", settings=settings) as server,
        httpx.Client(base_url=server.base_url, headers={"Origin": server.base_url}) as browser,
    ):
        form = {"client_id": "local-client", "client_secret": "not-the-default"}
        browser.post("/sign-in", data=form)
        token = browser.cookies[SESSION_COOKIE]

        def statuses() -> set[int]:
            # Each on a new connection, so that both workers get requests.
            url, headers = f"{server.base_url}{DOCUMENTS}", bearer(token)
            return {httpx.get(url, headers=headers, timeout=60).status_code for _ in range(20)}

        assert statuses() == {200}
        assert browser.post("/sign-out").status_code == 303
        signed_out = time.monotonic()
        while statuses() != {401}:
            assert time.monotonic() - signed_out < 30
