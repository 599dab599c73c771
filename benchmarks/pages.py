"""What people feel: finding a code in a browser, seeing its place in the tree, and its JSON."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from playwright.sync_api import Browser, Error, Page, sync_playwright

from . import data
from .client import Client
from .errors import BenchmarkError
from .lab import SEED, Lab, post, say
from .postgres import execute
from .processes import CREDENTIALS
from .results import Row, below, duration, failed, unmeasured

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")  # it may run as root, in a container
MOST = 0.2
"""The seconds within which an action is to be answered."""
TRIES = 6
"""How often the three actions are done in one browser; the first of them is cold."""
MILLISECONDS_TO_WAIT = 10_000

REAL = ("ccss-math-2010.json", "large-11k.json")
"""Two real frameworks, which are measured, too, where they lie beside this checkout."""
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHARED = Path(__file__).parents[2] / "shared" / "frameworks"

CLOCK = """
(() => {
  // From what the user did, as the browser dates it, to the frame after the one that holds the
  // answer; kept where a page that is loaded meanwhile finds it.
  const kept = sessionStorage;
  const begin = (event) => {
    if (event.isTrusted && kept.wanted) kept.began ??= performance.timeOrigin + event.timeStamp;
  };
  for (const name of ["input", "click"]) addEventListener(name, begin, true);
  function look() {
    requestAnimationFrame(look);
    if (!kept.began || !kept.wanted) return;
    const [selector, text] = JSON.parse(kept.wanted);
    const shown = (one) => one.checkVisibility() && one.textContent.includes(text);
    if (![...document.querySelectorAll(selector)].some(shown)) return;
    kept.removeItem("wanted");
    requestAnimationFrame(() => {
      console.debug(`took ${performance.timeOrigin + performance.now() - kept.began}`);
    });
  }
  requestAnimationFrame(look);
})();
"""

EXPECT = """(wanted) => {
  sessionStorage.removeItem("began");
  sessionStorage.wanted = wanted;
}"""


class Wanted(NamedTuple):
    """What is looked for: a code, and what its statement begins with."""

    code: str
    statement: str


def pages(lab: Lab) -> Iterator[Row]:
    """Chromium: from the key or click to the frame that shows the answer, under 200 ms."""
    for name, database, wanted in (_made_up(lab), _real(lab)):
        titles = [f"pages, {name}: {what}" for what in ("find a code", "its place", "its JSON")]
        try:
            say(f"looking for {wanted.code} in Chromium, {name}")
            firsts, others = _measured(lab, database, wanted)
        except BenchmarkError as error:
            yield from (unmeasured(title, str(error)) for title in titles)
            continue
        except Error as error:
            yield failed(f"pages, {name}", "an answer", error.message.partition("\n")[0])
            continue
        for action, title in enumerate(titles):
            yield _row(f"{title}, first use", [one[action] for one in firsts])
            yield _row(title, [one[action] for one in others])


def _row(title: str, seconds: list[float]) -> Row:
    note = f"{duration(min(seconds))} at best, {duration(max(seconds))} at worst of {len(seconds)}"
    return replace(below(title, median(seconds), MOST, duration), note=note)


def _made_up(lab: Lab) -> tuple[str, str, Wanted]:
    index = lab.sizes.items // 3
    wanted = Wanted(data.node_of(SEED, index).title, data.statement(SEED, index)[:40])
    return f"{lab.sizes.items:,} items", lab.framework(), wanted


def _real(lab: Lab) -> tuple[str, str, Wanted]:
    wanted = Wanted("3.OA.A.1", "Interpret products of whole numbers")
    database = "real"
    if not all((SHARED / name).exists() for name in REAL):
        database = ""
    elif database not in lab.filled:
        lab.postgres.drop(database)
        with lab.serve(database) as server, Client(server.base_url, server.headers) as client:
            for name in REAL:
                post(client, _apart((SHARED / name).read_text(), name))
        execute(lab.postgres.databases[database], "VACUUM ANALYZE")
        lab.filled.add(database)
    return "two real frameworks", database, wanted


def _apart(package: str, name: str) -> bytes:
    """A framework under identifiers of its own: one of the two holds much of the other."""
    renamed = UUID.sub(lambda found: str(uuid5(NAMESPACE_URL, f"{name}/{found[0]}")), package)
    return renamed.encode()


def _measured(
    lab: Lab, database: str, wanted: Wanted
) -> tuple[list[list[float]], list[list[float]]]:
    """The seconds of each action: in servers and browsers just started, and after that."""
    if not database:
        raise BenchmarkError(f"{' and '.join(REAL)} are not in {SHARED}")
    firsts, others = [], []
    for _ in range(lab.rounds):
        with lab.serve(database) as server, _chromium() as browser:
            page = _signed_in(browser, server.base_url)
            firsts.append(_three_actions(page, wanted))
            others += [_three_actions(page, wanted) for _ in range(TRIES - 1)]
    return firsts, others


@contextmanager
def _chromium() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise BenchmarkError("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def _signed_in(browser: Browser, base_url: str) -> Page:
    page = browser.new_context(base_url=base_url).new_page()
    page.set_default_timeout(MILLISECONDS_TO_WAIT)
    page.add_init_script(CLOCK)
    page.goto("/")
    for label, value in zip(("Client ID", "Client secret"), CREDENTIALS, strict=True):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Frameworks").wait_for()
    return page


def _three_actions(page: Page, wanted: Wanted) -> list[float]:
    """The seconds of each: find the code, go to it, and to what the platform answers."""
    page.goto("/")
    page.locator("#find").focus()
    selected = '.tree [aria-selected="true"]'
    found = page.locator("#suggestions a", has_text=wanted.statement).first
    answer = page.get_by_role("link", name="TimeBack platform")
    return [
        _took(
            page, "#suggestions a", wanted.statement, lambda: page.keyboard.insert_text(wanted.code)
        ),
        _took(page, selected, wanted.statement, found.click),
        _took(page, "#json", f'"{wanted.code}"', answer.click),
    ]


def _took(page: Page, selector: str, text: str, act: Callable[[], None]) -> float:
    """The seconds from an act until an element that matches shows a text."""
    page.evaluate(EXPECT, json.dumps([selector, text]))
    # Not by a function that waits in the page: the pages' own policy lets none be made of a text.
    with page.expect_console_message(lambda said: said.text.startswith("took ")) as said:
        act()
    return float(said.value.text.removeprefix("took ")) / 1000
