"""The test API rejects requests that browsers send from web pages of other sites."""

from collections.abc import AsyncIterator

import pytest
from anyio import to_thread
from httpx import AsyncClient
from support.applications import run_app
from support.databases import EmptyDatabase
from support.test_mode_client import BASE, TEST_API_TOKEN, NamespaceClient

from case_server.db.postgres import alembic_runner
from case_server.settings import Settings

FOREIGN = "http://evil.test"
PATHS = ("/reset", "/seed", "/keys/rotate?revoke=true", "/snapshots/x", "/tokens", "/faults")
FOREIGN_HEADERS = (
    {"Origin": FOREIGN},
    {"Origin": "null"},
    {"Origin": f"{BASE}.evil.test"},
    {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site"},
    {"Origin": FOREIGN, "Sec-Fetch-Site": "same-site"},
    {"Origin": FOREIGN, "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
)


def authorized(headers: dict[str, str]) -> dict[str, str]:
    return {**headers, "Authorization": f"Bearer {TEST_API_TOKEN}"}


@pytest.mark.parametrize("headers", FOREIGN_HEADERS)
@pytest.mark.parametrize("prefix", ["", "/ns/other"])
async def test_request_from_foreign_page_returns_403(
    namespace: NamespaceClient, other: NamespaceClient, headers: dict[str, str], prefix: str
) -> None:
    await namespace.put_document()
    await other.put_document()
    for path in PATHS:
        for content_type in ("text/plain", "application/json"):
            sent = authorized({**headers, "Content-Type": content_type})
            response = await namespace.http.post(
                f"{prefix}/_test{path}", content="{}", headers=sent
            )
            assert response.status_code == 403, (path, response.text)
    read = await namespace.http.get(f"{prefix}/_test/requests", headers=authorized(headers))
    assert read.status_code == 403
    assert "requests" not in read.json()
    assert (await namespace.total(), await other.total()) == (1, 1)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "Text/Plain; charset=utf-8", "multipart/form-data; boundary=x"]
)
async def test_simple_post_without_origin_returns_415(
    namespace: NamespaceClient, content_type: str
) -> None:
    headers = authorized({"Content-Type": content_type})
    for path in PATHS:
        response = await namespace.http.post(f"/_test{path}", content="{}", headers=headers)
        assert response.status_code == 415
        assert "application/json" in response.json()["imsx_description"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},  # what curl -d sends
        {"Origin": BASE, "Sec-Fetch-Site": "same-origin"},
        {"Origin": BASE, "Content-Type": "text/plain"},
        {"Origin": "http://case.localhost", "Host": "case.localhost"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_request_from_tool_or_own_page_is_accepted(
    namespace: NamespaceClient, headers: dict[str, str]
) -> None:
    response = await namespace.http.post("/_test/reset", headers=authorized(headers))
    assert response.status_code == 200, response.text


@pytest.fixture
async def client_of_open_server(empty_database: EmptyDatabase) -> AsyncIterator[AsyncClient]:
    """A server without a test API token that allows the pages of one origin."""
    url = await empty_database("cross_site")
    await to_thread.run_sync(alembic_runner.migrate, url)
    origins = ("http://app.test", "*")
    settings = Settings(database_url=url, public_url=BASE, test_mode=True, cors_origins=origins)
    async with run_app(settings) as (_, http):
        yield http


async def test_page_in_cors_origins_is_accepted(client_of_open_server: AsyncClient) -> None:
    for origin, status in (("http://app.test", 200), (FOREIGN, 403)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        response = await client_of_open_server.post("/_test/reset", headers=headers)
        assert response.status_code == status, response.text
