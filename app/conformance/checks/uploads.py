"""Checks of uploading packages, as the SDK does, and of deleting and restoring by upload."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...formatting import format_count
from ..check import PLATFORM, SDK, SILENT, VENDOR, check
from ..client import ServerUnderTest, build_entity_path
from ..profiles import get_identifiers
from ..responses import Body, CheckSkipped, describe_response, expect, expect_status, read_json

POST = "vendor's OpenAPI, CFPackages"

documented = partial(check, "writing", profiles=SDK, extension_profiles=PLATFORM, writes=True)
"""Register a check of what the vendor's OpenAPI document or SDK defines."""

extension = partial(
    check, "writing", source=SILENT, profiles=(), extension_profiles=VENDOR, writes=True
)
"""Register a check of what only this project defines."""


@documented("upload", POST)
def check_post_package(server: ServerUnderTest) -> str:
    """Check that POST /CFPackages returns 201 with the new framework's identifier and counts."""
    body, response = server.test_data.uploaded_package
    return _expect_upload_result(body, read_json(response, 201))


@documented("upload-read", POST)
def check_uploaded_package_is_returned(server: ServerUnderTest) -> str:
    """Check that an uploaded package is returned with its document, items and associations."""
    body = _upload_shared_package(server)
    package = server.get_package(_package_path(body))
    for collection in ("CFItems", "CFAssociations"):
        returned_identifiers = get_identifiers(package.get(collection) or [])
        is_complete = sorted(returned_identifiers) == sorted(get_identifiers(body[collection]))
        expect(is_complete, f"{collection}: {returned_identifiers}")
    is_same = package["CFDocument"]["title"] == body["CFDocument"]["title"]
    expect(is_same, "the title is different")
    return "2 items, 1 association"


@documented("upload-replace", "vendor's SDK, packages.update")
def check_replace_package(server: ServerUnderTest) -> str:
    """Check that PUT /CFPackages/{document} replaces a framework; omitted items return 404."""
    body = _upload_shared_package(server)
    remaining, left_out = get_identifiers(body["CFItems"])
    reduced = _without_second_item(body)
    response = server.request("PUT", _package_path(body), reduced)
    has_result = response.is_success and response.content
    expect(has_result, f"no upload result: {describe_response(response)}")
    observed = _expect_upload_result(reduced, read_json(response, response.status_code))
    expect_status(server.get(build_entity_path("CFItems", left_out)), 404)
    expect_status(server.get(build_entity_path("CFItems", remaining)), 200)
    return observed


@documented("upload-unknown", "vendor's SDK, packages.upsert")
def check_put_unknown_package(server: ServerUnderTest) -> str:
    """Check that PUT /CFPackages/{document} of an unknown document returns 404 or creates it.

    Either response is correct, because the SDK's ``packages.upsert`` sends a POST after a 404.
    """
    body = server.test_data.build_sample_package()
    response = server.test_data.upload_package(body, "PUT", _package_path(body))
    if response.is_success:
        return _expect_upload_result(body, read_json(response, response.status_code))
    expect_status(response, 404)
    return "404"


@documented("upload-incomplete", POST)
def check_incomplete_package(server: ServerUnderTest) -> str:
    """Check that a package without CFItems or CFAssociations is rejected and deletes nothing."""
    new, stored = server.test_data.build_sample_package(), _upload_shared_package(server)
    requests = (("POST", "/CFPackages", new), ("PUT", _package_path(stored), stored))
    for names in (("CFItems",), ("CFAssociations",), ("CFItems", "CFAssociations")):
        for method, path, body in requests:
            incomplete = {name: value for name, value in body.items() if name not in names}
            response = server.test_data.upload_package(incomplete, method, path)
            observed = f"without {' and '.join(names)} was accepted: {describe_response(response)}"
            expect(response.is_client_error, f"{method} {observed}")
    for identifier in get_identifiers(stored["CFItems"]):
        expect_status(server.get(build_entity_path("CFItems", identifier)), 200)
    return "rejected, and no item is deleted"


@extension("upload-exists")
def check_post_existing_package(server: ServerUnderTest) -> str:
    """Check that POST of a package whose document exists returns 409."""
    expect_status(server.request("POST", "/CFPackages", _upload_shared_package(server)), 409)
    return "409"


