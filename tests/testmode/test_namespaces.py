"""Namespaces isolate data, keys, faults, request logs and caches."""

import asyncio
from typing import NoReturn

import httpx
import pytest
from fastapi import FastAPI
from support.applications import create_client
from support.databases import open_connection
from support.test_mode_client import (
    BASE,
    DOCUMENTS,
    TEST_API_TOKEN,
    ListDatabases,
    NamespaceClient,
    list_idle_clones,
    open_namespace,
)

from case_server.api.profiles import PROFILES, ApiProfile
from case_server.exceptions import ServiceUnavailable
from case_server.testmode import middleware, namespaces


async def test_namespaces_separate_data_faults_and_request_logs(
    namespace: NamespaceClient, other: NamespaceClient
) -> None:
    body = await namespace.put_document()
    await other.put_document()
    await other.put_document()
    assert (await namespace.total(), await other.total()) == (1, 2)
    path = f"{DOCUMENTS}/{body['identifier']}"
    assert (await other.call("GET", path)).status_code == 404
    await other.test_api("PUT", "/faults", body=[{"status": 503}])
    assert (await other.call("GET", DOCUMENTS)).status_code == 503
    assert await namespace.total() == 1
    assert {entry["path"] for entry in await other.test_api("GET", "/requests")} >= {path}
    assert await namespace.test_api("GET", "/requests?status=503") == []
    await namespace.test_api("POST", "/reset")
    await other.test_api("DELETE", "/faults", 204)
    assert (await namespace.total(), await other.total()) == (0, 2)


async def test_namespaces_separate_tokens_and_keys(
    namespace: NamespaceClient, other: NamespaceClient
) -> None:
    assert await namespace.total() == await other.total() == 0
    own = {"Authorization": namespace.http.headers["Authorization"]}
    refused = await other.call("GET", DOCUMENTS, headers=own)
    assert refused.status_code == 401
    assert "does not trust its issuer" in refused.json()["imsx_description"]
    await other.test_api("POST", "/keys/rotate?revoke=true", 201)
    assert (await other.call("GET", DOCUMENTS)).status_code == 401
    assert await namespace.total() == 0


async def test_namespaces_separate_snapshots_and_seeds(
    namespace: NamespaceClient, other: NamespaceClient
) -> None:
    await other.test_api("POST", "/seed", body={"sample": True})
    await other.test_api("POST", "/snapshots/mine", 201)
    assert (await namespace.total(), await other.total()) == (0, 1)
    assert await namespace.test_api("GET", "/snapshots") == []
    await other.test_api("POST", "/reset")
    await namespace.test_api("POST", "/reset")
    assert (await namespace.total(), await other.total()) == (0, 1)


async def test_urls_contain_namespace(namespace: NamespaceClient, other: NamespaceClient) -> None:
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
    assert all(
        document["uri"].startswith(f"{base}/ims/case/v1p1/CFDocuments/") for document in listed
    )
    assert (await other.http.get(listed[0]["uri"])).status_code == 200
    for profile in PROFILES:
        document = await other.call("GET", profile.prefix + profile.document)
        if document.status_code == 200:
            assert document.json()["servers"][0]["url"].startswith(base)


async def test_header_selects_namespace(testmode_app: FastAPI, other: NamespaceClient) -> None:
    await other.put_document()
    async with create_client(testmode_app) as http:
        http.headers["X-CASE-Namespace"] = "other"
        by_header = NamespaceClient(http)
        await by_header.login()
        assert await by_header.total() == 1
        assert (await by_header.test_api("GET", ""))["namespace"] == "other"
        contrary = await by_header.call("GET", f"/ns/another{DOCUMENTS}")
        assert contrary.status_code == 400
        assert "'another'" in contrary.json()["imsx_description"]


