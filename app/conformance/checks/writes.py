"""Writing one entity at a time, as the guide describes it."""

from __future__ import annotations

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
from ..profiles import identifier_of
from ..test_data import link

WRITTEN = (200, 201, 204)
"""Statuses of a PUT that was not refused, where it is not its status that is looked at."""


def document(server: ServerUnderTest) -> str:
    """PUT /CFDocuments/{id} creates a document: 201 without a body, and it is there at once."""
    body, response = server.test_data.document()
    return _stored(server, "CFDocuments", body, response)


def again(server: ServerUnderTest) -> str:
    """PUT of what exists updates it, and answers 201 without a body again."""
    body = server.test_data.framework().document
    changed = {**body, "title": f"{body['title']}, changed"}
    response = server.test_data.put("CFDocuments", changed)
    told = _stored(server, "CFDocuments", changed, response)
    expect_status(server.test_data.put("CFDocuments", body), 201)
    return told


def package_is_born(server: ServerUnderTest) -> str:
    """A document's package is there as soon as the document is, under its CFPackageURI."""
    body = server.test_data.framework().document
    response = server.get(entity_path("CFPackages", body["CFPackageURI"]["identifier"]))
    found = read_json(response)
    held = identifier_of(found.get("CFPackage", found).get("CFDocument"))
    expect(held == body["identifier"], f"its document is {held!r}")
    return "the package"


def package_grows(server: ServerUnderTest) -> str:
    """A package holds the items that were put into its document."""
    body, items = server.test_data.framework()
    response = read_json(server.get(entity_path("CFPackages", body["CFPackageURI"]["identifier"])))
    found = identifiers_of(response.get("CFPackage", response).get("CFItems") or [])
    lacking = set(identifiers_of(items)) - set(found)
    expect(not lacking, f"it lacks {', '.join(sorted(lacking))}")
    return f"{len(found)} items"


def ids_must_match(server: ServerUnderTest) -> str:
    """A body whose identifier is not that of the path is refused."""
    body, other = server.test_data.new_document(), server.test_data.new_document()
    path = entity_path("CFDocuments", other["identifier"])
    return _refused(server, server.request("PUT", path, body), "CFDocuments", body, other)


def case_version(server: ServerUnderTest) -> str:
    """A document whose caseVersion is not 1.1 is refused."""
    body = server.test_data.new_document(caseVersion="1.0")
    return _refused(server, server.test_data.put("CFDocuments", body), "CFDocuments", body)


def required_fields(server: ServerUnderTest) -> str:
    """A body without one of the fields that the guide requires is refused."""
    test_data = server.test_data
    parent = test_data.framework().document
    for plural, body, wrapper, names in (
        ("CFDocuments", test_data.new_document(), None, ("title", "creator", "CFPackageURI")),
        ("CFItems", test_data.new_item(parent), "item", ("fullStatement", "CFDocumentURI")),
        ("CFItemTypes", test_data.new_item_type(), None, ("title", "hierarchyCode")),
    ):
        for name in names:
            lacking = {key: value for key, value in body.items() if key != name}
            response = test_data.put(plural, lacking, wrapper)
            expect(response.is_client_error, f"{plural} without {name} {describe(response)}")
    return "refused"


def item(server: ServerUnderTest) -> str:
    """PUT /CFItems/{id} with {"item": …} creates an item: 201 without a body."""
    parent = server.test_data.framework().document
    body = server.test_data.new_item(parent, humanCodingScheme="conform.1")
    return _stored(server, "CFItems", body, server.test_data.put("CFItems", body, "item"))