@extension("upload-doubled")
def check_duplicate_associations(server: ServerUnderTest) -> str:
    """Check that a package with two associations of the same type between two items returns 422."""
    body = server.test_data.build_sample_package()
    duplicate = {**body["CFAssociations"][0], "identifier": body["CFDocument"]["identifier"]}
    body_with_duplicate = {**body, "CFAssociations": [*body["CFAssociations"], duplicate]}
    expect_status(server.test_data.upload_package(body_with_duplicate), 422)
    return "422"


@extension("upload-problems")
def check_invalid_package_reports_all_problems(server: ServerUnderTest) -> str:
    """Check that an invalid package returns 422 with every problem and its path."""
    body = server.test_data.build_sample_package()
    body["CFDocument"] |= {"title": 5}
    body["CFItems"][0] |= {"fullStatement": None}
    response = server.test_data.upload_package(body)
    details: Any = read_json(response, 422).get("imsx_error_details") or []
    paths = {detail.get("path") for detail in details}
    expected = {"CFDocument.title", "CFItems[0].fullStatement"}
    expect(expected <= paths, f"the problems are at {sorted(map(str, paths))}")
    return "422 and both problems"


@extension("revived")
def check_restore(server: ServerUnderTest) -> str:
    """Check that lists omit a deleted item, and PUT of a package that contains it restores it."""
    body = _upload_shared_package(server)
    deleted_identifier = body["CFItems"][1]["identifier"]
    expect_status(server.request("PUT", _package_path(body), _without_second_item(body)), 200)
    page = server.get_page("CFItems", filter=f"identifier='{deleted_identifier}'")
    expect(not page.entities, "a deleted item is in the list of items")
    expect_status(server.get(build_entity_path("CFItems", deleted_identifier)), 404)
    expect_status(server.request("PUT", _package_path(body), body), 200)
    expect_status(server.get(build_entity_path("CFItems", deleted_identifier)), 200)
    return "404, then 200"


@extension("no-json")
def check_non_object_body(server: ServerUnderTest) -> str:
    """Check that a body that is not a JSON object returns 400."""
    identifier = server.test_data.build_document()["identifier"]
    expect_status(server.request("PUT", build_entity_path("CFDocuments", identifier), []), 400)
    return "400"


def _upload_shared_package(server: ServerUnderTest) -> Body:
    """Replace the package that all upload checks share by PUT; return its JSON as a dict.

    On its first use, the package is created with POST. Raises ``CheckSkipped`` if the server
    rejected the POST.
    """
    body, first_response = server.test_data.uploaded_package
    if not first_response.is_success:
        raise CheckSkipped(f"could not upload a package: POST {describe_response(first_response)}")
    server.test_data.upload_package(body, "PUT", _package_path(body))
    return body


def _package_path(body: Body) -> str:
    return build_entity_path("CFPackages", body["CFDocument"]["identifier"])


def _without_second_item(body: Body) -> Body:
    return {**body, "CFItems": body["CFItems"][:1], "CFAssociations": []}


def _expect_upload_result(uploaded_body: Body, body: Body) -> str:
    """Raise ``CheckFailed`` unless a response states the identifier and counts of a package.

    ``uploaded_body`` is the uploaded package, and ``body`` the JSON of the response. Returns its
    counts as a string for the report: "2 items, 1 association".
    """
    expect(body.get("success") is True, f"success is {body.get('success')!r}")
    expect(isinstance(body.get("message"), str), f"message is {body.get('message')!r}")
    result: Any = body.get("result")
    expect(isinstance(result, dict), f"result is {result!r}")
    identifier = uploaded_body["CFDocument"]["identifier"]
    expect(result.get("documentId") == identifier, f"documentId is {result.get('documentId')!r}")
    stats = result.get("stats") or {}
    counts = {name: stats.get(name) for name in ("items", "associations")}
    expected = {
        "items": len(uploaded_body["CFItems"]),
        "associations": len(uploaded_body["CFAssociations"]),
    }
    expect(counts == expected, f"sent {expected}, counted {counts}")
    return ", ".join(format_count(count, kind[:-1]) for kind, count in expected.items())
