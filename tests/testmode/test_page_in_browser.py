"""The page /test-mode in Chromium: it updates itself and can be paused."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from support.browser import launch_chromium, new_page, open_page, reuse_page, run_axe
from support.databases import MigratedDatabase
from support.live_server import LiveServer, run_live_server

DOCUMENTS = "/case/1.1/CFDocuments"
FAULT = {"path": "*/CFItems", "status": 503}


@pytest.fixture(scope="module")
def database(migrated_database: MigratedDatabase) -> str:
    """A migrated database, created before Playwright starts an event loop."""
    return migrated_database("browser_test_mode")


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    directory = tmp_path_factory.mktemp("test-mode") / "data"
    settings = {"CASE_SERVER_DATABASE_URL": database}
    with run_live_server(directory, "--test-mode", "--no-access-log", settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(database: str) -> Iterator[Browser]:
    with launch_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared_page(server: LiveServer, chromium: Browser) -> Iterator[Page]:
    with new_page(chromium, server.base_url) as page:
        yield page


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    """A client of the server, whose request log and faults are empty."""
    with server.client() as client:
        client.delete("/_test/requests").raise_for_status()
        client.delete("/_test/faults").raise_for_status()
        yield client


def test_page_updates_until_paused(
    shared_page: Page, server: LiveServer, client: httpx.Client
) -> None:
    with reuse_page(shared_page, server.base_url) as page:
        page.goto("/")
        page.get_by_role("navigation").get_by_role("link", name="Test mode").click()
        live = page.locator("#live")
        expect(live).to_contain_text("No faults are set")
        client.get(DOCUMENTS)
        client.put("/_test/faults", json=[FAULT]).raise_for_status()
        expect(live).to_contain_text(f"GET {DOCUMENTS}")
        expect(live.get_by_role("region", name="Faults")).to_contain_text("status 503")
        button = page.get_by_role("button", name="Pause")
        button.click()
        client.get(f"{DOCUMENTS}?limit=7")
        page.wait_for_timeout(2500)
        expect(live).not_to_contain_text("limit=7")
        page.get_by_role("button", name="Resume").click()
        expect(live).to_contain_text("limit=7")


def test_update_keeps_focus(shared_page: Page, server: LiveServer, client: httpx.Client) -> None:
    client.get(DOCUMENTS)
    with reuse_page(shared_page, server.base_url) as page:
        page.goto("/test-mode")
        requests = page.get_by_role("region", name="Requests")
        requests.focus()
        client.get(f"{DOCUMENTS}?limit=8")
        expect(requests).to_contain_text("limit=8")
        expect(requests).to_be_focused()


def test_axe_reports_no_violations(
    shared_page: Page, server: LiveServer, client: httpx.Client
) -> None:
    client.get(DOCUMENTS)
    client.put("/_test/faults", json=[FAULT]).raise_for_status()
    size: ViewportSize = {"width": 390, "height": 844}
    with reuse_page(shared_page, server.base_url, size) as page:
        page.goto("/test-mode")
        for color_scheme in ("light", "dark"):
            page.emulate_media(color_scheme=color_scheme)
            result = run_axe(page)
            assert result.violations_count == 0, result.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_page_is_readable_without_javascript(
    chromium: Browser, server: LiveServer, client: httpx.Client
) -> None:
    client.get(DOCUMENTS)
    with open_page(chromium, server.base_url, java_script_enabled=False) as page:
        page.goto("/test-mode")
        expect(page.locator("#live")).to_contain_text(f"GET {DOCUMENTS}")
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