async def test_new_namespace_has_seed(namespace: NamespaceClient, testmode_app: FastAPI) -> None:
    await namespace.test_api("POST", "/seed", body={"sample": True})
    async with open_namespace(testmode_app, "fresh") as fresh:
        await fresh.login()
        assert await fresh.total() == 1
    assert await namespace.list_namespaces() == ["default", "fresh"]
    await namespace.test_api("DELETE", "/namespaces/fresh", 204)
    assert await namespace.list_namespaces() == ["default"]


async def test_unused_seed_is_kept_while_a_namespace_is_created(
    namespace: NamespaceClient, testmode_app: FastAPI, clones: ListDatabases
) -> None:
    await namespace.test_api("POST", "/seed", body={"sample": True})
    registry = testmode_app.state.namespaces
    empty = await registry._get_empty_database()
    unused = await registry.by_name["default"].replace_seed(empty, [])
    async with registry._create_lock:  # as while a namespace is created
        drop = asyncio.create_task(registry._drop_unused_seed(unused))
        await asyncio.sleep(0.1)
        await registry._cloner.wait_for_drops()
        assert unused in await clones()
    await drop
    await registry._cloner.wait_for_drops()
    assert unused not in await clones()


async def test_drop_removes_databases(
    namespace: NamespaceClient, testmode_app: FastAPI, clones: ListDatabases
) -> None:
    before = await list_idle_clones(testmode_app, clones)
    async with open_namespace(testmode_app, "brief") as brief:
        await brief.login()
        await brief.test_api("POST", "/seed", body={"sample": True})
        await brief.test_api("POST", "/snapshots/one", 201)
        await brief.put_document()
    assert len(await list_idle_clones(testmode_app, clones)) >= len(before) + 3
    await namespace.test_api("DELETE", "/namespaces/brief", 204)
    # The empty template remains for the next seed.
    assert len(await list_idle_clones(testmode_app, clones)) <= len(before) + 1


async def test_concurrent_clients_of_own_namespaces_see_only_own_data(
    namespace: NamespaceClient, testmode_app: FastAPI
) -> None:
    async def work(name: str) -> int:
        async with create_client(testmode_app) as http:
            own = NamespaceClient(http, f"/ns/{name}")
            await asyncio.gather(own.test_api("GET", ""), own.test_api("GET", ""))
            await asyncio.gather(own.login(), own.login())
            await asyncio.gather(*(own.put_document() for _ in range(3)))
            return await own.total()

    names = [f"w{number}" for number in range(4)]
    assert await asyncio.gather(*map(work, names)) == [3] * 4
    for name in names:
        await namespace.test_api("DELETE", f"/namespaces/{name}", 204)


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "x" * 41, "%2e%2e"])
async def test_invalid_namespace_name_returns_400(namespace: NamespaceClient, name: str) -> None:
    headers = {"Authorization": f"Bearer {TEST_API_TOKEN}"}
    response = await namespace.http.get(f"/ns/{name}/_test", headers=headers)
    assert response.status_code == 400, response.text
    assert "a-z, 0-9 and -" in response.json()["imsx_description"]


async def test_drop_of_default_or_unknown_namespace_fails(namespace: NamespaceClient) -> None:
    await namespace.test_api("DELETE", "/namespaces/default", 409)
    unknown = await namespace.test_api("DELETE", "/namespaces/unknown", 404)
    assert "choose from default" in unknown["imsx_description"]


async def test_namespace_limit_returns_409(
    namespace: NamespaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "MAX_NAMESPACES", 1)
    headers = {"Authorization": f"Bearer {TEST_API_TOKEN}"}
    response = await namespace.http.get("/ns/one-more/_test", headers=headers)
    assert response.status_code == 409
    assert "DELETE /_test/namespaces" in response.json()["imsx_description"]


