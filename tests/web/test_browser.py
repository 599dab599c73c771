"""The web UI in Chromium: mouse and keyboard, wide and narrow, light and dark."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from support import factories
from support.browser import (
    DEFAULT_VIEWPORT,
    launch_chromium,
    new_page,
    open_page,
    reuse_page,
    run_axe,
)
from support.databases import MigratedDatabase
from support.live_server import LiveServer, run_live_server
from support.selection import mark_slow_except

Opened = Callable[..., AbstractContextManager[Page]]

PHONE: ViewportSize = {"width": 390, "height": 844}
DEEPEST = 7

HOSTILE = {
    "H.1": "<script>document.title = 'taken'; window.taken = 1</script>",
    "H.2": '<img src=x onerror="window.taken = 1">',
    "H.3": "[click me](javascript:window.taken=1)",
    "H.4": "$\\href{javascript:window.taken=1}{x}$ and $\\frac{broken",
    "H.5": "![beacon](https://elsewhere.example/x.png) <iframe src=https://elsewhere.example>",
    "H.6": "<em>never closed $\\style{background:url(https://elsewhere.example)}{x}$",
}


@pytest.fixture(scope="module")
def databases(migrated_database: MigratedDatabase) -> list[str]:
    """Databases of the servers, created before Playwright starts an event loop."""
    return [migrated_database(purpose) for purpose in ("browser", "browser_sign_in")]


@pytest.fixture(scope="module")
def live(databases: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with the default settings."""
    directory = tmp_path_factory.mktemp("live") / "data"
    settings = {"CASE_SERVER_DATABASE_URL": databases[0]}
    with run_live_server(directory, "--no-access-log", settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(databases: list[str]) -> Iterator[Browser]:
    with launch_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def frameworks(live: LiveServer) -> dict[str, factories.Body]:
    """Store a deep framework, one that it refers to, and one with hostile markup."""
    deep, other = framework("Deep waters", "D"), framework("Other shores", "O")
    deep["CFAssociations"].append(
        factories.association(
            deep["CFItems"][-1]["identifier"],
            other["CFItems"][2]["identifier"],
            associationType="exactMatchOf",
        )
    )
    hostile = framework("<script>window.taken = 1</script>", "X")
    hostile["CFItems"] = [
        factories.packed_item(humanCodingScheme=code, fullStatement=statement)
        for code, statement in HOSTILE.items()
    ]
    hostile["CFAssociations"] = []
    with live.client() as client:
        for body in (other, deep, hostile):
            assert client.post("/case/1.1/CFPackages", json=body).status_code == 201
    return {"deep": deep, "other": other, "hostile": hostile}


def framework(title: str, letter: str) -> factories.Body:
    """Return a package whose tree has one deep branch, with two siblings at each level."""
    items, links, parent = [], [], None
    for depth in range(1, DEEPEST + 1):
        level = [
            factories.packed_item(
                humanCodingScheme=f"{letter}{depth}.{number}",
                fullStatement=f"Statement {number} at depth {depth}, **weighty**, $x^{depth}$",
                educationLevel=["03"],
                CFItemType="Standard",
            )
            for number in (1, 2, 3)
        ]
        if parent:
            links += [
                factories.association(heading["identifier"], parent, sequenceNumber=number)
                for number, heading in enumerate(level)
            ]
        items += level
        parent = level[0]["identifier"]
    body = factories.package(CFItems=items, CFAssociations=links)
    body["CFDocument"] |= {"title": title, "adoptionStatus": "Draft"}
    return body


@pytest.fixture(scope="module")
def shared_page(live: LiveServer, chromium: Browser) -> Iterator[Page]:
    with new_page(chromium, live.base_url) as page:
        yield page


@pytest.fixture
def visit(live: LiveServer, shared_page: Page, frameworks: Any) -> Opened:
    """Return a function that opens a page; see ``PageMonitor`` for what must not happen on it."""
    return partial(reuse_page, shared_page, live.base_url)


@pytest.fixture
def visit_anew(live: LiveServer, chromium: Browser, frameworks: Any) -> Opened:
    """Return a function that opens a page in a browser context of its own, with any options."""
    return partial(open_page, chromium, live.base_url)


def line(page: Page, code: str) -> Any:
    return page.get_by_role("treeitem").filter(has=page.get_by_text(code, exact=True))


def test_tree_expands_to_depth_six(visit: Opened) -> None:
    with visit() as page:
        page.goto("/")
        page.get_by_role("link", name="Deep waters").click()
        for depth in range(1, 6):
            code = line(page, f"D{depth}.1")
            expect(code).to_have_attribute("aria-expanded", "false")
            code.locator(".twisty").click()
            expect(code).to_have_attribute("aria-expanded", "true")
            expect(line(page, f"D{depth + 1}.3")).to_have_attribute("aria-level", str(depth + 1))
        line(page, "D6.2").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("D6.2")
        assert re.search(r"/documents/.+/items/.+", page.url)
        page.reload()
        expect(line(page, "D6.2")).to_have_attribute("aria-selected", "true")
        expect(line(page, "D1.3")).to_be_visible()
        line(page, "D1.1").locator(".twisty").click()
        expect(line(page, "D2.1")).to_be_hidden()
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("Deep waters")


def test_search_shows_results_while_typing(visit: Opened) -> None:
    with visit() as page:
        page.goto("/")
        page.get_by_role("searchbox", name="Search all frameworks").type("D7.2")
        suggestions = page.locator("#suggestions li")
        expect(suggestions).to_have_count(1)
        expect(suggestions).to_contain_text(re.compile(r"Deep waters . D1\.1 . D2\.1"))
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("D7.2")
        expect(line(page, "D7.2")).to_have_attribute("aria-selected", "true")
        page.goto("/search")
        page.get_by_role("searchbox", name="Codes").type("depth 3")
        expect(page.locator("#results li")).to_have_count(18)
        assert "q=depth+3" in page.url


def test_json_of_an_item_is_reached_in_three_actions(visit: Opened) -> None:
    with visit() as page:
        page.goto("/")
        page.get_by_role("searchbox", name="Search all frameworks").type("D4.3")
        expect(page.locator("#suggestions li")).to_have_count(1)
        page.locator("#suggestions li a").first.click()
        page.get_by_role("link", name="TimeBack platform").click()
        expect(page.locator("#json")).to_contain_text('"humanCodingScheme": "D4.3"')
        expect(page.locator("#curl")).to_contain_text("/case/1.1/CFItems/")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy the curl command").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#curl")
        page.get_by_role("button", name="Copy the SDK call").click()
        expect(page.get_by_role("button", name="Copied")).to_have_count(2)
        assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#python")


