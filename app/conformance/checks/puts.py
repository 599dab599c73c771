"""Checks of writing single entities with PUT and DELETE, as the guide describes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx

from ..check import PLATFORM, SDK, SILENT, VENDOR, check
from ..client import ServerUnderTest, build_entity_path
from ..profiles import get_identifier, get_identifiers
from ..responses import Body, CheckSkipped, describe_response, expect, expect_status, read_json
from ..test_data import build_link_uri, build_put_body, expect_accepted

CREATE = "guide, Create a document (and its package)"

documented = partial(check, "writing", profiles=PLATFORM, extension_profiles=SDK, writes=True)
"""Register a check of what the vendor's guide documents."""


@documented("put-document", CREATE)
def check_put_document(server: ServerUnderTest) -> str:
    """Check that PUT /CFDocuments/{id} returns 201 without a body; GET returns the document."""
    body, response = server.test_data.put_document()
    return _expect_created_and_stored(server, "CFDocuments", body, response)


@documented("put-again", CREATE)
def check_put_existing(server: ServerUnderTest) -> str:
    """Check that a PUT to an existing entity updates it and again returns 201 without a body."""
    body = server.test_data.framework.document
    changed_body = {**body, "title": f"{body['title']}, changed"}
    response = server.test_data.put_entity("CFDocuments", changed_body)
    observed = _expect_created_and_stored(server, "CFDocuments", changed_body, response)
    expect_status(server.test_data.put_entity("CFDocuments", body), 201)
    return observed


@documented("put-package-born", CREATE)
def check_document_creates_package(server: ServerUnderTest) -> str:
    """Check that creating a document also creates the package named in its CFPackageURI."""
    body = server.test_data.framework.document
    contained = get_identifier(_get_package_of(server, body).get("CFDocument"))
    expect(contained == body["identifier"], f"its document is {contained!r}")
    return "the package"


@documented("put-ids-match", CREATE)
def check_identifier_mismatch(server: ServerUnderTest) -> str:
    """Check that a body whose identifier differs from the one in the path is rejected."""
    body, other = server.test_data.build_document(), server.test_data.build_document()
    path = build_entity_path("CFDocuments", other["identifier"])
    response = server.request("PUT", path, body)
    if response.is_success:  # under one of the two
        server.test_data.record_written_entity("CFDocuments", body)
        server.test_data.record_written_entity("CFDocuments", other)
    return _expect_rejected(response)


@documented("put-case-version", CREATE)
def check_case_version(server: ServerUnderTest) -> str:
    """Check that a document with a caseVersion other than 1.1 is rejected."""
    body = server.test_data.build_document(caseVersion="1.0")
    return _expect_rejected(server.test_data.put_entity("CFDocuments", body))


@documented("put-required", "guide, required fields")
def check_required_fields(server: ServerUnderTest) -> str:
    """Check that PUT without a field that TimeBack's guide requires is rejected with status 4xx."""
    test_data = server.test_data
    parent = test_data.framework.document
    for collection, body, names in (
        ("CFDocuments", test_data.build_document(), ("title", "creator", "CFPackageURI")),
        ("CFItems", test_data.build_item(parent), ("fullStatement", "CFDocumentURI")),
        ("CFItemTypes", test_data.build_item_type(), ("title", "hierarchyCode")),
    ):
        for name in names:
            incomplete = {key: value for key, value in body.items() if key != name}
            response = test_data.put_entity(collection, incomplete)
            observed = f"{collection} without {name} {describe_response(response)}"
            expect(response.is_client_error, observed)
    return "rejected"


