"""Error responses as imsx_StatusInfo, request IDs, health and readiness."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from support.applications import authorize, run_app
from support.databases import MigratedDatabase

from case_server.api.profiles import PROFILES, ApiProfile
from case_server.db.connector import connect
from case_server.db.pool import Database
from case_server.db.schema import version
from case_server.settings import Settings


def assert_status_info(response: Response, profile: ApiProfile) -> None:
    """Check that a response is an imsx_StatusInfo with the field names of the profile."""
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert (body["imsx_codeMajor"], body["imsx_severity"]) == ("failure", "error")
    assert body["imsx_description"]
    for name in profile.code_minor_names:
        (field,) = body[name]["imsx_codeMinorField"]
        assert field.keys() == {"imsx_codeMinorFieldName", "imsx_codeMinorFieldValue"}
    details = {"imsx_error_details"} if profile.error_details else set()
    common = {"imsx_codeMajor", "imsx_severity", "imsx_description"}
    assert body.keys() == common | details | set(profile.code_minor_names)


@pytest.mark.parametrize("path", ["/CFNothing", "/CFItems/a/b", "", "/cfitems/x"])
async def test_unknown_path_in_a_profile_returns_404(
    client: AsyncClient, profile: ApiProfile, path: str
) -> None:
    response = await client.get(profile.prefix + path)
    assert response.status_code == 404
    assert_status_info(response, profile)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/CFItems/x"),
        ("POST", "/CFDocuments"),
        ("PATCH", "/CFPackages/x"),
        ("PUT", "/CFSubjects/x"),
    ],
)
async def test_wrong_method_returns_405(
    client: AsyncClient, profile: ApiProfile, method: str, path: str
) -> None:
    response = await client.request(method, profile.prefix + path)
    assert response.status_code == 405
    assert response.headers["Allow"]
    assert_status_info(response, profile)


async def test_errors_of_any_kind_are_status_info(client: AsyncClient, profile: ApiProfile) -> None:
    path = f"{profile.prefix}/CFItems"
    responses = [
        await client.get(path, params={"limit": "x"}),
        await client.get(f"{path}/unknown"),
        await client.put(f"{path}/x", content=b"{"),
        await client.put(f"{path}/x", json={}),
        await client.get(path, headers={"Authorization": "Bearer nonsense"}),
    ]
    assert [response.status_code for response in responses] == [400, 404, 400, 422, 401]
    for response in responses:
        assert_status_info(response, profile)


async def test_valid_request_id_is_returned(anonymous: AsyncClient, profile: ApiProfile) -> None:
    for path in ("/health", f"{profile.prefix}/CFItems", "/nothing"):
        response = await anonymous.get(path, headers={"X-Request-ID": "abc-123"})
        assert response.headers["X-Request-ID"] == "abc-123"


@pytest.mark.parametrize("bad", [None, "with space", "x" * 129, "ünïcode"])
async def test_missing_or_invalid_id_is_replaced(anonymous: AsyncClient, bad: str | None) -> None:
    headers = [(b"X-Request-ID", bad.encode())] if bad else []
    ids = {
        (await anonymous.get("/health", headers=headers)).headers["X-Request-ID"] for _ in range(2)
    }
    assert len(ids) == 2
    assert all(len(request_id) == 32 for request_id in ids)


async def test_unhandled_exception_is_logged_and_returns_500_without_details(
    app: FastAPI,
    client: AsyncClient,
    profile: ApiProfile,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(Database, "run_heavy_read", broken)
    response = await client.get(f"{profile.prefix}/CFItems", headers={"X-Request-ID": "find-me"})
    assert response.status_code == 500
    assert_status_info(response, profile)
    assert "the secret reason" not in response.text
    assert "find-me" in caplog.text
    assert "the secret reason" in caplog.text


async def test_unavailable_database_returns_503(
    migrated_database: MigratedDatabase, settings: Settings, profile: ApiProfile
) -> None:
    """Requests and /ready return 503, /health 200, until the database is back."""
    url = await asyncio.to_thread(migrated_database, "away")
    async with run_app(settings.model_copy(update={"database_url": url})) as (_, client):
        await authorize(client, (settings.client_id, settings.client_secret.get_secret_value()))
        path = f"{profile.prefix}/CFItems/x"
        assert (await client.get(path)).status_code == 404
        server = await connect(settings.database_url)
        name = url.rsplit("/", 1)[1]
        try:
            await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            for target in (path, "/ready"):
                response = await client.get(target)
                assert response.status_code == 503
                assert response.headers["Retry-After"]
                assert_status_info(response, profile if target == path else PROFILES[0])
            assert (await client.get("/health")).status_code == 200
            await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            assert (await client.get("/ready")).status_code == 200
            assert (await client.get(path)).status_code == 404
        finally:
            await server.close()


async def test_ready_returns_503_while_the_schema_is_outdated(
    anonymous: AsyncClient, execute: Callable[..., Awaitable[object]]
) -> None:
    await execute("UPDATE alembic_version SET version_num = 'older'")
    try:
        response = await anonymous.get("/ready")
        assert response.status_code == 503
        assert "case-server migrate" in response.json()["imsx_description"]
    finally:
        await execute(
            "UPDATE alembic_version SET version_num = $1", version.get_required_schema_version()
        )
