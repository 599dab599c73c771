"""Packages: a whole framework in one response, and as a tree."""

from __future__ import annotations

from typing import Any

from ..check import ALL, PLATFORM, SDK, STANDARD, Check
from ..client import (
    Body,
    CheckFailed,
    ServerUnderTest,
    Skip,
    describe,
    entity_path,
    excerpt,
    expect,
    expect_status,
    read_json,
)
from ..profiles import identifier_of
from ..shapes import expect_valid

DEEPEST = 50


def package(server: ServerUnderTest) -> str:
    """A package is answered with the document that it holds."""
    document = server.existing.document
    body = read_json(server.get(server.existing.package_path(document)))
    held = _unwrapped(body).get("CFDocument")
    wanted = identifier_of(document)
    expect(identifier_of(held) == wanted, f"its CFDocument is {excerpt(held)}, not {wanted}")
    return f"the package of {wanted}"


def valid(server: ServerUnderTest) -> str:
    """Everything in a package has the fields that it must have, in their types."""
    found = server.existing.package
    expect_valid(server.profile, "CFPackage", found)
    count = len(found["CFItems"])
    return f"{count} items, {len(found.get('CFAssociations') or ())} associations"


def holds_arrays(server: ServerUnderTest) -> str:
    """A package has its items and associations as arrays."""
    found = server.existing.package
    lacking = [one for one in ("CFItems", "CFAssociations") if not isinstance(found.get(one), list)]
    expect(not lacking, f"there is no array {', '.join(lacking)}")
    return "CFItems, CFAssociations"


def holds_definitions(server: ServerUnderTest) -> str:
    """A package has definitions and rubrics beside its items and associations."""
    found = server.existing.package
    lacking = [name for name in ("CFDefinitions", "CFRubrics") if name not in found]
    expect(not lacking, f"there is no {', '.join(lacking)}")
    return "CFDefinitions, CFRubrics"


def no_links_up(server: ServerUnderTest) -> str:
    """Within a package, entities have no link to what contains them."""
    found = server.existing.package
    inside = [found.get("CFDocument"), *found["CFItems"], *(found.get("CFAssociations") or ())]
    linked = [one for one in inside if {"CFPackageURI", "CFDocumentURI"} & (one or {}).keys()]
    expect(not linked, f"{len(linked)} of {len(inside)} have one")
    return f"none in {len(inside)} entities"


def named_as_document(server: ServerUnderTest) -> str:
    """A package's sourcedId is that of its document."""
    found, document = server.existing.package, server.existing.document
    own, wanted = found.get("sourcedId"), identifier_of(document)
    expect(own == wanted, f"sourcedId is {own!r}, that of the document {wanted!r}")
    return wanted


def by_document(server: ServerUnderTest) -> str:
    """A package is answered to the identifier of its document."""
    wanted = identifier_of(server.existing.document)
    expect_status(server.get(entity_path("CFPackages", wanted)), 200)
    return wanted


def by_package(server: ServerUnderTest) -> str:
    """A package is answered to the identifier of its CFPackageURI."""
    document = server.get_entity("CFDocuments", identifier_of(server.existing.document))
    wanted = identifier_of(document.get("CFPackageURI"))
    expect_status(server.get(entity_path("CFPackages", wanted)), 200)
    return wanted


def items_of_it(server: ServerUnderTest) -> str:
    """An item of a package says the same by its own identifier, and names its document."""
    known, document = server.existing.item, server.existing.document
    single = server.get_entity("CFItems", identifier_of(known))
    expect(single.get("fullStatement") == known.get("fullStatement"), "fullStatement differs")
    link = identifier_of(single.get("CFDocumentURI"))
    wanted = identifier_of(document)
    expect(link == wanted, f"its CFDocumentURI is {link!r}, its package that of {wanted}")
    return identifier_of(known)


def groups(server: ServerUnderTest) -> str:
    """GET /CFPackages/{id}/groups answers the items as a tree, by CFItemType."""
    wanted = identifier_of(server.existing.document)
    response = server.get(f"{entity_path('CFPackages', wanted)}/groups")
    body = read_json(response)
    found = body.get("CFPackageWithGroups", body)
    expect(
        isinstance(found.get("CFDocument"), dict),
        f"no CFDocument; it {describe(response)}",
    )
    if not server.existing.package:
        raise Skip("needs a framework with items")
    return f"{_counted(found.get('structuredContent'), 'structuredContent', 0)} items"


def _counted(held: Any, name: str, depth: int) -> int:
    """How many items stand in groups by type, as deep as they go."""
    if not isinstance(held, dict):
        raise CheckFailed(f"{name} is no object: {excerpt(held)}")
    if depth > DEEPEST:
        raise CheckFailed(f"it is deeper than {DEEPEST}")
    count = 0
    for kind, members in held.items():
        expect(isinstance(members, list), f"{name}.{kind} is no list: {excerpt(members)}")
        for one in members:
            told = one.get("CFItemType", kind)
            expect(told == kind, f"{identifier_of(one)} is a {told!r}, among those of {kind!r}")
            below = one.get("childGroups")
            count += 1 + (_counted(below, "childGroups", depth + 1) if below is not None else 0)
    return count


def not_modified(server: ServerUnderTest) -> str:
    """A package carries an ETag; asked with it in If-None-Match, it answers 304."""
    path = server.existing.package_path(server.existing.document)
    tag = server.get(path).headers.get("ETag")
    expect(tag, "there is no ETag")
    response = server.request("GET", path, headers={"If-None-Match": str(tag)})
    expect_status(response, 304)
    return "304"


def _unwrapped(body: Body) -> Body:
    inner = body.get("CFPackage", body)
    return inner if isinstance(inner, dict) else {}


WHOLE = "guide, Retrieve the full package"
PACKAGE = f"{WHOLE}; vendor's OpenAPI, CFPackages; binding, getCFPackage"
DOCUMENT = "vendor's OpenAPI, CFPackages; binding, section 5.6.1"

CHECKS = (
    Check("package", "packages", PACKAGE, package),
    Check("package-valid", "packages", PACKAGE, valid),
    Check(
        "package-arrays",
        "packages",
        f"{WHOLE}; implementation guide, CFPackage",
        holds_arrays,
        (*PLATFORM, *STANDARD),
        SDK,
    ),
    Check("package-definitions", "packages", WHOLE, holds_definitions, PLATFORM, SDK),
    Check("package-links", "packages", "binding, CFPckg classes", no_links_up, STANDARD),
    Check(
        "package-named", "packages", "vendor's OpenAPI; production answers", named_as_document, SDK
    ),
    Check("package-by-document", "packages", DOCUMENT, by_document, (*SDK, *STANDARD), PLATFORM),
    Check("package-by-package", "packages", WHOLE, by_package, PLATFORM, (*SDK, *STANDARD)),
    Check("package-items", "packages", PACKAGE, items_of_it),
    Check("groups", "packages", "vendor's OpenAPI, groups", groups, SDK, PLATFORM),
    Check("not-modified", "packages", "README, What it answers", not_modified, (), ALL),
)