def item_type(server: ServerUnderTest) -> str:
    """PUT /CFItemTypes/{id} creates an item type; linked to, it is in the package's definitions."""
    test_data = server.test_data
    parent, _ = test_data.framework()
    kind, response = test_data.item_type()
    expect_status(response, 201)
    expect(not response.content, f"the response has a body; it {describe(response)}")
    found = read_json(server.get(entity_path("CFItemTypes", kind["identifier"]))).get("CFItemTypes")
    expect(
        identifiers_of(found or [])[:1] == [kind["identifier"]],
        "it is not the first of CFItemTypes",
    )
    named = link(kind["identifier"], kind["title"])
    body = test_data.new_item(parent, CFItemType=kind["title"], CFItemTypeURI=named)
    expect_status(test_data.put("CFItems", body, "item"), 201)
    whole = read_json(server.get(entity_path("CFPackages", parent["CFPackageURI"]["identifier"])))
    defined = whole.get("CFPackage", whole).get("CFDefinitions") or {}
    known = identifiers_of(defined.get("CFItemTypes") or [])
    expect(kind["identifier"] in known, "CFDefinitions.CFItemTypes lacks it")
    return "201, and defined"


def subjects_follow(server: ServerUnderTest) -> str:
    """A document's subjects are those of its last PUT: new ones are linked, others are not."""
    listed = server.get_page("CFSubjects").entities
    if not listed:
        raise Skip("the server has no subjects, and making one is not for a check")
    subject = listed[0]
    known = link(identifier_of(subject), str(subject.get("title")))
    body = server.test_data.framework().document
    expect_status(server.test_data.put("CFDocuments", {**body, "subjectURI": [known]}), *WRITTEN)
    linked = server.get_entity("CFDocuments", body["identifier"]).get("subjectURI")
    expect(identifiers_of(linked or []) == identifiers_of([known]), f"subjectURI is {linked!r}")
    expect_status(server.test_data.put("CFDocuments", {**body, "subjectURI": []}), *WRITTEN)
    left = server.get_entity("CFDocuments", body["identifier"]).get("subjectURI")
    expect(not left, f"after a PUT without it, subjectURI is {left!r}")
    return "linked, then not"


def association(server: ServerUnderTest) -> str:
    """PUT /CFItemAssociations/{association} creates one, and both of its items tell of it."""
    body, response = _associate(server, "isChildOf")
    expect_status(response, 201)
    expect(not response.content, f"the response has a body; it {describe(response)}")
    single = server.get_entity("CFAssociations", body["identifier"])
    expect(single.get("associationType") == "isChildOf", f"it is {single.get('associationType')!r}")
    for one in server.test_data.framework().items:
        path = entity_path("CFItemAssociations", one["identifier"])
        found = identifiers_of(read_json(server.get(path)).get("CFAssociations") or [])
        expect(body["identifier"] in found, f"{path} does not tell of it")
    return "201, and told by both items"


def unchanged(server: ServerUnderTest) -> str:
    """PUT of what GET answered leaves the response as it was, for everything that can be put."""
    test_data = server.test_data
    parent, items = test_data.framework()
    kind, response = test_data.item_type()
    expect_status(response, *WRITTEN)
    relation, response = _associate(server, "isPartOf")
    expect_status(response, *WRITTEN)
    for plural, route, wrapper, body in (
        ("CFDocuments", "CFDocuments", None, parent),
        ("CFItems", "CFItems", "item", items[0]),
        ("CFAssociations", "CFItemAssociations", "association", relation),
    ):
        before = server.get_entity(plural, body["identifier"])
        sent = {wrapper: before} if wrapper else before
        expect_status(server.request("PUT", entity_path(route, body["identifier"]), sent), *WRITTEN)
        _expect_same(plural, before, server.get_entity(plural, body["identifier"]))
    path = entity_path("CFItemTypes", kind["identifier"])
    before = read_json(server.get(path))["CFItemTypes"][0]
    expect_status(server.request("PUT", path, before), *WRITTEN)
    _expect_same("CFItemTypes", before, read_json(server.get(path))["CFItemTypes"][0])
    path = entity_path("CFPackages", parent["identifier"])
    package = read_json(server.get(path))
    expect_status(server.request("PUT", path, package), *WRITTEN)
    _expect_same("CFPackages", package, read_json(server.get(path)))
    return "5 kinds, unchanged"


def _expect_same(plural: str, before: Body, after: Body) -> None:
    names = sorted({*before, *after})
    changed = [name for name in names if before.get(name) != after.get(name)]
    expect(not changed, f"{plural}: after PUT of what GET answered, {', '.join(changed)} changed")


