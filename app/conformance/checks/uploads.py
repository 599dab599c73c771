"""Writing whole packages, as the SDK does, and what this project says of deleting and reviving."""

from __future__ import annotations

from typing import Any

import httpx

from ..check import PLATFORM, SDK, VENDOR, Check
from ..client import (
    Body,
    ServerUnderTest,
    Skip,
    describe,
    entity_path,
    expect,
    expect_status,
    identifiers_of,
    read_json,
)


def post(server: ServerUnderTest) -> str:
    """POST /CFPackages creates a framework: 201, with the document's identifier and counts."""
    body, response = server.test_data.package()
    return _result(body, read_json(response, 201))


def replace(server: ServerUnderTest) -> str:
    """PUT /CFPackages/{document} replaces a framework: what was left out is gone, 404."""
    body = _uploaded(server)
    left_out = body["CFItems"][1]["identifier"]
    less = {**body, "CFItems": body["CFItems"][:1], "CFAssociations": []}
    response = server.request(
        "PUT", entity_path("CFPackages", body["CFDocument"]["identifier"]), less
    )
    expect(response.is_success and response.content, f"it {describe(response)}, not a result")
    told = _result(less, read_json(response, response.status_code))
    expect_status(server.get(entity_path("CFItems", left_out)), 404)
    expect_status(server.get(entity_path("CFItems", body["CFItems"][0]["identifier"])), 200)
    return told


def unknown(server: ServerUnderTest) -> str:
    """PUT of a package whose document is unknown is answered with 404, or creates it.

    The SDK's upsert creates it after a 404, and goes on in both cases.
    """
    body = server.test_data.new_package()
    path = entity_path("CFPackages", body["CFDocument"]["identifier"])
    response = _sent(server, "PUT", path, body)
    if response.is_success:
        return _result(body, read_json(response, response.status_code))
    expect_status(response, 404)
    return "404"


def read_back(server: ServerUnderTest) -> str:
    """What was uploaded comes back: document, items and associations."""
    body = _uploaded(server)
    whole = read_json(server.get(entity_path("CFPackages", body["CFDocument"]["identifier"])))
    found = whole.get("CFPackage", whole)
    for plural in ("CFItems", "CFAssociations"):
        got = identifiers_of(found.get(plural) or [])
        expect(sorted(got) == sorted(identifiers_of(body[plural])), f"{plural}: {got}")
    expect(found["CFDocument"]["title"] == body["CFDocument"]["title"], "the title differs")
    return "2 items, 1 association"


def exists(server: ServerUnderTest) -> str:
    """POST of a package whose document exists is answered with 409."""
    body = _uploaded(server)
    expect_status(server.request("POST", "/CFPackages", body), 409)
    return "409"


def revived(server: ServerUnderTest) -> str:
    """What was deleted softly is in no list, and is there again when it is put again."""
    body = _uploaded(server)
    own = entity_path("CFPackages", body["CFDocument"]["identifier"])
    lost = body["CFItems"][1]["identifier"]
    less = {**body, "CFItems": body["CFItems"][:1], "CFAssociations": []}
    expect_status(server.request("PUT", own, less), 200)
    found = server.get_page("CFItems", filter=f"identifier='{lost}'")
    expect(not found.entities, "a deleted item is in the list of items")
    expect_status(server.get(entity_path("CFItems", lost)), 404)
    expect_status(server.request("PUT", own, body), 200)
    expect_status(server.get(entity_path("CFItems", lost)), 200)
    return "404, then 200"


def twice_the_same(server: ServerUnderTest) -> str:
    """An upload with two associations of one type between the same items is refused with 422."""
    body = server.test_data.new_package()
    same = {**body["CFAssociations"][0], "identifier": body["CFDocument"]["identifier"]}
    doubled = {**body, "CFAssociations": [*body["CFAssociations"], same]}
    response = _sent(server, "POST", "/CFPackages", doubled)
    expect_status(response, 422)
    return "422"