def test_search_limits_request_rate(visit: Opened) -> None:
    with visit() as page:
        page.goto("/")
        urls: list[str] = []
        page.on(
            "request",
            lambda request: urls.append(request.url) if "/search?" in request.url else None,
        )
        box = page.get_by_role("searchbox", name="Search all frameworks")
        box.press_sequentially("D7", delay=100)
        expect(page.locator("#suggestions li").first).to_be_visible()
        assert [url.rpartition("=")[2] for url in urls] == ["D7"]
        box.fill("")
        expect(page.locator("#suggestions")).to_be_hidden()
        urls.clear()
        with page.expect_response(re.compile("weighty$")):
            box.evaluate(
                """(box) => {
                    for (const letter of "statement at depth 5 weighty") {
                        box.value += letter;
                        box.dispatchEvent(new InputEvent("input", { bubbles: true }));
                    }
                }"""
            )
        expect(page.locator("#suggestions li")).to_have_count(6)
        assert len(urls) == 1


def test_framework_pages_load_in_place(visit: Opened, frameworks: Any) -> None:
    document = frameworks["deep"]["CFDocument"]["identifier"]
    with visit() as page:
        page.goto("/")
        page.evaluate("window.marker = 1")
        page.get_by_role("searchbox", name="Search all frameworks").fill("D4.3")
        page.locator("#suggestions li a").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("D4.3")
        expect(page).to_have_title(re.compile(r"D4\.3 · Deep waters"))
        expect(page.locator("#page-status")).to_have_text(re.compile(r"D4\.3 · Deep waters"))
        expect(page.locator("main")).to_be_focused()
        expect(page.locator("#suggestions")).to_be_hidden()
        expect(page.get_by_role("searchbox")).to_have_value("")
        assert page.locator(".top nav [aria-current]").count() == 0
        page.get_by_role("link", name="TimeBack platform").click()
        expect(page.locator("#json")).to_contain_text("D4.3")
        expect(page.get_by_role("button", name="Copy the JSON")).to_be_visible()
        page.get_by_role("link", name="TimeBack SDK").click()
        expect(page.locator("#json")).to_contain_text('"CFItem": {')
        page.go_back()
        page.go_back()
        expect(line(page, "D4.3")).to_have_attribute("aria-selected", "true")
        # The tree works that came later.
        line(page, "D4.1").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("D4.1")
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("D4.3")
        assert page.evaluate("window.marker") == 1
        page.locator(".root a").click()
        expect(page).to_have_url(re.compile(f"/documents/{document}$"))
        page.keyboard.press("Tab")
        page.go_back()
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("Frameworks")
        assert page.evaluate("window.marker") is None


