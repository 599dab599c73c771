"""The changes of a framework between two states."""

import csv
import io
import re
from datetime import datetime
from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.factories import Body


@pytest.fixture
async def history(client: AsyncClient) -> Body:
    """Write a framework three times: create it, replace half of it, put one item."""
    body = factories.package()
    item, gone = body["CFItems"]
    item |= {"humanCodingScheme": "K", "fullStatement": "stays"}
    gone |= {"humanCodingScheme": "G", "fullStatement": "=goes"}
    assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    new = factories.packed_item(humanCodingScheme="N", fullStatement="<b>comes</b>")
    body |= {
        "CFItems": [item, new],
        "CFAssociations": [factories.association(new["identifier"], item["identifier"])],
    }
    document = body["CFDocument"]["identifier"]
    put = await client.put(f"/case/1.1/CFPackages/{document}", json=body)
    assert put.status_code == 200, put.text
    changed_item = factories.item(document, item["identifier"], fullStatement="stays, changed")
    put = await client.put(f"/case/1.1/CFItems/{item['identifier']}", json={"item": changed_item})
    assert put.status_code == 201, put.text
    return {"document": document, "item": item, "gone": gone, "new": new}


def address(history: Body, name: str = "changes") -> str:
    return f"/documents/{history['document']}/{name}"


async def states(browser: AsyncClient, history: Body) -> list[str]:
    """Return the states that the page offers as start, oldest first."""
    page = (await browser.get(address(history))).text
    select = page.split('<select id="since"')[1].split("</select>")[0]
    return list(reversed(re.findall(r'value="([^"]+)"', select)[1:]))


def counts(page: str) -> dict[str, int]:
    matches = re.findall(r'(\w+) <span class="count">([\d,]+)</span>', page)
    return {name: int(count) for name, count in matches}


async def test_latest_write_is_default_period(browser: AsyncClient, history: Body) -> None:
    framework = (await browser.get(f"/documents/{history['document']}")).text
    assert f'href="{address(history)}"' in framework
    page = (await browser.get(address(history))).text
    assert counts(page) == {"Added": 0, "Changed": 1, "Deleted": 0}
    assert "stays, changed" in page
    assert f"/items/{history['item']['identifier']}" in page
    assert "but not previous values" in page


async def test_page_beyond_the_end_shows_the_number_of_changes(
    browser: AsyncClient, history: Body
) -> None:
    page = (await browser.get(address(history), params={"offset": "500"})).text
    assert counts(page) == {"Added": 0, "Changed": 1, "Deleted": 0}
    assert "Nothing was changed" not in page
    assert "none from 501 on, 1 in all" in page


async def test_period_between_two_states_selects_the_changes(
    browser: AsyncClient, history: Body
) -> None:
    creation, exchanged, put = await states(browser, history)
    for since, until, expected in (
        ("start", creation, (4, 0, 0)),  # the document, two items, an association
        (creation, exchanged, (2, 0, 2)),
        (exchanged, put, (0, 1, 0)),
        (creation, "", (2, 1, 2)),
        ("start", "", (4, 0, 0)),  # what came and went is left out
    ):
        page = await browser.get(address(history), params={"since": since, "until": until})
        assert tuple(counts(page.text).values()) == expected, (since, until)
        chosen = re.findall(r'<option value="([^"]*)" selected>', page.text)
        assert chosen == [bound for bound in (since, until) if bound not in {"start", ""}]


async def test_deleted_entities_show_last_values(browser: AsyncClient, history: Body) -> None:
    creation = (await states(browser, history))[0]
    params = {"since": creation, "part": "deleted"}
    deleted = (await browser.get(address(history), params=params)).text
    assert "=goes" in deleted
    assert history["gone"]["identifier"] not in deleted  # no link to what is not here
    assert deleted.count("<code>") == 1  # the association, of which nothing is left
    added = (await browser.get(address(history), params={"since": creation, "part": "added"})).text
    assert "<b>comes</b>" in added  # a mark on a word, as in every statement
    assert "is a child of" in added
    assert added.count(f"/items/{history['new']['identifier']}") == 2