def one_of_a_kind(server: ServerUnderTest) -> str:
    """A second association of the same type between the same two items is refused."""
    _, first = _associate(server, "isRelatedTo")
    expect_status(first, *WRITTEN)
    body, second = _associate(server, "isRelatedTo")
    return _refused(server, second, "CFAssociations", body)


def deleted(server: ServerUnderTest) -> str:
    """DELETE /CFItemAssociations/{association} answers 204; then it is 404, to DELETE as well."""
    body, made = _associate(server, "precedes")
    expect_status(made, *WRITTEN)
    path = entity_path("CFItemAssociations", body["identifier"])
    response = server.request("DELETE", path)
    expect_status(response, 204)
    server.test_data.forget("CFAssociations", body["identifier"])
    expect_status(server.get(entity_path("CFAssociations", body["identifier"])), 404)
    expect_status(server.request("DELETE", path), 404)
    return "204, then 404"


def _associate(server: ServerUnderTest, kind: str) -> tuple[Body, httpx.Response]:
    child, parent = server.test_data.framework().items
    body = server.test_data.new_association(child, parent, kind)
    return body, server.test_data.put("CFItemAssociations", body, "association")


def _stored(server: ServerUnderTest, plural: str, body: Body, response: httpx.Response) -> str:
    """That a PUT answered 201 and nothing, and that what was sent is what is answered."""
    expect_status(response, 201)
    expect(not response.content, f"the response has a body; it {describe(response)}")
    found = server.get_entity(plural, body["identifier"])
    for name in body.keys() - {"uri", "lastChangeDateTime"}:
        same = _same(body[name], found.get(name))
        expect(same, f"{name} was sent as {body[name]!r} and is {found.get(name)!r}")
    return "201, without a body, and stored"


def _same(sent: object, got: object) -> bool:
    if isinstance(sent, dict):
        return identifier_of(sent) == identifier_of(got)
    return sent == got


def _refused(server: ServerUnderTest, response: httpx.Response, plural: str, *written: Body) -> str:
    """That something was refused; else it is remembered, to be taken away."""
    if response.is_success:
        for body in written:
            server.test_data.remember(plural, body)
    expect(response.is_client_error, f"it was not refused: it {describe(response)}")
    return str(response.status_code)


SILENT = "README, Where the public sources are silent"
CREATE = "guide, Create a document (and its package)"
CHECKS = (
    Check("put-document", "writing", CREATE, document, PLATFORM, SDK, writes=True),
    Check("put-again", "writing", CREATE, again, PLATFORM, SDK, writes=True),
    Check("put-package-born", "writing", CREATE, package_is_born, PLATFORM, SDK, writes=True),
    Check("put-ids-match", "writing", CREATE, ids_must_match, PLATFORM, SDK, writes=True),
    Check("put-case-version", "writing", CREATE, case_version, PLATFORM, SDK, writes=True),
    Check(
        "put-required",
        "writing",
        "guide, required fields",
        required_fields,
        PLATFORM,
        SDK,
        writes=True,
    ),
    Check(
        "put-subjects",
        "writing",
        "guide, Subject linking",
        subjects_follow,
        PLATFORM,
        SDK,
        writes=True,
    ),
    Check("put-item", "writing", "guide, Create an item", item, PLATFORM, SDK, writes=True),
    Check(
        "put-item-type",
        "writing",
        "guide, Create an item type",
        item_type,
        PLATFORM,
        SDK,
        writes=True,
    ),
    Check(
        "put-package-grows",
        "writing",
        "guide, Retrieve the full package",
        package_grows,
        PLATFORM,
        SDK,
        writes=True,
    ),
    Check(
        "put-association",
        "writing",
        "guide, Build hierarchy with associations",
        association,
        PLATFORM,
        SDK,
        writes=True,
    ),
    Check("put-unchanged", "writing", SILENT, unchanged, (), VENDOR, writes=True),
    Check(
        "put-one-triple",
        "writing",
        "guide, Association types",
        one_of_a_kind,
        PLATFORM,
        SDK,
        writes=True,
    ),
    Check(
        "delete-association",
        "writing",
        "guide, Associations (hard delete)",
        deleted,
        PLATFORM,
        SDK,
        writes=True,
    ),
)
