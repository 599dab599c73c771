"""The content of the pages, their header fields, and the escaping of frameworks."""

import csv
import io
import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from httpx import AsyncClient, Response
from support import factories
from support.factories import Body

from case_server.settings import Settings

from .conftest import run_for_visitor

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


@pytest.fixture
async def framework(client: AsyncClient) -> Body:
    """Return a package with hostile markup in every free-text field."""
    body = factories.package()
    body["CFDocument"] |= dict.fromkeys(("title", "creator", "description", "notes"), HOSTILE)
    for item in body["CFItems"]:
        item |= {
            "fullStatement": HOSTILE,
            "humanCodingScheme": f"{HOSTILE} 3.OA",
            "CFItemType": HOSTILE,
            "educationLevel": [HOSTILE],
            "conceptKeywords": [HOSTILE],
            "notes": HOSTILE,
        }
    response = await client.post("/case/1.1/CFPackages", json=body)
    assert response.status_code == 201, response.text
    return body


FORBIDDEN = {"onerror", "onclick", "style", "iframe", "object", "base"}


class Tags(HTMLParser):
    """Collects the names of all elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}


def tags_of(html: str) -> set[str]:
    tags = Tags()
    tags.feed(html)
    return tags.names


def pages_of(body: Body) -> list[str]:
    document, item = body["CFDocument"]["identifier"], body["CFItems"][1]["identifier"]
    parent = body["CFItems"][0]["identifier"]
    return [
        *("/", "/?q=script", "/search", "/search?q=3.OA", f"/search?q={HOSTILE}"),
        *(f"/search?q=3.OA&document={document}", f"/documents/{document}"),
        *(f"/documents/{document}/json", f"/documents/{document}/changes"),
        f"/documents/{document}/changes?since=start",
        f"/documents/{document}/items/{item}",
        f"/documents/{document}/items/{item}/json?profile=sdk",
        *(f"/documents/{document}/children/{parent}", "/compare", "/upload"),
    ]


def path_of(body: Body, item: Body) -> str:
    return f"/documents/{body['CFDocument']['identifier']}/items/{item['identifier']}"


async def test_page_has_headers_and_escapes_markup(browser: AsyncClient, framework: Body) -> None:
    for path in pages_of(framework):
        page = await browser.get(path)
        assert page.status_code == 200, (path, page.text)
        assert page.text.count("<h1") == 1, path
        assert "<title>" in page.text
        assert "<script>" not in page.text
        assert "<img src=x" not in page.text
        assert not (tags_of(page.text) & FORBIDDEN), path
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "private, no-store"


async def test_framework_list_is_filtered_and_paginated(
    browser: AsyncClient, client: AsyncClient
) -> None:
    assert "case-server import --sample" in (await browser.get("/")).text
    for number in range(25):
        body = factories.package()
        body["CFDocument"] |= {"title": f"Framework {number:02}", "creator": "Someone"}
        await client.post("/case/1.1/CFPackages", json=body)
    first = (await browser.get("/")).text
    assert "Framework 19" in first
    assert "Framework 20" not in first
    assert "1 to 20 of 25" in first
    assert "Framework 24" in (await browser.get("/?offset=20")).text
    assert (await browser.get("/?q=WORK 07")).text.count("<h2><a") == 1
    body = factories.package()
    body["CFDocument"] |= {
        "title": "Old",
        "creator": "Somebody else",
        "adoptionStatus": "Draft",
        "lastChangeDateTime": "2024-02-29T12:00:00Z",
    }
    await client.post("/case/1.1/CFPackages", json=body)
    page = (await browser.get("/?q=old")).text
    figures = re.findall(r"<dt>(\w+)</dt><dd>(.*?)</dd>", page)
    assert figures == [("Items", "2"), ("Status", "Draft"), ("Changed", "29 February 2024")]
    assert "Somebody else" in page
    assert "No framework matches" in (await browser.get("/?q=nothing")).text


async def test_tree_expands_along_path_to_item(browser: AsyncClient, client: AsyncClient) -> None:
    chain = [factories.packed_item(humanCodingScheme=f"L{depth}") for depth in range(8)]
    others = [factories.packed_item(humanCodingScheme=f"O{number}") for number in range(3)]
    links = [
        factories.association(child["identifier"], parent["identifier"], sequenceNumber=9)
        for parent, child in pairwise(chain)
    ]
    links += [
        factories.association(item["identifier"], chain[0]["identifier"], sequenceNumber=number)
        for number, item in enumerate(reversed(others))
    ]
    body = factories.package(CFItems=[*chain, *others], CFAssociations=links)
    await client.post("/case/1.1/CFPackages", json=body)
    document = body["CFDocument"]["identifier"]

    closed = (await browser.get(f"/documents/{document}")).text
    assert codes(closed) == ["L0"]
    below = await browser.get(
        f"/documents/{document}/children/{chain[0]['identifier']}?level=2",
        headers={"X-Fragment": "1"},
    )
    assert "<html" not in below.text
    assert codes(below.text) == ["O2", "O1", "O0", "L1"]
    assert 'aria-level="2"' in below.text
    opened = (await browser.get(f"/documents/{document}/items/{chain[6]['identifier']}")).text
    assert codes(opened) == ["L0", "O2", "O1", "O0", *(f"L{depth}" for depth in range(1, 8))]
    assert 'aria-level="8"' in opened
    crumbs = opened.split('aria-label="Path"')[1].split("</nav>")[0]
    assert re.findall(r"L\d", crumbs) == [f"L{depth}" for depth in range(6)]


async def test_roots_at_the_same_position_are_sorted_by_identifier(
    browser: AsyncClient, client: AsyncClient
) -> None:
    # An item that is moved from another framework keeps its position there.
    first, second = (factories.package(CFAssociations=[]) for _ in range(2))
    for number, body in enumerate((second, first)):
        identifier = f"{number}-{factories.new_id()}"
        body["CFItems"] = [factories.packed_item(identifier, humanCodingScheme=f"L{number}")]
        await client.post("/case/1.1/CFPackages", json=body)
    document, (moved,) = first["CFDocument"]["identifier"], second["CFItems"]
    moved |= {"CFDocumentURI": factories.link(document)}
    await client.put(f"/case/1.1/CFItems/{moved['identifier']}", json=moved)
    assert codes((await browser.get(f"/documents/{document}")).text) == ["L0", "L1"]


def codes(html: str) -> list[str]:
    return re.findall(r'<span class="words"><span class="code">(.*?)</span>', html)


async def test_tree_with_cycles_and_multiple_parents_terminates(
    browser: AsyncClient, client: AsyncClient
) -> None:
    first, second, third, root = (factories.packed_item(humanCodingScheme=code) for code in "ABCR")
    pairs = [(first, second), (second, first), (first, first), (third, root), (third, first)]
    body = factories.package(
        CFItems=[first, second, third, root],
        CFAssociations=[factories.association(a["identifier"], b["identifier"]) for a, b in pairs],
    )
    await client.post("/case/1.1/CFPackages", json=body)
    document = body["CFDocument"]["identifier"]
    assert codes((await browser.get(f"/documents/{document}")).text) == ["R"]
    for item in body["CFItems"]:
        page = await browser.get(f"/documents/{document}/items/{item['identifier']}")
        assert page.status_code == 200
        assert page.text.count('aria-selected="true"') <= 1


async def test_children_are_paginated(browser: AsyncClient, client: AsyncClient) -> None:
    parent = factories.packed_item(humanCodingScheme="P")
    children = [factories.packed_item(humanCodingScheme=f"C{number:03}") for number in range(450)]
    links = [factories.association(child["identifier"], parent["identifier"]) for child in children]
    body = factories.package(CFItems=[parent, *children], CFAssociations=links)
    await client.post("/case/1.1/CFPackages", json=body)
    document = body["CFDocument"]["identifier"]
    path, result = f"/documents/{document}/children/{parent['identifier']}", []
    while path:
        page = (await browser.get(path, headers={"X-Fragment": "1"})).text
        result += codes(page)
        next_page = re.search(r'data-more href="([^"]+)"', page)
        path = next_page[1].replace("&amp;", "&") if next_page else ""
    assert result == [f"C{number:03}" for number in range(450)]
    last = (await browser.get(f"/documents/{document}/items/{children[-1]['identifier']}")).text
    assert codes(last)[-1] == "C449"
    assert "250 more" in last


async def test_item_lists_associations_in_words(browser: AsyncClient, client: AsyncClient) -> None:
    first_package, second_package = factories.package(), factories.package()
    second_package["CFDocument"]["title"] = "The other one"
    mine, other = first_package["CFItems"][0], second_package["CFItems"][0]
    outside = factories.association(mine["identifier"], factories.new_id())
    outside["destinationNodeURI"]["uri"] = "javascript:alert(1)"
    pair = (mine["identifier"], other["identifier"])
    replaced = factories.association(*pair, associationType="replacedBy")
    first_package["CFAssociations"] += [replaced, outside]
    for body in (second_package, first_package):
        assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    link = path_of(second_package, other)
    page = (await browser.get(path_of(first_package, mine))).text
    assert "is replaced by" in page
    assert "is the parent of" in page
    assert f'href="{link}"' in page
    assert "in The other one" in page
    assert "not on this server" in page
    assert "javascript:" not in page
    back = (await browser.get(link)).text
    assert "replaces" in back
    assert f"/items/{mine['identifier']}" in back


async def test_item_shows_all_attributes(browser: AsyncClient, client: AsyncClient) -> None:
    body = factories.package()
    item = body["CFItems"][0]
    item |= {
        "fullStatement": "Half is $\\frac{1}{2}$, **always**",
        "CFItemType": "Cluster",
        "educationLevel": ["03", "04"],
        "conceptKeywords": ["halves"],
        "notes": "a note",
    }
    await client.post("/case/1.1/CFPackages", json=body)
    address = path_of(body, item)
    panel = (await browser.get(address, headers={"X-Fragment": "1"})).text
    assert "<mfrac>" in panel
    assert "<strong>always</strong>" in panel
    for html in (">A<", ">Cluster<", "</span>03<", "</span>04<", ">halves<", "a note"):
        assert html in panel, html


async def test_listed_all_shows_all_associations(browser: AsyncClient, client: AsyncClient) -> None:
    centre, *others = [factories.packed_item() for _ in range(311)]
    links = [
        factories.association(centre["identifier"], item["identifier"], associationType="isPeerOf")
        for item in others
    ]
    body = factories.package(CFItems=[centre, *others], CFAssociations=links)
    assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    address = path_of(body, centre)
    few = (await browser.get(address, headers={"X-Fragment": "1"})).text
    assert "10 more associations" in few
    assert f'href="{address}?listed=all"' in few
    every = (await browser.get(f"{address}?listed=all", headers={"X-Fragment": "1"})).text
    assert all(item["identifier"] in every for item in others)
    assert "not listed" not in every


@pytest.mark.parametrize("profile", ["platform", "sdk", "standard", "standard-1.0"])
async def test_json_page_equals_api_response(
    browser: AsyncClient, client: AsyncClient, framework: Body, profile: str
) -> None:
    document, item = framework["CFDocument"]["identifier"], framework["CFItems"][0]["identifier"]
    page = (await browser.get(f"/documents/{document}/items/{item}/json?profile={profile}")).text
    shown = unescape(page.split('<code id="json">')[1].split("</code>")[0])
    url = unescape(page.split('<code id="curl">')[1].split("</code>")[0]).split(" ")[-1]
    response = await client.get(url.removeprefix("http://case.test"))
    assert Response(200, text=shown).json() == response.json()
    assert (f"await client.items.get(&#34;{item}&#34;)" in page) == (profile in {"platform", "sdk"})


async def test_search_results_show_path(browser: AsyncClient, client: AsyncClient) -> None:
    body = factories.package()
    parent, child = body["CFItems"]
    child |= {
        "humanCodingScheme": "3.OA.A.1",
        "fullStatement": "Interpret products",
        "conceptKeywords": ["arrays"],
    }
    await client.post("/case/1.1/CFPackages", json=body)
    document = body["CFDocument"]["identifier"]
    for words in ("3.OA.A.1", "3.oa", "interp", "products 3.oa", "arrays"):
        page = (await browser.get("/search", params={"q": words})).text
        assert f'href="/documents/{document}/items/{child["identifier"]}"' in page
        assert f"</span> {parent['humanCodingScheme']}" in page
    fragment = await browser.get("/search?q=products", headers={"X-Fragment": "1"})
    assert "<html" not in fragment.text
    assert "Interpret products" in fragment.text
    assert "No item contains" in (await browser.get("/search?q=unheard")).text
    assert "No further item contains" in (await browser.get("/search?q=products&offset=20")).text
    elsewhere = factories.package()
    await client.post("/case/1.1/CFPackages", json=elsewhere)
    other = elsewhere["CFDocument"]["identifier"]
    assert "No item contains" in (await browser.get(f"/search?q=3.OA.A.1&document={other}")).text


async def test_comparison_contains_associations_in_both_directions(
    browser: AsyncClient, client: AsyncClient
) -> None:
    left, right = factories.package(), factories.package()
    left["CFItems"][0]["fullStatement"] = "=HYPERLINK(1)"
    pair = [left["CFItems"][0]["identifier"], right["CFItems"][1]["identifier"]]
    replaced = factories.association(*reversed(pair), associationType="replacedBy")
    right["CFAssociations"].append(replaced)
    for body in (left, right):
        assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    both = {"left": left["CFDocument"]["identifier"], "right": right["CFDocument"]["identifier"]}
    page = (await browser.get("/compare", params=both)).text
    assert "replaces" in page
    assert all(f"/items/{identifier}" in page for identifier in pair)
    for side, body, gone in (("left", left, pair[0]), ("right", right, pair[1])):
        alone = (await browser.get("/compare", params={**both, "part": side})).text
        shown = [item["identifier"] in alone for item in body["CFItems"]]
        assert [gone not in alone, *shown].count(True) == 2
    table = await browser.get("/compare.csv", params=both)
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert rows[0][3] == "relation"
    assert rows[1][1:4] == ["'=HYPERLINK(1)", pair[0], "replaces"]
    assert rows[1][6] == pair[1]
    assert len(rows) == 4
    turned = {"left": both["right"], "right": both["left"]}
    assert "is replaced by" in (await browser.get("/compare", params=turned)).text
    same = await browser.get("/compare", params={"left": both["left"], "right": both["left"]})
    assert same.status_code == 400


def find_previous(page: str) -> str:
    return unescape(re.findall('rel="prev" href="([^"]+)"', page)[0])


async def test_page_beyond_the_end_of_a_comparison_keeps_the_total(
    browser: AsyncClient, client: AsyncClient
) -> None:
    left, right = factories.package(), factories.package()
    pair = [left["CFItems"][0]["identifier"], right["CFItems"][1]["identifier"]]
    left["CFAssociations"].append(factories.association(*pair, associationType="isRelatedTo"))
    for body in (right, left):
        assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    both = {"left": left["CFDocument"]["identifier"], "right": right["CFDocument"]["identifier"]}
    for part in ("related", "left", "right"):
        params = {**both, "part": part}
        totals = re.findall(r"count.>(\d+)<", (await browser.get("/compare", params=params)).text)
        page = (await browser.get("/compare", params={**params, "offset": "500"})).text
        assert re.findall(r"count.>(\d+)<", page) == totals == ["1", "1", "1"]
        assert "No association relates" not in page
        assert "Every item is related" not in page
        assert "none from 501 on, 1 in all" in page
        last_page = (await browser.get(find_previous(page))).text
        assert "none from" not in last_page
        assert re.findall(r"count.>(\d+)<", last_page) == totals


async def test_page_beyond_the_end_of_the_frameworks_keeps_the_total(
    browser: AsyncClient, framework: Body
) -> None:
    title = framework["CFDocument"]["title"]
    page = (await browser.get("/", params={"q": title, "offset": "500"})).text
    assert "No framework matches" not in page
    assert "none from 501 on, 1 in all" in page
    assert title in unescape((await browser.get(find_previous(page))).text)
    missing = (await browser.get("/", params={"q": "unheard of", "offset": "500"})).text
    assert "No framework matches" in missing


WRONG = {
    "/documents/unknown": 404,
    "/documents/unknown/items/x": 404,
    "/documents/a%00b": 400,
    "/search?q=a%00b": 400,
    "/?offset=-1": 400,
    "/?offset=many": 400,
    "/compare?left=a&right=b": 404,
    "/compare.csv": 400,
    "/search?q=x&document=unknown": 404,
}


@pytest.mark.parametrize(("path", "status"), WRONG.items())
async def test_errors_are_html_pages(browser: AsyncClient, path: str, status: int) -> None:
    page = await browser.get(path)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert "That did not work" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_offset_beyond_the_tree_shows_no_items(browser: AsyncClient, framework: Body) -> None:
    document, item = framework["CFDocument"]["identifier"], framework["CFItems"][0]["identifier"]
    largest = {"offset": 2**31 - 1}
    for path in (f"/documents/{document}", *children_paths(document, item)):
        page = await browser.get(path, params=largest)
        assert page.status_code == 200
        assert f"/items/{item}" not in page.text


def children_paths(document: str, item: str) -> list[str]:
    return [f"/documents/{document}/children/{node}" for node in (document, item)]


async def test_item_of_other_framework_or_unknown_profile_fails(
    browser: AsyncClient, client: AsyncClient, framework: Body
) -> None:
    other = factories.package()
    await client.post("/case/1.1/CFPackages", json=other)
    document, item = other["CFDocument"]["identifier"], framework["CFItems"][0]["identifier"]
    assert (await browser.get(f"/documents/{document}/items/{item}")).status_code == 404
    path = f"/documents/{document}/json?profile=unheard"
    assert (await browser.get(path)).status_code == 400


async def test_sign_in_page_says_where_client_ids_come_from(anonymous: AsyncClient) -> None:
    page = (await anonymous.get("/sign-in")).text
    assert "CASE_CLIENT_ID" in page
    assert "case-server client add" in page


async def test_static_files_and_docs_are_served_locally(anonymous: AsyncClient) -> None:
    page = (await anonymous.get("/sign-in")).text
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        file = await anonymous.get(address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        plainly = await anonymous.get(address.partition("?")[0])
        assert plainly.headers["cache-control"] == "no-cache"
    missing = await anonymous.get("/static/missing.css")
    assert "/static/missing.css not found: see /docs for" in missing.json()["imsx_description"]
    docs = await anonymous.get("/docs")
    addresses = re.findall(r'(?:src|href)="([^#"]+)"', docs.text)
    assert all(address.startswith("/") for address in addresses)
    files = [address for address in addresses if re.match("/(static|docs/assets)/", address)]
    assert len(files) >= 6
    for address in files:
        assert (await anonymous.get(address)).status_code == 200, address
    assert (await anonymous.get("/docs/assets/other.js")).status_code == 404


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nothing", "/documentz/x", "/docs/guides/sync.md"])
async def test_unknown_path_is_a_page_in_a_browser(anonymous: AsyncClient, path: str) -> None:
    page = await anonymous.get(path, headers=BROWSER)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "Page not found" in page.text
    assert f"There is no page at {path}." in page.text
    assert "style-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/nothing", {}),
        ("/nothing", {"Accept": "application/json"}),
        ("/case/1.1/CFNothing", BROWSER),
        ("/ims/case/v1p0/CFNothing", BROWSER),
        ("/sign-out", BROWSER),
    ],
)
async def test_unknown_route_is_an_error_body_for_api_clients(
    anonymous: AsyncClient, path: str, headers: dict[str, str]
) -> None:
    response = await anonymous.get(path, headers=headers)
    assert response.status_code in {404, 405}
    assert response.json()["imsx_codeMajor"] == "failure"


async def test_no_web_leaves_only_api(settings: Settings, clean: None) -> None:
    async with run_for_visitor(settings, web=False) as browser:
        for path in ("/", "/search", "/upload", "/sign-in", "/compare", "/static/style.css"):
            response = await browser.get(path, headers=BROWSER)
            assert response.status_code == 404, path
            assert response.json()["imsx_codeMajor"] == "failure"
        assert (await browser.get("/docs")).status_code == 200
        assert (await browser.get("/health")).status_code == 200


async def test_search_by_code_returns_item_first(
    browser: AsyncClient, client: AsyncClient, shared: Path
) -> None:
    raw = (shared / "frameworks" / "ccss-math-2010.json").read_bytes()
    assert (await client.post("/case/1.1/CFPackages", content=raw)).status_code == 201
    items = Response(200, content=raw).json()["CFItems"]
    known = [item["humanCodingScheme"] for item in items if item.get("humanCodingScheme")]
    assert "3.OA.A.1" in known
    for code in {"3.OA.A.1", *known[::7]}:
        page = (await browser.get("/search", params={"q": code})).text
        matches = re.findall(r'<span class="code">(.*?)</span>', page)
        assert matches[0] == code
        assert "Standards for Math" in page.split('<p class="way">')[1]