@documented("put-subjects", "guide, Subject linking")
def check_put_subjects(server: ServerUnderTest) -> str:
    """Check that PUT replaces a document's subject links; omitted subjects are unlinked."""
    subjects = server.get_page("CFSubjects").entities
    if not subjects:
        raise CheckSkipped("the server has no subjects, and no public API creates one")
    subject = build_link_uri(get_identifier(subjects[0]), str(subjects[0].get("title")))
    test_data = server.test_data
    body = test_data.framework.document
    expect_accepted(test_data.put_entity("CFDocuments", {**body, "subjectURI": [subject]}))
    links = server.get_entity("CFDocuments", body["identifier"]).get("subjectURI")
    is_linked = get_identifiers(links or []) == get_identifiers([subject])
    expect(is_linked, f"subjectURI is {links!r}")
    expect_accepted(test_data.put_entity("CFDocuments", {**body, "subjectURI": []}))
    remaining = server.get_entity("CFDocuments", body["identifier"]).get("subjectURI")
    expect(not remaining, f"after a PUT without it, subjectURI is {remaining!r}")
    return "linked, then not"


@documented("put-item", "guide, Create an item")
def check_put_item(server: ServerUnderTest) -> str:
    """Check that PUT /CFItems/{id} of {"item": …} creates an item, with status 201 and no body."""
    parent = server.test_data.framework.document
    body = server.test_data.build_item(parent, humanCodingScheme="conformance.1")
    response = server.test_data.put_entity("CFItems", body)
    return _expect_created_and_stored(server, "CFItems", body, response)


@documented("put-item-type", "guide, Create an item type")
def check_put_item_type(server: ServerUnderTest) -> str:
    """Check that PUT of an item type creates it, and packages list it if their items use it."""
    test_data = server.test_data
    document, _ = test_data.framework
    item_type, response = test_data.put_shared_item_type()
    _expect_created(response)
    identifier = item_type["identifier"]
    body = read_json(server.get(build_entity_path("CFItemTypes", identifier)))
    is_first = get_identifiers(body.get("CFItemTypes") or [])[:1] == [identifier]
    expect(is_first, "it is not the first of CFItemTypes")
    type_link = build_link_uri(identifier, item_type["title"])
    item = test_data.build_item(document, CFItemType=item_type["title"], CFItemTypeURI=type_link)
    expect_status(test_data.put_entity("CFItems", item), 201)
    definitions = _get_package_of(server, document).get("CFDefinitions") or {}
    is_defined = identifier in get_identifiers(definitions.get("CFItemTypes") or [])
    expect(is_defined, "it is missing from CFDefinitions.CFItemTypes")
    return "201, and defined"


@documented("put-package-grows", "guide, Retrieve the full package")
def check_package_contains_items(server: ServerUnderTest) -> str:
    """Check that a package contains the items that were PUT into its document."""
    document, items = server.test_data.framework
    contained = get_identifiers(_get_package_of(server, document).get("CFItems") or [])
    missing_identifiers = set(get_identifiers(items)) - set(contained)
    expect(not missing_identifiers, f"missing: {', '.join(sorted(missing_identifiers))}")
    return f"{len(contained)} items"


@documented("put-association", "guide, Build hierarchy with associations")
def check_put_association(server: ServerUnderTest) -> str:
    """Check that PUT /CFItemAssociations/{id} creates an association, listed under both items."""
    body, response = _put_association(server, "isChildOf")
    _expect_created(response)
    stored = server.get_entity("CFAssociations", body["identifier"])
    association_type = stored.get("associationType")
    expect(association_type == "isChildOf", f"its associationType is {association_type!r}")
    for item in server.test_data.framework.items:
        path = build_entity_path("CFItemAssociations", item["identifier"])
        listed_identifiers = get_identifiers(
            read_json(server.get(path)).get("CFAssociations") or []
        )
        expect(body["identifier"] in listed_identifiers, f"{path} does not list it")
    return "201, and listed by both items"


