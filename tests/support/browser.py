"""Chromium, controlled by Playwright, and checks that apply to every page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
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
        self.host = urlsplit(base_url).netloc
        self.problems: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.netloc != self.host:
            self.problems.append(f"request: {request.url}")


@contextmanager
def open_page(browser: Browser, base_url: str, **options: Any) -> Iterator[Page]:
    """Open a new page in the browser for the duration of a block.

    Fails at the end if the page logged to the console, had a script error or contacted another
    host.
    """
    context = browser.new_context(base_url=base_url, **options)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=TIMEOUT_MS)
    monitor = PageMonitor(page, base_url)
    yield page
    context.close()
    assert not monitor.problems, monitor.problems
