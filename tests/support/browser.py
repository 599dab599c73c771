"""Chromium, controlled by Playwright, and checks that apply to every page."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import (
    Browser,
    Page,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DEFAULT_VIEWPORT: ViewportSize = {"width": 1280, "height": 720}
TIMEOUT_MS = 30_000
"""Maximum wait for an element, long enough for two busy cores."""

# The first two are for root in a container; a GPU that is emulated takes 5 of 88 CPU seconds.
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


def find_chromium() -> str:
    """Return the path of Chromium; if it is missing, skip the test, or fail it in CI."""
    path = next((path for name in EXECUTABLES if (path := shutil.which(name))), None)
    if path is None:
        message = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@contextmanager
def launch_chromium() -> Iterator[Browser]:
    """Run headless Chromium for the duration of a block and yield it."""
    path = find_chromium()
    playwright: Playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


class PageMonitor:
    """Records a page's console messages, script errors and requests to other hosts."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.host = urlsplit(base_url).netloc
        self.problems: list[str] = []
        self.listeners: dict[Any, Callable[[Any], None]] = {
            "console": self._console,
            "pageerror": lambda error: self.problems.append(f"error: {error}"),
            "request": self._request,
        }
        for event, listener in self.listeners.items():
            page.on(event, listener)

    def stop(self) -> None:
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.netloc != self.host:
            self.problems.append(f"request: {request.url}")


@contextmanager
def new_page(browser: Browser, base_url: str, **options: Any) -> Iterator[Page]:
    """Open a page in a browser context of its own for the duration of a block."""
    context = browser.new_context(base_url=base_url, **options)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=TIMEOUT_MS)
    yield page
    context.close()


@contextmanager
def open_page(browser: Browser, base_url: str, **options: Any) -> Iterator[Page]:
    """Open a new page in the browser for the duration of a block.

    Fails at the end if the page logged to the console, had a script error or contacted another
    host.
    """
    with new_page(browser, base_url, **options) as page:
        monitor = PageMonitor(page, base_url)
        yield page
    assert not monitor.problems, monitor.problems


@contextmanager
def reuse_page(
    page: Page,
    base_url: str,
    viewport: ViewportSize = DEFAULT_VIEWPORT,
    color_scheme: Literal["dark", "light"] = "light",
) -> Iterator[Page]:
    """Use a page of ``new_page`` for the duration of a block, and leave it blank.

    Fails as ``open_page`` does. It is for tests that leave nothing in the browser but cookies and
    permissions: a new page takes 0.7 CPU seconds, and opening an address in a present one 0.2.
    """
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=color_scheme)
    monitor = PageMonitor(page, base_url)
    try:
        yield page
    finally:
        page.goto("about:blank")
        page.context.clear_cookies()
        page.context.clear_permissions()
        monitor.stop()
    assert not monitor.problems, monitor.problems


def run_axe(page: Page, part: str | None = None, *rules: str) -> AxeResults:
    """Run axe on a part of a page or all of it, with some rules or all, and return violations."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    # The rules that pass are not listed, because all their elements would be sent.
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    return AxeResults(
        page.evaluate("([part, options]) => axe.run(part ?? document, options)", [part, options])
    )
