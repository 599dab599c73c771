"""Namespaces: suites side by side on one server, none of which sees another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from support.test_mode_client import BASE, DOCUMENTS, TEST_API_TOKEN, Suite, client_of, settled

from case_server.api.profiles import PROFILES, Profile
from case_server.db.pool import dsn
from case_server.testmode import namespaces
from case_server.testmode.faults import Faults


async def test_data_faults_and_journal_are_their_own(suite: Suite, other: Suite) -> None:
    body = await suite.put_document()
    await other.put_document()
    await other.put_document()
    assert (await suite.total(), await other.total()) == (1, 2)
    path = f"{DOCUMENTS}/{body['identifier']}"
    assert (await other.call("GET", path)).status_code == 404
    await other.control("PUT", "/faults", body=[{"status": 503}])
    assert (await other.call("GET", DOCUMENTS)).status_code == 503
    assert await suite.total() == 1
    assert {one["path"] for one in await other.control("GET", "/requests")} >= {path}
    assert await suite.control("GET", "/requests?status=503") == []
    await suite.control("POST", "/reset")
    await other.control("DELETE", "/faults", 204)
    assert (await suite.total(), await other.total()) == (0, 2)


async def test_tokens_and_keys_are_their_own(suite: Suite, other: Suite) -> None:
    assert await suite.total() == await other.total() == 0
    own = {"Authorization": suite.http.headers["Authorization"]}
    refused = await other.call("GET", DOCUMENTS, headers=own)
    assert refused.status_code == 401
    assert "does not trust its issuer" in refused.json()["imsx_description"]
    await other.control("POST", "/keys/rotate?revoke=true", 201)
    assert (await other.call("GET", DOCUMENTS)).status_code == 401
    assert await suite.total() == 0


async def test_snapshots_and_seeds_are_their_own(suite: Suite, other: Suite) -> None:
    await other.control("POST", "/seed", body={"sample": True})
    await other.control("POST", "/snapshots/mine", 201)
    assert (await suite.total(), await other.total()) == (0, 1)
    assert await suite.control("GET", "/snapshots") == []
    await other.control("POST", "/reset")
    await suite.control("POST", "/reset")
    assert (await suite.total(), await other.total()) == (0, 1)


async def test_addresses_carry_the_prefix(suite: Suite, other: Suite) -> None:
    assert other.prefix == "/ns/other"
    base = f"{BASE}/ns/other"
    await other.put_document()
    await other.put_document()
    configuration = (await other.call("GET", "/.well-known/openid-configuration")).json()
    assert configuration["issuer"] == base
    assert configuration["token_endpoint"] == f"{base}/oauth2/token"
    assert (await other.http.get(configuration["jwks_uri"])).json()["keys"]
    page = await other.call("GET", f"{DOCUMENTS}?limit=1")
    following = page.links["next"]["url"]
    assert (await other.http.get(httpx.URL(base).join(following))).json()["total"] == 2
    listed = (await other.call("GET", "/ims/case/v1p1/CFDocuments")).json()["CFDocuments"]
    assert all(one["uri"].startswith(f"{base}/ims/case/v1p1/CFDocuments/") for one in listed)
    assert (await other.http.get(listed[0]["uri"])).status_code == 200
    for profile in PROFILES:
        document = await other.call("GET", profile.prefix + profile.document)
        if document.status_code == 200:
            assert document.json()["servers"][0]["url"].startswith(base)


async def test_header_leads_there_too(testmode_app: FastAPI, other: Suite) -> None:
    await other.put_document()
    async with client_of(testmode_app) as http:
        http.headers["X-CASE-Namespace"] = "other"
        by_header = Suite(http)
        await by_header.login()
        assert await by_header.total() == 1
        assert (await by_header.control("GET", ""))["namespace"] == "other"
        contrary = await by_header.call("GET", f"/ns/another{DOCUMENTS}")
        assert contrary.status_code == 400
        assert "'another'" in contrary.json()["imsx_description"]


async def test_created_on_first_use_seeded_as_the_server_is(
    suite: Suite, testmode_app: FastAPI
) -> None:
    await suite.control("POST", "/seed", body={"sample": True})
    async with client_of(testmode_app) as http:
        fresh = Suite(http, "/ns/fresh")
        await fresh.control("GET", "")
        await fresh.login()
        assert await fresh.total() == 1
    names = [one["namespace"] for one in await suite.control("GET", "/namespaces")]
    assert names == ["default", "fresh"]
    await suite.control("DELETE", "/namespaces/fresh", 204)
    names = [one["namespace"] for one in await suite.control("GET", "/namespaces")]
    assert names == ["default"]


async def test_dropping_leaves_no_database(
    suite: Suite, testmode_app: FastAPI, copies: Callable[[], Awaitable[set[str]]]
) -> None:
    before = await settled(testmode_app, copies)
    async with client_of(testmode_app) as http:
        brief = Suite(http, "/ns/brief")
        await brief.control("GET", "")
        await brief.login()
        await brief.control("POST", "/seed", body={"sample": True})
        await brief.control("POST", "/snapshots/one", 201)
        await brief.put_document()
    assert len(await settled(testmode_app, copies)) >= len(before) + 3
    await suite.control("DELETE", "/namespaces/brief", 204)
    # The template without entities stays, for whoever seeds next.
    assert len(await settled(testmode_app, copies)) <= len(before) + 1


async def test_many_at_once(suite: Suite, testmode_app: FastAPI) -> None:
    async def work(name: str) -> int:
        async with client_of(testmode_app) as http:
            own = Suite(http, f"/ns/{name}")
            await asyncio.gather(own.control("GET", ""), own.control("GET", ""))
            await asyncio.gather(own.login(), own.login())
            await asyncio.gather(*(own.put_document() for _ in range(3)))
            return await own.total()

    names = [f"w{number}" for number in range(4)]
    assert await asyncio.gather(*map(work, names)) == [3] * 4
    for name in names:
        await suite.control("DELETE", f"/namespaces/{name}", 204)


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "x" * 41, "%2e%2e"])
async def test_name_that_is_none(suite: Suite, name: str) -> None:
    headers = {"Authorization": f"Bearer {TEST_API_TOKEN}"}
    answer = await suite.http.get(f"/ns/{name}/_test", headers=headers)
    assert answer.status_code == 400, answer.text
    assert "a-z, 0-9 and -" in answer.json()["imsx_description"]


async def test_what_cannot_be_dropped(suite: Suite) -> None:
    await suite.control("DELETE", "/namespaces/default", 409)
    await suite.control("DELETE", "/namespaces/nobody", 404)


async def test_there_are_only_so_many(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "MAX_NAMESPACES", 1)
    headers = {"Authorization": f"Bearer {TEST_API_TOKEN}"}
    answer = await suite.http.get("/ns/one-more/_test", headers=headers)
    assert answer.status_code == 409
    assert "DELETE /_test/namespaces" in answer.json()["imsx_description"]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
async def test_errors_under_a_namespace_have_the_shape_of_the_profile(
    suite: Suite, other: Suite, monkeypatch: pytest.MonkeyPatch, profile: Profile
) -> None:
    """What nobody caught, an injected fault, an unknown route, and a name that contradicts."""

    def check(answer: httpx.Response, status: int) -> None:
        assert answer.status_code == status, answer.text
        body = answer.json()
        names = {name for name in body if name.lower() == "imsx_codeminor"}
        assert names == set(profile.code_minor_names)
        assert ("imsx_error_details" in body) == profile.error_details

    path = f"{profile.prefix}/CFDocuments"
    check(await other.call("GET", f"{profile.prefix}/nothing"), 404)
    contrary = await other.call("GET", path, headers={"X-CASE-Namespace": "another"})
    check(contrary, 400)
    await other.control("PUT", "/faults", body=[{"status": 503, "path": path}])
    check(await other.call("GET", path), 503)
    await other.control("DELETE", "/faults", 204)

    def fail(*_: object) -> None:
        raise RuntimeError("not caught by anybody")

    monkeypatch.setattr(Faults, "choose", fail)
    for one in (suite, other):
        check(await one.call("GET", path), 500)


async def test_dropping_does_not_wait_for_postgres(
    suite: Suite,
    testmode_app: FastAPI,
    postgres: str,
    copies: Callable[[], Awaitable[set[str]]],
) -> None:
    before = await settled(testmode_app, copies)
    async with client_of(testmode_app) as http:
        brief = Suite(http, "/ns/brief")
        await brief.control("GET", "")
        (made,) = await copies() - before
        holder = await asyncpg.connect(dsn(postgres))
        try:
            async with holder.transaction():
                # DROP DATABASE waits for this lock.
                await holder.execute(f'COMMENT ON DATABASE "{made}" IS NULL')
                dropping = suite.control("DELETE", "/namespaces/brief", 204)
                await asyncio.wait_for(dropping, 60)
                assert made in await copies()
                await brief.control("GET", "")  # a new one of the same name
                await suite.control("DELETE", "/namespaces/brief", 204)
        finally:
            await holder.close()
    assert await settled(testmode_app, copies) == before


@pytest.mark.parametrize("way", ["path", "header"])
async def test_only_holders_of_the_test_api_token_create_namespaces(suite: Suite, way: str) -> None:
    prefix = "/ns/unmade" if way == "path" else ""
    headers = {"X-CASE-Namespace": "unmade"} if way == "header" else {}
    form = {"grant_type": "client_credentials"}
    pair = ("local-client", "local-secret")
    for answer in (
        await suite.http.get(f"{prefix}{DOCUMENTS}", headers=headers),
        await suite.http.post(f"{prefix}/oauth2/token", data=form, auth=pair, headers=headers),
        await suite.http.get(f"{prefix}/docs", headers=headers),
        await suite.http.get(f"{prefix}/health", headers=headers),
    ):
        assert answer.status_code == 404, answer.text
        assert "create it with GET /ns/unmade/_test" in answer.json()["imsx_description"]
    wrong = {**headers, "Authorization": "Bearer wrong"}
    assert (await suite.http.get(f"{prefix}/_test", headers=wrong)).status_code == 401
    names = [one["namespace"] for one in await suite.control("GET", "/namespaces")]
    assert names == ["default"]
    right = {**headers, "Authorization": f"Bearer {TEST_API_TOKEN}"}
    assert (await suite.http.get(f"{prefix}/_test", headers=right)).status_code == 200
    assert (await suite.http.get(f"{prefix}/health", headers=headers)).status_code == 200
    await suite.control("DELETE", "/namespaces/unmade", 204)
