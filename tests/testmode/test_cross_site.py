"""The control API and web pages of other sites, which a browser lets send simple requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from anyio import to_thread
from support.test_mode_client import BASE, TEST_API_TOKEN, Suite

from case_server.db.postgres import alembic_runner
from case_server.main import create_app
from case_server.settings import Settings

EVIL = "http://evil.test"
PATHS = ("/reset", "/seed", "/keys/rotate?revoke=true", "/snapshots/x", "/tokens", "/faults")
FROM_ELSEWHERE = (
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": f"{BASE}.evil.test"},
    {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
    {"Origin": EVIL, "Sec-Fetch-Site": "same-site"},
    {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
)


def authorized(headers: dict[str, str]) -> dict[str, str]:
    return {**headers, "Authorization": f"Bearer {TEST_API_TOKEN}"}


@pytest.mark.parametrize("headers", FROM_ELSEWHERE)
@pytest.mark.parametrize("prefix", ["", "/ns/other"])
async def test_page_of_another_site_is_refused(
    suite: Suite, other: Suite, headers: dict[str, str], prefix: str
) -> None:
    await suite.put_document()
    await other.put_document()
    for path in PATHS:
        for content_type in ("text/plain", "application/json"):
            sent = authorized({**headers, "Content-Type": content_type})
            answer = await suite.http.post(f"{prefix}/_test{path}", content="{}", headers=sent)
            assert answer.status_code == 403, (path, answer.text)
    read = await suite.http.get(f"{prefix}/_test/requests", headers=authorized(headers))
    assert read.status_code == 403
    assert "requests" not in read.json()
    assert (await suite.total(), await other.total()) == (1, 1)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "Text/Plain; charset=utf-8", "multipart/form-data; boundary=x"]
)
async def test_simple_post_that_states_no_origin_is_refused(
    suite: Suite, content_type: str
) -> None:
    headers = authorized({"Content-Type": content_type})
    for path in PATHS:
        answer = await suite.http.post(f"/_test{path}", content="{}", headers=headers)
        assert answer.status_code == 415
        assert "application/json" in answer.json()["imsx_description"]


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
async def test_tool_or_own_page_is_not_refused(suite: Suite, headers: dict[str, str]) -> None:
    answer = await suite.http.post("/_test/reset", headers=authorized(headers))
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def open_to_pages(
    empty_database: Callable[[str], Awaitable[str]],
) -> AsyncIterator[httpx.AsyncClient]:
    """A target without a test API token, which some pages may call."""
    url = await empty_database("cross_site")
    await to_thread.run_sync(alembic_runner.migrate, url)
    origins = ("http://app.test", "*")
    app = create_app(
        Settings(database_url=url, public_url=BASE, test_mode=True, cors_origins=origins)
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http,
    ):
        yield http


async def test_page_named_in_cors_origins_may_control(open_to_pages: httpx.AsyncClient) -> None:
    for origin, status in (("http://app.test", 200), (EVIL, 403)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        answer = await open_to_pages.post("/_test/reset", headers=headers)
        assert answer.status_code == status, answer.text