def test_prefetch_requests_page_once(visit_anew: Opened) -> None:
    with visit_anew() as page:
        # The lifetime of a prefetched page could end before a click on a busy machine.
        page.add_init_script("performance.now = () => 0")
        page.goto("/")
        urls: list[str] = []
        page.on(
            "request",
            lambda request: urls.append(request.url) if "/items/" in request.url else None,
        )
        with page.expect_response(re.compile("/items/")):
            page.get_by_role("searchbox", name="Search all frameworks").fill("D5.2")
        page.locator("#suggestions li a").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("D5.2")
        assert len(urls) == 1
        with page.expect_response(re.compile("profile=sdk")):
            page.get_by_role("link", name="TimeBack SDK").hover()
        page.get_by_role("link", name="TimeBack SDK").click()
        expect(page.locator("#json")).to_contain_text("D5.2")
        assert len(urls) == 2
        # Otherwise the link under the pointer would be prefetched when the page is shown again.
        page.mouse.move(0, 0)
        # A page that was shown is requested again, because it may have changed.
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("D5.2")
        assert len(urls) == 3


def test_error_page_replaces_in_place_navigation(
    chromium: Browser, live: LiveServer, frameworks: Any
) -> None:
    other = frameworks["other"]
    document, item = other["CFDocument"]["identifier"], other["CFItems"][2]["identifier"]
    # Not watched: the browser tells a refusal on the console.
    context = chromium.new_context(base_url=live.base_url)
    page = context.new_page()
    page.goto(f"/documents/{document}/items/{item}")
    page.evaluate("document.querySelector('.json a').href += 'unheard'")
    page.locator(".json a").first.click()
    expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    expect(page).to_have_url(re.compile("unheard"))
    context.close()


def test_changes_page_lists_changes_between_selected_states(
    visit: Opened, live: LiveServer
) -> None:
    body = framework("Tidal pools", "T")
    document = body["CFDocument"]["identifier"]
    with live.client() as client:
        assert client.post("/case/1.1/CFPackages", json=body).status_code == 201
        gone = body["CFItems"].pop()
        body["CFAssociations"] = [
            association
            for association in body["CFAssociations"]
            if association["originNodeURI"]["identifier"] != gone["identifier"]
        ]
        body["CFItems"][0]["fullStatement"] = "Another statement"
        response = client.put(f"/case/1.1/CFPackages/{document}", json=body)
        assert response.status_code == 200
    with visit() as page:
        page.goto(f"/documents/{document}")
        page.get_by_role("link", name="Changes").click()
        expect(page.get_by_role("link", name="Changed 1")).to_have_attribute("aria-current", "page")
        expect(page.locator(".plain")).to_contain_text("Another statement")
        assert_accessible(page)
        page.get_by_role("link", name="Deleted 2").click()
        expect(page.locator(".plain")).to_contain_text("T7.3")
        page.get_by_label("From").select_option(label="Before the first write")
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("link", name="Added 38")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download CSV").click()
        assert len(Path(download.value.path()).read_text("utf-8-sig").splitlines()) == 39
        page.get_by_role("link", name="T2.1 Statement").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("T2.1")