@check("writing", "put-unchanged", SILENT, profiles=(), extension_profiles=VENDOR, writes=True)
def check_get_put_round_trip(server: ServerUnderTest) -> str:
    """Check that PUT of an entity or package exactly as GET returned it changes nothing."""
    test_data = server.test_data
    document, items = test_data.framework
    item_type, response = test_data.put_shared_item_type()
    expect_accepted(response)
    association, response = _put_association(server, "isPartOf")
    expect_accepted(response)
    for collection, route, body in (
        ("CFDocuments", "CFDocuments", document),
        ("CFItems", "CFItems", items[0]),
        ("CFAssociations", "CFItemAssociations", association),
    ):
        read_entity = partial(server.get_entity, collection, body["identifier"])
        _expect_unchanged(server, build_entity_path(route, body["identifier"]), read_entity, route)
    type_path = build_entity_path("CFItemTypes", item_type["identifier"])
    _expect_unchanged(server, type_path, lambda: read_json(server.get(type_path))["CFItemTypes"][0])
    package_path = build_entity_path("CFPackages", document["identifier"])
    _expect_unchanged(server, package_path, lambda: read_json(server.get(package_path)))
    return "5 kinds, unchanged"


def _expect_unchanged(
    server: ServerUnderTest, path: str, read: Callable[[], Body], collection: str = ""
) -> None:
    old_body = read()
    expect_accepted(server.request("PUT", path, build_put_body(collection, old_body)))
    new_body = read()
    changed_fields = sorted(
        name for name in {*old_body, *new_body} if old_body.get(name) != new_body.get(name)
    )
    expect(
        not changed_fields, f"{path}: PUT of the GET response changed {', '.join(changed_fields)}"
    )


@documented("put-one-triple", "guide, Association types")
def check_duplicate_association(server: ServerUnderTest) -> str:
    """Check that PUT of a second association of the same type between two items is rejected."""
    _, first_response = _put_association(server, "isRelatedTo")
    expect_accepted(first_response)
    _, second_response = _put_association(server, "isRelatedTo")
    return _expect_rejected(second_response)


@documented("delete-association", "guide, Associations (hard delete)")
def check_association_deletion(server: ServerUnderTest) -> str:
    """Check that DELETE /CFItemAssociations/{id} returns 204; later GET and DELETE return 404."""
    body, response = _put_association(server, "precedes")
    expect_accepted(response)
    path = build_entity_path("CFItemAssociations", body["identifier"])
    expect_status(server.request("DELETE", path), 204)
    server.test_data.forget_deleted_entity("CFAssociations", body["identifier"])
    expect_status(server.get(build_entity_path("CFAssociations", body["identifier"])), 404)
    expect_status(server.request("DELETE", path), 404)
    return "204, then 404"


def _get_package_of(server: ServerUnderTest, document: Body) -> Body:
    return server.get_package(
        build_entity_path("CFPackages", document["CFPackageURI"]["identifier"])
    )


def _put_association(server: ServerUnderTest, association_type: str) -> tuple[Body, httpx.Response]:
    child, parent = server.test_data.framework.items
    body = server.test_data.build_association(child, parent, association_type)
    return body, server.test_data.put_entity("CFItemAssociations", body)


def _expect_created(response: httpx.Response) -> None:
    expect_status(response, 201)
    expect(not response.content, f"the response has a body: {describe_response(response)}")


def _expect_created_and_stored(
    server: ServerUnderTest, collection: str, body: Body, response: httpx.Response
) -> str:
    """Raise ``CheckFailed`` unless a PUT returned 201 without a body and stored the entity.

    ``body`` is the entity that was sent, and ``response`` the response to the PUT.
    """
    _expect_created(response)
    stored = server.get_entity(collection, body["identifier"])
    for name in body.keys() - {"uri", "lastChangeDateTime"}:
        is_same = _is_same(body[name], stored.get(name))
        expect(is_same, f"{name} was sent as {body[name]!r} and is {stored.get(name)!r}")
    return "201, without a body, and stored"


def _is_same(sent_value: object, stored_value: object) -> bool:
    if isinstance(sent_value, dict):
        return get_identifier(sent_value) == get_identifier(stored_value)
    return sent_value == stored_value


def _expect_rejected(response: httpx.Response) -> str:
    expect(response.is_client_error, f"it was not rejected: {describe_response(response)}")
    return str(response.status_code)
