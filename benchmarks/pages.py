"""Response times of the web UI in a browser: find a code, show its place and its JSON."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from playwright.sync_api import Browser, Error, Page, sync_playwright

from . import data
from .context import SEED, BenchmarkContext, report_progress, upload_package
from .errors import BenchmarkError
from .processes import CREDENTIALS
from .results import (
    ResultRow,
    compare_with_maximum,
    create_failed_row,
    create_unmeasured_row,
    format_duration,
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")  # it may run as root, in a container
MAX_SECONDS = 0.2
"""Maximum time from an action to its result."""
REPETITIONS = 6
"""Number of repetitions of the three actions in one browser; the first one is cold."""
TIMEOUT_MILLISECONDS = 10_000

REAL_FRAMEWORKS = ("ccss-math-2010.json", "large-11k.json")
"""Two real frameworks, which are also measured if the folder ``../shared`` contains them."""
SHARED = Path(__file__).parents[2] / "shared" / "frameworks"

CLOCK = """
(() => {
  // Measures from the timestamp of the user's event to the frame after the one with the result. The
  // state is in the session storage, where the next page finds it.
  const state = sessionStorage;
  const begin = (event) => {
    if (event.isTrusted && state.expected) state.start ??= performance.timeOrigin + event.timeStamp;
  };
  for (const name of ["input", "click"]) addEventListener(name, begin, true);
  function check() {
    requestAnimationFrame(check);
    if (!state.start || !state.expected) return;
    const [selector, text] = JSON.parse(state.expected);
    const matches = (node) => node.checkVisibility() && node.textContent.includes(text);
    if (![...document.querySelectorAll(selector)].some(matches)) return;
    state.removeItem("expected");
    requestAnimationFrame(() => {
      console.debug(`took ${performance.timeOrigin + performance.now() - state.start}`);
    });
  }
  requestAnimationFrame(check);
})();
"""

EXPECT = """(expected) => {
  sessionStorage.removeItem("start");
  sessionStorage.expected = expected;
}"""


class SearchedItem(NamedTuple):
    """The item that the benchmark looks for in the web UI: its code and the start of its text."""

    code: str
    statement: str


def measure_pages(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure how long the web UI takes to show a result in Chromium; the target is 200 ms.

    The time is from a key or click to the frame that shows the result.
    """
    for name, database, item in (_synthetic(context), _real(context)):
        titles = [f"pages, {name}: {action}" for action in ("find a code", "its place", "its JSON")]
        try:
            report_progress(f"searching for {item.code} in Chromium, {name}")
            first_durations, later_durations = _measure_actions(context, database, item)
        except BenchmarkError as error:
            yield from (create_unmeasured_row(title, str(error)) for title in titles)
            continue
        except Error as error:
            yield create_failed_row(f"pages, {name}", "a result", error.message.partition("\n")[0])
            continue
        for index, title in enumerate(titles):
            yield _row(f"{title}, first use", [seconds[index] for seconds in first_durations])
            yield _row(title, [seconds[index] for seconds in later_durations])


def _row(title: str, seconds: list[float]) -> ResultRow:
    extremes = f"minimum {format_duration(min(seconds))}, maximum {format_duration(max(seconds))}"
    note = f"{extremes} of {len(seconds)}"
    row = compare_with_maximum(title, median(seconds), MAX_SECONDS, format_duration)
    return replace(row, note=note)


def _synthetic(context: BenchmarkContext) -> tuple[str, str, SearchedItem]:
    index = context.sizes.item_count // 3
    code = data.build_item_link(SEED, index).title
    item = SearchedItem(code, data.generate_item_text(SEED, index)[:40])
    return f"{context.sizes.item_count:,} items", context.ensure_framework_database(), item


def _real(context: BenchmarkContext) -> tuple[str, str, SearchedItem]:
    item = SearchedItem("3.OA.A.1", "Interpret products of whole numbers")
    database = "real"
    if not all((SHARED / name).exists() for name in REAL_FRAMEWORKS):
        database = ""
    elif database not in context.filled:
        context.postgres.drop_database(database)
        with context.run_server_for_client(database) as (_, client):
            for name in REAL_FRAMEWORKS:
                text = (SHARED / name).read_text()
                upload_package(client, data.make_identifiers_unique(text, name))
        context.filled.add(database)
    return "two real frameworks", database, item


def _measure_actions(
    context: BenchmarkContext, database: str, item: SearchedItem
) -> tuple[list[list[float]], list[list[float]]]:
    """Measure the seconds for finding a code, showing the item and showing its JSON.

    Returns two lists of such triples: the first runs after server and browser have started, and
    all later runs.
    """
    if not database:
        raise BenchmarkError(f"{' and '.join(REAL_FRAMEWORKS)} are not in {SHARED}")
    first_durations, later_durations = [], []
    for _ in range(context.rounds):
        with context.run_server(database) as server, _chromium() as browser:
            page = _sign_in(browser, server.base_url)
            first_durations.append(_time_actions(page, item))
            later_durations += [_time_actions(page, item) for _ in range(REPETITIONS - 1)]
    return first_durations, later_durations


@contextmanager
def _chromium() -> Iterator[Browser]:
    path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if path is None:
        raise BenchmarkError("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def _sign_in(browser: Browser, base_url: str) -> Page:
    page = browser.new_context(base_url=base_url).new_page()
    page.set_default_timeout(TIMEOUT_MILLISECONDS)
    page.add_init_script(CLOCK)
    page.goto("/")
    for label, value in zip(("Client ID", "Client secret"), CREDENTIALS, strict=True):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Frameworks").wait_for()
    return page


def _time_actions(page: Page, item: SearchedItem) -> list[float]:
    """Find a code, show the item, and show its JSON; return the duration of each in seconds."""
    page.goto("/")
    page.locator("#find").focus()
    selected = '.tree [aria-selected="true"]'
    result = page.locator("#suggestions a", has_text=item.statement).first
    json_link = page.get_by_role("link", name="TimeBack platform")
    return [
        _time_action(
            page, "#suggestions a", item.statement, lambda: page.keyboard.insert_text(item.code)
        ),
        _time_action(page, selected, item.statement, result.click),
        _time_action(page, "#json", f'"{item.code}"', json_link.click),
    ]


def _time_action(page: Page, selector: str, text: str, act: Callable[[], None]) -> float:
    """Call ``act``, for example a click; return the seconds until the page shows the result.

    The result is shown once an element that matches ``selector`` contains ``text``.
    """
    page.evaluate(EXPECT, json.dumps([selector, text]))
    # Not page.wait_for_function, because the Content-Security-Policy forbids eval.
    with page.expect_console_message(lambda line: line.text.startswith("took ")) as message:
        act()
    return float(message.value.text.removeprefix("took ")) / 1000