def test_association_links_to_other_framework(visit: Opened, frameworks: Any) -> None:
    deep = frameworks["deep"]
    with visit() as page:
        document, item = deep["CFDocument"]["identifier"], deep["CFItems"][-1]["identifier"]
        page.goto(f"/documents/{document}/items/{item}")
        expect(page.get_by_text("is an exact match of")).to_be_visible()
        page.locator(".relation").filter(has_text="in Other shores").get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("O1.3")
        expect(page.locator(".root")).to_have_text("Other shores")
        expect(page.locator(".relation").filter(has_text="in Deep waters")).to_be_visible()


def test_tree_can_be_navigated_by_keyboard(visit: Opened) -> None:
    with visit() as page:
        page.goto("/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        for _ in range(10):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "Deep waters":
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("tree")).to_be_visible()
        while not page.evaluate("document.activeElement.matches('[role=treeitem]')"):
            page.keyboard.press("Tab")
        expect(line(page, "D1.1")).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(line(page, "D2.1")).to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(line(page, "D2.1")).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(line(page, "D2.2")).to_be_focused()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowLeft")
        expect(line(page, "D1.1")).to_be_focused()
        page.keyboard.press("End")
        expect(line(page, "D1.3")).to_be_focused()
        page.keyboard.press("Home")
        expect(line(page, "D1.1")).to_be_focused()
        page.keyboard.press("ArrowLeft")
        expect(line(page, "D2.1")).to_be_hidden()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("D1.2")
        expect(line(page, "D1.2")).to_have_attribute("aria-selected", "true")
        # One stop for the whole tree: the next is beyond it.
        page.keyboard.press("Tab")
        assert not page.evaluate("document.activeElement.matches('[role=treeitem]')")