async def test_namespace_that_cannot_be_created_leaves_no_database(
    namespace: NamespaceClient,
    testmode_app: FastAPI,
    clones: ListDatabases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise ServiceUnavailable("no state")

    before = await list_idle_clones(testmode_app, clones)
    monkeypatch.setattr(namespaces, "open_app_state", fail)
    headers = {"Authorization": f"Bearer {TEST_API_TOKEN}"}
    response = await namespace.http.get("/ns/failing/_test", headers=headers)
    assert response.status_code == 503
    assert await list_idle_clones(testmode_app, clones) == before


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
async def test_errors_in_namespace_have_form_of_profile(
    namespace: NamespaceClient,
    other: NamespaceClient,
    monkeypatch: pytest.MonkeyPatch,
    profile: ApiProfile,
) -> None:
    """An unhandled exception, a fault, an unknown route and contradicting namespace names."""

    def check(response: httpx.Response, status: int) -> None:
        assert response.status_code == status, response.text
        body = response.json()
        names = {name for name in body if name.lower() == "imsx_codeminor"}
        assert names == set(profile.code_minor_names)
        assert ("imsx_error_details" in body) == profile.error_details

    path = f"{profile.prefix}/CFDocuments"
    check(await other.call("GET", f"{profile.prefix}/nothing"), 404)
    contrary = await other.call("GET", path, headers={"X-CASE-Namespace": "another"})
    check(contrary, 400)
    await other.test_api("PUT", "/faults", body=[{"status": 503, "path": path}])
    check(await other.call("GET", path), 503)
    await other.test_api("DELETE", "/faults", 204)

    def fail(*_: object) -> None:
        raise RuntimeError("an unhandled error")

    monkeypatch.setattr(middleware, "count_and_choose_fault", fail)
    for client in (namespace, other):
        check(await client.call("GET", path), 500)


async def test_drop_does_not_wait_for_postgres(
    namespace: NamespaceClient, testmode_app: FastAPI, postgres: str, clones: ListDatabases
) -> None:
    before = await list_idle_clones(testmode_app, clones)
    async with open_namespace(testmode_app, "brief") as brief:
        (new_clone,) = await clones() - before
        async with open_connection(postgres) as holder, holder.transaction():
            # DROP DATABASE waits for this lock.
            await holder.execute(f'COMMENT ON DATABASE "{new_clone}" IS NULL')
            dropping = namespace.test_api("DELETE", "/namespaces/brief", 204)
            await asyncio.wait_for(dropping, 60)
            assert new_clone in await clones()
            await brief.test_api("GET", "")  # creates a new one of the same name
            await namespace.test_api("DELETE", "/namespaces/brief", 204)
    assert await list_idle_clones(testmode_app, clones) == before


@pytest.mark.parametrize("way", ["path", "header"])
async def test_new_namespace_requires_test_api_token(namespace: NamespaceClient, way: str) -> None:
    prefix = "/ns/unmade" if way == "path" else ""
    headers = {"X-CASE-Namespace": "unmade"} if way == "header" else {}
    form = {"grant_type": "client_credentials"}
    pair = ("local-client", "local-secret")
    for response in (
        await namespace.http.get(f"{prefix}{DOCUMENTS}", headers=headers),
        await namespace.http.post(f"{prefix}/oauth2/token", data=form, auth=pair, headers=headers),
        await namespace.http.get(f"{prefix}/docs", headers=headers),
        await namespace.http.get(f"{prefix}/health", headers=headers),
    ):
        assert response.status_code == 404, response.text
        assert "create it with GET /ns/unmade/_test" in response.json()["imsx_description"]
    wrong_headers = {**headers, "Authorization": "Bearer wrong"}
    assert (await namespace.http.get(f"{prefix}/_test", headers=wrong_headers)).status_code == 401
    assert await namespace.list_namespaces() == ["default"]
    right = {**headers, "Authorization": f"Bearer {TEST_API_TOKEN}"}
    assert (await namespace.http.get(f"{prefix}/_test", headers=right)).status_code == 200
    assert (await namespace.http.get(f"{prefix}/health", headers=headers)).status_code == 200
    await namespace.test_api("DELETE", "/namespaces/unmade", 204)
