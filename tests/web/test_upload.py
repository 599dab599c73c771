"""The upload: report, confirmation, storing, and errors."""

import gzip
import hashlib
import re
from html import unescape
from typing import Any

import orjson
from httpx import AsyncClient, Response
from support import factories


async def send(browser: AsyncClient, step: str, raw: bytes, **fields: str) -> Response:
    files = {"file": ("framework.json", raw)}
    return await browser.post(f"/upload/{step}", data=fields, files=files)


def digest(page: str) -> str:
    match = re.search(r'name="checked" value="(\w+)"', page)
    assert match, page
    return match[1]


async def number_of_frameworks(client: AsyncClient) -> int:
    return int((await client.get("/case/1.1/CFDocuments")).json()["total"])


async def test_valid_file_is_stored_after_check(browser: AsyncClient, client: AsyncClient) -> None:
    body = factories.package()
    raw = orjson.dumps(body)
    report = await send(browser, "check", raw)
    assert report.status_code == 200
    assert "2 items and 1 association," in report.text
    assert "4 added, 0 changed, 0 unchanged, 0 deleted" in report.text
    assert "file is valid" in report.text
    assert "framework is new" in report.text
    assert await number_of_frameworks(client) == 0
    stored = await send(browser, "store", raw, checked=digest(report.text))
    assert stored.status_code == 303
    assert stored.headers["location"] == f"/documents/{body['CFDocument']['identifier']}"
    assert (await browser.get(stored.headers["location"])).status_code == 200
    again = await send(browser, "check", raw)
    assert "exists already, with 2 items" in again.text


async def test_report_lists_changes(browser: AsyncClient, client: AsyncClient) -> None:
    body: Any = factories.package()
    document = body["CFDocument"]["identifier"]
    stays, goes = body["CFItems"]
    stays |= {"fullStatement": "the old statement", "notes": "old notes"}
    goes |= {"fullStatement": "what goes"}
    assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    same = await send(browser, "check", orjson.dumps(body))
    assert "Nothing in the framework, its items and its associations" in same.text
    comes = factories.packed_item(humanCodingScheme="NEW", fullStatement="what <script>comes")
    stays |= {"fullStatement": "the new statement", "language": "en"}
    link = factories.association(comes["identifier"], stays["identifier"])
    body |= {"CFItems": [stays, comes], "CFAssociations": [link]}
    raw = orjson.dumps(body)
    report = (await send(browser, "check", raw)).text
    totals = re.findall(r'(Added|Changed|Deleted) <span class="count">(\d+)', report)
    assert totals == [("Added", "2"), ("Changed", "1"), ("Deleted", "2")]
    added, changed, deleted = report.split("<details")[1:]
    assert "what &lt;script&gt;comes" in added
    assert "is a child of" in added
    assert "the new statement" in changed
    assert "in fullStatement, language; previously:" in changed
    assert "the old statement" in changed
    assert "what goes" in deleted
    assert "what goes" in (await client.get(f"/case/1.1/CFPackages/{document}")).text
    # The counts in the report equal the changes in the history.
    await send(browser, "store", raw, checked=digest(report))
    changes = (await browser.get(f"/documents/{document}/changes")).text
    counts = re.findall(r'(Added|Changed|Deleted) <span class="count">(\d+)', changes)
    assert counts == totals


async def test_report_lists_repairs(browser: AsyncClient, client: AsyncClient) -> None:
    body: Any = factories.package()
    body["CFItems"][0] |= {"educationLevel": "03", "notes": None}
    raw = orjson.dumps(body)
    report = await send(browser, "check", raw)
    assert "What will be repaired" in report.text
    assert "CFItems[0].educationLevel" in report.text
    await send(browser, "store", raw, checked=digest(report.text))
    item = (await client.get(f"/case/1.1/CFItems/{body['CFItems'][0]['identifier']}")).json()
    assert item["educationLevel"] == ["03"]


async def test_invalid_file_is_not_stored(browser: AsyncClient, client: AsyncClient) -> None:
    body: Any = factories.package()
    body["CFItems"][0]["lastChangeDateTime"] = "yesterday"
    body["CFItems"][1]["fullStatement"] = 7 * ["<script>"]
    for raw, message in (
        (orjson.dumps(body), "CFItems[0].lastChangeDateTime"),
        (orjson.dumps(body), "CFItems[1].fullStatement"),
        (b"not JSON", "the file is not JSON"),
        (b"[]", "the file must be a JSON object"),
        (b"", "the file is not JSON"),
        (gzip.compress(b"{}"), "the file is compressed with gzip: decompress it"),
    ):
        report = await send(browser, "check", raw)
        assert message in report.text
        assert "The file cannot be stored" in report.text
        assert 'name="checked"' not in report.text
        refused = await send(browser, "store", raw, checked="anything")
        assert refused.status_code == 422
        assert message in refused.text
    assert await number_of_frameworks(client) == 0