def test_upload_page_stores_only_the_valid_file(
    visit: Opened, live: LiveServer, tmp_path: Path
) -> None:
    body = framework("Fresh water", "F")
    good, broken = tmp_path / "good.json", tmp_path / "broken.json"
    body["CFItems"][0]["educationLevel"] = "03"
    good.write_bytes(orjson.dumps(body))
    body["CFItems"][0]["lastChangeDateTime"] = "yesterday"
    broken.write_bytes(orjson.dumps(body))
    with visit() as page:
        page.goto("/upload")
        page.set_input_files("#file", broken)
        expect(page.get_by_text("The file cannot be stored")).to_be_visible()
        expect(page.locator(".repairs code")).to_have_text("CFItems[0].lastChangeDateTime")
        expect(page.get_by_role("button", name="Store", exact=True)).to_be_hidden()
        page.set_input_files("#file", good)
        expect(page.get_by_text("What will be repaired")).to_be_visible()
        document = body["CFDocument"]["identifier"]
        with live.client() as client:
            assert client.get(f"/case/1.1/CFDocuments/{document}").status_code == 404
        page.get_by_role("button", name="Store", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Fresh water")
        assert page.url.endswith(f"/documents/{document}")
        expect(line(page, "F1.1")).to_be_visible()


def test_upload_shows_progress(visit_anew: Opened, tmp_path: Path) -> None:
    body = framework("Slow rivers", "S")
    body["CFDocument"]["notes"] = "x" * 100_000
    file = tmp_path / "slow.json"
    file.write_bytes(orjson.dumps(body))
    with visit_anew() as page:
        page.goto("/upload")
        line_speed = {"offline": False, "latency": 0, "downloadThroughput": -1}
        slow = {**line_speed, "uploadThroughput": 60_000}
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
        bar = page.get_by_role("progressbar")
        page.set_input_files("#file", file)
        expect(bar).to_be_visible()
        expect(bar).to_have_attribute("value", re.compile(r"^\d{1,2}(\.|$)"))
        expect(page.get_by_text("file is valid")).to_be_visible()
        expect(bar).to_be_hidden()
        page.get_by_role("button", name="Store", exact=True).click()
        expect(page.get_by_text("Sending")).to_be_visible()
        expect(bar).to_be_visible()
        expect(page.get_by_role("heading", level=1)).to_have_text("Slow rivers")


def test_upload_accepts_dropped_file(visit: Opened) -> None:
    with visit() as page:
        page.goto("/upload")
        page.evaluate(
            """() => {
                const data = new DataTransfer();
                data.items.add(new File(['{"a": 1}'], 'dropped.json'));
                const drop = document.querySelector('.drop');
                drop.dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}));
            }"""
        )
        expect(page.get_by_role("heading", name="dropped.json")).to_be_visible()
        expect(page.get_by_text("The file cannot be stored")).to_be_visible()


def test_comparison_page_shows_matches_and_offers_csv(visit: Opened, frameworks: Any) -> None:
    with visit() as page:
        page.goto("/compare")
        page.get_by_label("Left").select_option(label="Deep waters")
        page.get_by_label("Right").select_option(label="Other shores")
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("cell", name="is an exact match of")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download CSV").click()
        text = Path(download.value.path()).read_text("utf-8-sig")
        assert "D7.3" in text.splitlines()[1]
        assert "O1.3" in text.splitlines()[1]
        page.get_by_role("link", name="Only left").click()
        expect(page.locator(".plain li")).to_have_count(3 * DEEPEST - 1)


def test_hostile_statements_are_inert(visit: Opened, frameworks: Any) -> None:
    body = frameworks["hostile"]
    document = body["CFDocument"]["identifier"]
    with visit() as page:
        for item in body["CFItems"]:
            page.goto(f"/documents/{document}/items/{item['identifier']}")
            expect(page.get_by_role("heading", level=1)).to_have_text(item["humanCodingScheme"])
            for link in page.locator("main a").all():
                assert not (link.get_attribute("href") or "").lower().startswith("javascript")
            assert page.locator("main iframe, main img, main script").count() == 0
            assert page.evaluate("window.taken") is None
            assert (
                page.evaluate("getComputedStyle(document.querySelector('footer p')).fontStyle")
                == "normal"
            )
        page.goto(f"/documents/{document}")
        for code in HOSTILE:
            line(page, code).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(code)
        page.goto("/search?q=script")
        page.goto("/")
        assert page.evaluate("window.taken") is None


def test_pages_are_readable_without_javascript(visit_anew: Opened) -> None:
    with visit_anew(java_script_enabled=False) as page:
        page.goto("/")
        page.get_by_role("link", name="Deep waters").click()
        for depth in range(1, 7):
            line(page, f"D{depth}.1").click()
            expect(page.get_by_role("heading", level=1)).to_have_text(f"D{depth}.1")
            expect(line(page, f"D{depth + 1}.3")).to_be_visible()
        page.get_by_role("searchbox", name="Search all frameworks").fill("O7.1")
        page.keyboard.press("Enter")
        page.locator(".results a").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("O7.1")
        page.get_by_role("link", name="1EdTech CASE 1.1").click()
        expect(page.locator("#json")).to_contain_text("O7.1")


SCREENS = {"desktop": {}, "phone": {"viewport": PHONE, "has_touch": True}}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def list_paths(frameworks: Any) -> list[str]:
    """Return paths that lead to each page, with and without results."""
    deep, other = frameworks["deep"], frameworks["other"]
    document, item = deep["CFDocument"]["identifier"], deep["CFItems"][-1]["identifier"]
    both = f"left={document}&right={other['CFDocument']['identifier']}"
    return [
        "/",
        "/?q=nothing",
        f"/documents/{document}",
        f"/documents/{document}/changes",
        f"/documents/{document}/changes?since=start",
        f"/documents/{document}/items/{item}",
        f"/documents/{document}/items/{item}/json?profile=sdk",
        "/search?q=depth+3",
        "/search?q=unheard",
        f"/compare?{both}",
        f"/compare?{both}&part=left",
        "/upload",
    ]


@pytest.mark.parametrize(
    "options", mark_slow_except([SCREENS["desktop"]], SCREENS.values()), ids=SCREENS
)
def test_pages_fit_the_screen_and_axe_reports_no_violations(
    visit_anew: Opened, frameworks: Any, options: dict[str, Any]
) -> None:
    with visit_anew(**options) as page:
        for path in list_paths(frameworks):
            page.goto(path)
            assert_accessible(page)
            for size in (PHONE, options.get("viewport", DEFAULT_VIEWPORT)):
                page.set_viewport_size(size)
                width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert width <= 0, f"{path} is wider than {size['width']} pixels by {width}"
        page.goto("/")
        page.get_by_role("searchbox", name="Search all frameworks").type("statement")
        expect(page.locator("#suggestions li").first).to_be_visible()
        assert_accessible(page)


def assert_accessible(page: Page, part: str | None = None) -> None:
    """Run axe in both colour schemes; only the contrast differs between them."""
    page.emulate_media(color_scheme="dark")
    dark = run_axe(page, part, "color-contrast")
    page.emulate_media(color_scheme="light")
    light = run_axe(page, part, *RULES)
    for results in (dark, light):
        assert results.violations_count == 0, f"{page.url}\n{results.generate_report()}"


def test_dark_color_scheme_has_dark_background(visit: Opened) -> None:
    def lightness(page: Page) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    with visit(color_scheme="dark") as page:
        page.goto("/")
        assert lightness(page) < 150
        page.emulate_media(color_scheme="light")
        assert lightness(page) > 600


def test_item_precedes_tree_on_narrow_screen(visit: Opened, frameworks: Any) -> None:
    deep = frameworks["deep"]
    path = (
        f"/documents/{deep['CFDocument']['identifier']}/items/{deep['CFItems'][-1]['identifier']}"
    )
    with visit(viewport=PHONE) as page:
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_in_viewport()
        line(page, "D7.1").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("D7.1")
        expect(page.get_by_role("heading", level=1)).to_be_in_viewport()


def test_swagger_ui_is_one_of_the_pages_and_sends_no_foreign_requests(visit: Opened) -> None:
    with visit(color_scheme="dark") as page:
        page.goto("/")
        page.get_by_role("link", name="API", exact=True).click()
        expect(page.get_by_role("link", name="API", exact=True)).to_have_attribute(
            "aria-current", "page"
        )
        title = page.locator(".swagger-ui .info .title")
        for color_scheme in ("dark", "light"):
            page.emulate_media(color_scheme=color_scheme)
            shade = title.evaluate(
                "title => getComputedStyle(title).color.match(/[\\d.]+/g).slice(0, 3).map(Number)"
            )
            assert (sum(shade) > 380) == (color_scheme == "dark")
        assert_accessible(page, "header.top")
        alive = page.locator(".opblock").filter(has_text="Check that the process is alive")
        alive.locator(".opblock-summary").click()
        alive.get_by_role("button", name="Try it out").click()
        alive.get_by_role("button", name="Execute").click()
        expect(alive.locator(".live-responses-table")).to_contain_text('"status": "alive"')
        page.get_by_role("link", name="Frameworks", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Frameworks")


def test_unknown_path_is_shown_as_a_page(chromium: Browser, live: LiveServer) -> None:
    # Not with visit, because Chromium reports a 404 on the console.
    page = chromium.new_page(base_url=live.base_url)
    response = page.goto("/no-such-page")
    assert response is not None
    assert response.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
    assert_accessible(page)
    page.get_by_role("link", name="All frameworks").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Frameworks")
    page.close()


def test_sign_in_opens_the_requested_page_until_sign_out(
    chromium: Browser, databases: list[str], tmp_path: Path
) -> None:
    settings = {
        "CASE_SERVER_DATABASE_URL": databases[1],
        "CASE_CLIENT_ID": "some-client",
        "CASE_CLIENT_SECRET": "something",
    }
    with (
        run_live_server(tmp_path / "data", "--no-access-log", settings=settings) as running,
        open_page(chromium, running.base_url) as page,
    ):
        page.goto("/compare")
        page.get_by_label("Client ID").fill("some-client")
        page.get_by_label("Client secret").fill("something")
        assert_accessible(page)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Compare two frameworks")
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert httpx.get(running.base_url).status_code == 303
