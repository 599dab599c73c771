"""Checks of packages: a whole framework in one response, and as a tree of groups."""

from __future__ import annotations

from typing import Any

from ..check import ALL, PLATFORM, SDK, SILENT, STANDARD, check
from ..client import ServerUnderTest, build_entity_path
from ..profiles import get_identifier
from ..responses import (
    CheckFailed,
    describe_response,
    expect,
    expect_status,
    format_excerpt,
    read_json,
)
from ..validation import expect_valid

MAX_DEPTH = 50

GUIDE = "guide, Retrieve the full package"
PACKAGE = f"{GUIDE}; vendor's OpenAPI, CFPackages; binding, getCFPackage"
ARRAYS = f"{GUIDE}; implementation guide, CFPackage"
BY_DOCUMENT = "vendor's OpenAPI, CFPackages; binding, section 5.6.1"


@check("packages", "package", PACKAGE)
def check_package_document(server: ServerUnderTest) -> str:
    """Check that the package of a document contains that document."""
    document = server.existing.sample_document
    contained = server.get_package(server.existing.get_package_path(document)).get("CFDocument")
    identifier = get_identifier(document)
    is_same = get_identifier(contained) == identifier
    expect(is_same, f"its CFDocument is {format_excerpt(contained)}, not {identifier}")
    return f"the package of {identifier}"


@check("packages", "package-valid", PACKAGE)
def check_package_valid(server: ServerUnderTest) -> str:
    """Check that the entities in a package have all required fields, with the right types."""
    package = server.existing.sample_package
    expect_valid(server.profile, "CFPackage", package)
    associations = package.get("CFAssociations") or ()
    return f"{len(package['CFItems'])} items, {len(associations)} associations"


@check(
    "packages", "package-arrays", ARRAYS, profiles=(*PLATFORM, *STANDARD), extension_profiles=SDK
)
def check_package_contents(server: ServerUnderTest) -> str:
    """Check that a package contains its items and associations in CFItems and CFAssociations."""
    package = server.existing.sample_package
    names = ("CFItems", "CFAssociations")
    missing_lists = [name for name in names if not isinstance(package.get(name), list)]
    expect(not missing_lists, f"no array {', '.join(missing_lists)}")
    return ", ".join(names)


@check("packages", "package-definitions", GUIDE, profiles=PLATFORM, extension_profiles=SDK)
def check_package_definitions(server: ServerUnderTest) -> str:
    """Check that a package has the fields CFDefinitions and CFRubrics, even if they are empty."""
    names = ("CFDefinitions", "CFRubrics")
    missing_fields = [name for name in names if name not in server.existing.sample_package]
    expect(not missing_fields, f"no {', '.join(missing_fields)}")
    return ", ".join(names)


@check("packages", "package-links", "binding, CFPckg classes", profiles=STANDARD)
def check_no_container_links(server: ServerUnderTest) -> str:
    """Check that entities in a package have no link to the containing document or package."""
    package = server.existing.sample_package
    associations = package.get("CFAssociations") or ()
    entities = [package.get("CFDocument"), *package["CFItems"], *associations]
    links = {"CFPackageURI", "CFDocumentURI"}
    linked_entities = [entity for entity in entities if links & (entity or {}).keys()]
    expect(not linked_entities, f"{len(linked_entities)} of {len(entities)} have one")
    return f"none in {len(entities)} entities"


@check("packages", "package-named", "vendor's OpenAPI; production answers", profiles=SDK)
def check_package_sourced_id(server: ServerUnderTest) -> str:
    """Check that a package has the same sourcedId as its document."""
    sourced_id = server.existing.sample_package.get("sourcedId")
    expected = get_identifier(server.existing.sample_document)
    is_same = sourced_id == expected
    expect(is_same, f"sourcedId is {sourced_id!r}, that of the document {expected!r}")
    return expected


@check(
    "packages",
    "package-by-document",
    BY_DOCUMENT,
    profiles=(*SDK, *STANDARD),
    extension_profiles=PLATFORM,
)
def check_package_by_document(server: ServerUnderTest) -> str:
    """Check that GET /CFPackages/{id} accepts the identifier of the document."""
    identifier = get_identifier(server.existing.sample_document)
    expect_status(server.get(build_entity_path("CFPackages", identifier)), 200)
    return identifier