def every_problem(server: ServerUnderTest) -> str:
    """A body that breaks the model is answered with 422 and every problem with its path."""
    body = server.test_data.new_package()
    body["CFDocument"] |= {"title": 5}
    body["CFItems"][0] |= {"fullStatement": None}
    response = _sent(server, "POST", "/CFPackages", body)
    told: Any = read_json(response, 422).get("imsx_error_details") or []
    paths = {one.get("path") for one in told}
    wanted = {"CFDocument.title", "CFItems[0].fullStatement"}
    expect(wanted <= paths, f"the problems are at {sorted(map(str, paths))}")
    return "422 and both problems"


def incomplete(server: ServerUnderTest) -> str:
    """A package without CFItems or CFAssociations is refused, and nothing of it is deleted."""
    new, stored = server.test_data.new_package(), _uploaded(server)
    path = entity_path("CFPackages", stored["CFDocument"]["identifier"])
    for names in (("CFItems",), ("CFAssociations",), ("CFItems", "CFAssociations")):
        for method, where, body in (("POST", "/CFPackages", new), ("PUT", path, stored)):
            sent = {name: value for name, value in body.items() if name not in names}
            response = server.request(method, where, sent)
            if response.is_success:
                server.test_data.remember_package(body)
            without = f"{method} without {' and '.join(names)}"
            expect(
                response.is_client_error,
                f"{without} was not refused: it {describe(response)}",
            )
    for item in stored["CFItems"]:
        expect_status(server.get(entity_path("CFItems", item["identifier"])), 200)
    return "refused, and every item is still there"


def no_json(server: ServerUnderTest) -> str:
    """A body that is no JSON object is answered with 400."""
    document = server.test_data.new_document()
    expect_status(
        server.request("PUT", entity_path("CFDocuments", document["identifier"]), []), 400
    )
    return "400"


def _uploaded(server: ServerUnderTest) -> Body:
    """The framework that was uploaded, whole again."""
    body, response = server.test_data.package()
    if not response.is_success:
        raise Skip(f"no package could be uploaded: POST {describe(response)}")
    again = server.request("PUT", entity_path("CFPackages", body["CFDocument"]["identifier"]), body)
    if again.is_success:
        server.test_data.remember_package(body)
    return body


def _sent(server: ServerUnderTest, method: str, path: str, body: Body) -> httpx.Response:
    """What a package that is to be refused was answered with; else it is remembered."""
    response = server.request(method, path, body)
    if response.is_success:
        server.test_data.remember_package(body)
    return response


def _result(sent: Body, told: Body) -> str:
    """That an upload's result has the shape the SDK reads, and counts what was sent."""
    expect(told.get("success") is True, f"success is {told.get('success')!r}")
    expect(isinstance(told.get("message"), str), f"message is {told.get('message')!r}")
    result: Any = told.get("result")
    expect(isinstance(result, dict), f"result is {result!r}")
    document = sent["CFDocument"]["identifier"]
    expect(result.get("documentId") == document, f"documentId is {result.get('documentId')!r}")
    stats = result.get("stats") or {}
    counted = {name: stats.get(name) for name in ("items", "associations")}
    real = {"items": len(sent["CFItems"]), "associations": len(sent["CFAssociations"])}
    expect(counted == real, f"sent {real}, counted {counted}")
    return f"{real['items']} items, {real['associations']} associations"


SILENT = "README, Where the public sources are silent"
POST = "vendor's OpenAPI, CFPackages"
REPLACE = "vendor's SDK, packages.update"

CHECKS = (
    Check("upload", "writing", POST, post, SDK, PLATFORM, writes=True),
    Check("upload-read", "writing", POST, read_back, SDK, PLATFORM, writes=True),
    Check("upload-replace", "writing", REPLACE, replace, SDK, PLATFORM, writes=True),
    Check(
        "upload-unknown",
        "writing",
        "vendor's SDK, packages.upsert",
        unknown,
        SDK,
        PLATFORM,
        writes=True,
    ),
    Check("upload-incomplete", "writing", POST, incomplete, SDK, PLATFORM, writes=True),
    Check("upload-exists", "writing", SILENT, exists, (), VENDOR, writes=True),
    Check("upload-doubled", "writing", SILENT, twice_the_same, (), VENDOR, writes=True),
    Check("upload-problems", "writing", SILENT, every_problem, (), VENDOR, writes=True),
    Check("revived", "writing", SILENT, revived, (), VENDOR, writes=True),
    Check("no-json", "writing", SILENT, no_json, (), VENDOR, writes=True),
)