async def test_unchecked_file_returns_409(browser: AsyncClient, client: AsyncClient) -> None:
    first, other = (orjson.dumps(factories.package()) for _ in range(2))
    report = await send(browser, "check", first)
    for checked in ({}, {"checked": "made up"}, {"checked": digest(report.text)}):
        refused = await send(browser, "store", other, **checked)
        assert refused.status_code == 409
        assert "framework is new" in refused.text
    assert await number_of_frameworks(client) == 0


async def test_identifier_of_other_returns_409(browser: AsyncClient, client: AsyncClient) -> None:
    body = factories.package()
    await client.post("/case/1.1/CFPackages", json=body)
    body["CFDocument"] = factories.package()["CFDocument"]
    raw = orjson.dumps(body)
    report = await send(browser, "check", raw)
    assert "belongs to document" in report.text
    assert 'name="checked"' not in report.text
    checked = hashlib.sha256(raw).hexdigest()
    refused = await send(browser, "store", raw, checked=checked)
    assert refused.status_code == 409
    assert "belongs to document" in refused.text
    assert await number_of_frameworks(client) == 1


async def test_large_loss_must_be_confirmed(browser: AsyncClient, client: AsyncClient) -> None:
    items = [factories.packed_item() for _ in range(4)]
    body = factories.package(CFItems=items, CFAssociations=[])
    path = f"/case/1.1/CFPackages/{body['CFDocument']['identifier']}"
    assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201

    async def stored() -> int:
        return len((await client.get(path)).json()["CFItems"])

    body["CFItems"] = items[:1]
    raw = orjson.dumps(body)
    report = await send(browser, "check", raw)
    assert "0 added, 0 changed, 2 unchanged, 3 deleted" in report.text
    assert "Storing this file will delete 3 of the 4 items stored" in report.text
    checked, loss = digest(report.text), confirmation(report.text)
    for fields in ({}, {"confirmed_loss": ""}, {"confirmed_loss": "delete 1 of the 4 items"}):
        refused = await send(browser, "store", raw, checked=checked, **fields)
        assert refused.status_code == 409
        assert confirmation(refused.text) == loss
        assert await stored() == 4
    # After the confirmation, another client deleted one.
    body["CFItems"] = items[:3]
    assert (await client.put(path, json=body)).status_code == 200
    refused = await send(browser, "store", raw, checked=checked, confirmed_loss=loss)
    assert refused.status_code == 409
    assert await stored() == 3
    loss = confirmation(refused.text)
    assert "2 of the 3" in loss
    done = await send(browser, "store", raw, checked=checked, confirmed_loss=loss)
    assert done.status_code == 303
    assert await stored() == 1


async def test_small_loss_needs_no_confirmation(browser: AsyncClient, client: AsyncClient) -> None:
    body = factories.package(CFAssociations=[])
    assert (await client.post("/case/1.1/CFPackages", json=body)).status_code == 201
    del body["CFItems"][1], body["CFAssociations"]
    raw = orjson.dumps(body)
    report = await send(browser, "check", raw)
    assert "0 added, 0 changed, 2 unchanged, 1 deleted" in report.text
    assert "confirmed_loss" not in report.text
    done = await send(browser, "store", raw, checked=digest(report.text))
    assert done.status_code == 303


def confirmation(page: str) -> str:
    match = re.search(r'name="confirmed_loss" value="([^"]+)"', page)
    assert match, page
    return unescape(match[1])


async def test_oversized_and_malformed_forms_fail(local: AsyncClient) -> None:
    response = await send(local, "check", b" " * 1_100_000)
    assert response.status_code == 413
    assert "1 MB" in response.text
    assert (await local.post("/upload/check")).status_code == 400
    odd = {"Content-Type": "multipart/form-data"}
    assert (await local.post("/upload/check", content=b"x", headers=odd)).status_code == 400
    nameless = {"file": ("", b"{}")}
    response = await local.post("/upload/check", files=nameless)
    assert response.status_code == 400
