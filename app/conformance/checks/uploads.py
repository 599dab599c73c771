"""Writing whole packages, as the SDK does, and what this project says of deleting and reviving."""

from __future__ import annotations

from typing import Any

import httpx

from ..check import PLATFORM, SDK, VENDOR, Check
from ..client import Body, ServerUnderTest, Skip, expect, expect_status, ids, json_of, path_of, seen


def post(target: ServerUnderTest) -> str:
    """POST /CFPackages creates a framework: 201, with the document's identifier and counts."""
    body, answer = target.workshop.package()
    return _result(body, json_of(answer, 201))


def replace(target: ServerUnderTest) -> str:
    """PUT /CFPackages/{document} replaces a framework: what was left out is gone, 404."""
    body = _uploaded(target)
    left_out = body["CFItems"][1]["identifier"]
    less = {**body, "CFItems": body["CFItems"][:1], "CFAssociations": []}
    answer = target.send("PUT", path_of("CFPackages", body["CFDocument"]["identifier"]), less)
    expect(answer.is_success and answer.content, f"it {seen(answer)}, not a result")
    told = _result(less, json_of(answer, answer.status_code))
    expect_status(target.get(path_of("CFItems", left_out)), 404)
    expect_status(target.get(path_of("CFItems", body["CFItems"][0]["identifier"])), 200)
    return told


def unknown(target: ServerUnderTest) -> str:
    """PUT of a package whose document is unknown is answered with 404, or creates it.

    The SDK's upsert creates it after a 404, and goes on in both cases.
    """
    body = target.workshop.new_package()
    path = path_of("CFPackages", body["CFDocument"]["identifier"])
    answer = _sent(target, "PUT", path, body)
    if answer.is_success:
        return _result(body, json_of(answer, answer.status_code))
    expect_status(answer, 404)
    return "404"


def read_back(target: ServerUnderTest) -> str:
    """What was uploaded comes back: document, items and associations."""
    body = _uploaded(target)
    whole = json_of(target.get(path_of("CFPackages", body["CFDocument"]["identifier"])))
    found = whole.get("CFPackage", whole)
    for plural in ("CFItems", "CFAssociations"):
        got = ids(found.get(plural) or [])
        expect(sorted(got) == sorted(ids(body[plural])), f"{plural}: {got}")
    expect(found["CFDocument"]["title"] == body["CFDocument"]["title"], "the title differs")
    return "2 items, 1 association"


def exists(target: ServerUnderTest) -> str:
    """POST of a package whose document exists is answered with 409."""
    body = _uploaded(target)
    expect_status(target.send("POST", "/CFPackages", body), 409)
    return "409"


def revived(target: ServerUnderTest) -> str:
    """What was deleted softly is in no list, and is there again when it is put again."""
    body = _uploaded(target)
    own = path_of("CFPackages", body["CFDocument"]["identifier"])
    lost = body["CFItems"][1]["identifier"]
    less = {**body, "CFItems": body["CFItems"][:1], "CFAssociations": []}
    expect_status(target.send("PUT", own, less), 200)
    found = target.page("CFItems", filter=f"identifier='{lost}'")
    expect(not found.entities, "a deleted item is in the list of items")
    expect_status(target.get(path_of("CFItems", lost)), 404)
    expect_status(target.send("PUT", own, body), 200)
    expect_status(target.get(path_of("CFItems", lost)), 200)
    return "404, then 200"


def twice_the_same(target: ServerUnderTest) -> str:
    """An upload with two associations of one type between the same items is refused with 422."""
    body = target.workshop.new_package()
    same = {**body["CFAssociations"][0], "identifier": body["CFDocument"]["identifier"]}
    doubled = {**body, "CFAssociations": [*body["CFAssociations"], same]}
    answer = _sent(target, "POST", "/CFPackages", doubled)
    expect_status(answer, 422)
    return "422"


def every_problem(target: ServerUnderTest) -> str:
    """A body that breaks the model is answered with 422 and every problem with its path."""
    body = target.workshop.new_package()
    body["CFDocument"] |= {"title": 5}
    body["CFItems"][0] |= {"fullStatement": None}
    answer = _sent(target, "POST", "/CFPackages", body)
    told: Any = json_of(answer, 422).get("imsx_error_details") or []
    paths = {one.get("path") for one in told}
    wanted = {"CFDocument.title", "CFItems[0].fullStatement"}
    expect(wanted <= paths, f"the problems are at {sorted(map(str, paths))}")
    return "422 and both problems"


def incomplete(target: ServerUnderTest) -> str:
    """A package without CFItems or CFAssociations is refused, and nothing of it is deleted."""
    new, stored = target.workshop.new_package(), _uploaded(target)
    path = path_of("CFPackages", stored["CFDocument"]["identifier"])
    for names in (("CFItems",), ("CFAssociations",), ("CFItems", "CFAssociations")):
        for method, where, body in (("POST", "/CFPackages", new), ("PUT", path, stored)):
            sent = {name: value for name, value in body.items() if name not in names}
            answer = target.send(method, where, sent)
            if answer.is_success:
                target.workshop.uploaded(body)
            without = f"{method} without {' and '.join(names)}"
            expect(answer.is_client_error, f"{without} was not refused: it {seen(answer)}")
    for item in stored["CFItems"]:
        expect_status(target.get(path_of("CFItems", item["identifier"])), 200)
    return "refused, and every item is still there"


def no_json(target: ServerUnderTest) -> str:
    """A body that is no JSON object is answered with 400."""
    document = target.workshop.new_document()
    expect_status(target.send("PUT", path_of("CFDocuments", document["identifier"]), []), 400)
    return "400"


def _uploaded(target: ServerUnderTest) -> Body:
    """The framework that was uploaded, whole again."""
    body, answer = target.workshop.package()
    if not answer.is_success:
        raise Skip(f"no package could be uploaded: POST {seen(answer)}")
    again = target.send("PUT", path_of("CFPackages", body["CFDocument"]["identifier"]), body)
    if again.is_success:
        target.workshop.uploaded(body)
    return body


def _sent(target: ServerUnderTest, method: str, path: str, body: Body) -> httpx.Response:
    """What a package that is to be refused was answered with; else it is remembered."""
    answer = target.send(method, path, body)
    if answer.is_success:
        target.workshop.uploaded(body)
    return answer


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