async def test_restored_entity_counts_as_added(
    browser: AsyncClient, client: AsyncClient, history: Body
) -> None:
    before = (await states(browser, history))[-1]
    gone = factories.item(history["document"], history["gone"]["identifier"])
    path = f"/case/1.1/CFItems/{gone['identifier']}"
    assert (await client.put(path, json={"item": gone})).status_code == 201
    page = await browser.get(address(history), params={"since": before})
    assert counts(page.text) == {"Added": 1, "Changed": 0, "Deleted": 0}
    creation, exchanged = (await states(browser, history))[:2]
    params = {"since": creation, "until": exchanged, "part": "deleted"}
    assert "restored since" in (await browser.get(address(history), params=params)).text


async def test_moved_item_is_listed_as_deleted_since(
    browser: AsyncClient, client: AsyncClient, history: Body
) -> None:
    other = factories.package()
    assert (await client.post("/case/1.1/CFPackages", json=other)).status_code == 201
    moved = factories.item(other["CFDocument"]["identifier"], history["item"]["identifier"])
    path = f"/case/1.1/CFItems/{moved['identifier']}"
    assert (await client.put(path, json={"item": moved})).status_code == 201
    params = {"since": "start", "part": "added"}
    page = (await browser.get(address(history), params=params)).text
    assert page.count("deleted since") == 1
    there = {"document": other["CFDocument"]["identifier"]}
    assert counts((await browser.get(address(there))).text)["Changed"] == 1


async def test_csv_contains_all_changes(browser: AsyncClient, history: Body) -> None:
    creation = (await states(browser, history))[0]
    page = (await browser.get(address(history), params={"since": creation})).text
    link = re.search(r'href="([^"]+changes\.csv[^"]*)" download', page)
    assert link
    table = await browser.get(link[1].replace("&amp;", "&"))
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert [(row["change"], row["kind"]) for row in rows] == [
        ("added", "item"),
        ("added", "association"),
        ("changed", "item"),
        ("deleted", "item"),
        ("deleted", "association"),
    ]
    assert rows[3]["statement"] == "'=goes"
    assert [row["exists"] for row in rows] == ["yes", "yes", "yes", "no", "no"]
    assert all(datetime.fromisoformat(row["changed at"]) for row in rows)


async def test_long_lists_are_paginated(browser: AsyncClient, client: AsyncClient) -> None:
    items = [factories.packed_item(humanCodingScheme=f"C{number:03}") for number in range(230)]
    body = factories.package(CFItems=items, CFAssociations=[])
    await client.post("/case/1.1/CFPackages", json=body)
    path: str = f"/documents/{body['CFDocument']['identifier']}/changes"
    results: list[str] = []
    while path:
        page = (await browser.get(path)).text
        assert counts(page) == {"Added": 231, "Changed": 0, "Deleted": 0}
        results += re.findall(r'<span class="code">(C\d+)</span>', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert results == [f"C{number:03}" for number in range(230)]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"since": "yesterday"}, "invalid timestamp"),
        ({"until": "2026-13-01"}, "invalid timestamp"),
        ({"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "is not before"),
        ({"since": "0001-01-01T00:00:00+23:00"}, "invalid timestamp"),
        ({"until": "9999-12-31T23:59:59-23:00"}, "invalid timestamp"),
        ({"offset": "-1"}, "offset"),
    ],
)
async def test_invalid_period_returns_400(
    browser: AsyncClient, history: Body, params: dict[str, Any], message: str
) -> None:
    page = await browser.get(address(history), params=params)
    assert page.status_code == 400
    assert message in page.text


async def test_custom_timestamps_are_accepted(browser: AsyncClient, history: Body) -> None:
    for since in ("2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00"):
        page = await browser.get(address(history), params={"since": since})
        assert counts(page.text)["Added"] == 4
        assert f'<option value="{since}" selected>' in page.text
    assert (await browser.get("/documents/unknown/changes")).status_code == 404
    assert (await browser.get("/documents/unknown/changes.csv")).status_code == 404