@check(
    "packages", "package-by-package", GUIDE, profiles=PLATFORM, extension_profiles=(*SDK, *STANDARD)
)
def check_package_by_package_identifier(server: ServerUnderTest) -> str:
    """Check that GET /CFPackages/{id} accepts the identifier in the document's CFPackageURI."""
    document = server.get_entity("CFDocuments", get_identifier(server.existing.sample_document))
    identifier = get_identifier(document.get("CFPackageURI"))
    expect_status(server.get(build_entity_path("CFPackages", identifier)), 200)
    return identifier


@check("packages", "package-items", PACKAGE)
def check_item_links_to_document(server: ServerUnderTest) -> str:
    """Check that GET /CFItems/{id} returns an item of a package, with a link to its document."""
    packaged_item, document = server.existing.sample_item, server.existing.sample_document
    item = server.get_entity("CFItems", get_identifier(packaged_item))
    is_same = item.get("fullStatement") == packaged_item.get("fullStatement")
    expect(is_same, "fullStatement is different")
    link, expected = get_identifier(item.get("CFDocumentURI")), get_identifier(document)
    expect(link == expected, f"its CFDocumentURI is {link!r}, the document is {expected}")
    return get_identifier(packaged_item)


@check("packages", "groups", "vendor's OpenAPI, groups", profiles=SDK, extension_profiles=PLATFORM)
def check_groups(server: ServerUnderTest) -> str:
    """Check that GET /CFPackages/{id}/groups returns the items as a tree, grouped by CFItemType."""
    identifier = get_identifier(server.existing.sample_document)
    response = server.get(f"{build_entity_path('CFPackages', identifier)}/groups")
    body = read_json(response)
    package = body.get("CFPackageWithGroups", body)
    has_document = isinstance(package.get("CFDocument"), dict)
    expect(has_document, f"no CFDocument: {describe_response(response)}")
    _ = server.existing.sample_package  # skips the check without one
    return f"{_count_items(package.get('structuredContent'), 'structuredContent', 0)} items"


def _count_items(groups: Any, field: str, depth: int) -> int:
    """Count the items in a tree such as ``{"Unit": [{"childGroups": {"Lesson": [{}]}}]}``.

    ``groups`` maps item types to lists of items. The ``childGroups`` of an item have the same form.
    ``field`` is the path of ``groups`` for messages, and ``depth`` its level, 0 at the top.
    Raises ``CheckFailed`` if the structure is invalid or has more than 50 levels.
    """
    if not isinstance(groups, dict):
        raise CheckFailed(f"{field} is not an object: {format_excerpt(groups)}")
    if depth > MAX_DEPTH:
        raise CheckFailed(f"the groups are nested more than {MAX_DEPTH} levels deep")
    count = 0
    for kind, items in groups.items():
        expect(isinstance(items, list), f"{field}.{kind} is not a list: {format_excerpt(items)}")
        for item in items:
            is_object = isinstance(item, dict)
            expect(is_object, f"an item in {field}.{kind} is not an object: {format_excerpt(item)}")
            item_type = item.get("CFItemType", kind)
            observed = f"{get_identifier(item)} of type {item_type!r} is in group {kind!r}"
            expect(item_type == kind, observed)
            count += 1
            if (child_groups := item.get("childGroups")) is not None:
                count += _count_items(child_groups, "childGroups", depth + 1)
    return count


@check("packages", "not-modified", SILENT, profiles=(), extension_profiles=ALL)
def check_not_modified(server: ServerUnderTest) -> str:
    """Check that a package has an ETag; a request with it in If-None-Match returns 304."""
    path = server.existing.get_package_path(server.existing.sample_document)
    etag = server.get(path).headers.get("ETag")
    expect(etag, "no ETag")
    response = server.request("GET", path, headers={"If-None-Match": str(etag)})
    expect_status(response, 304)
    return "304"
