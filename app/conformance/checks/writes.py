"""Writing one entity at a time, as the guide describes it."""

from __future__ import annotations

import httpx

from ..check import PLATFORM, SDK, VENDOR, Check
from ..client import Body, ServerUnderTest, Skip, expect, expect_status, ids, json_of, path_of, seen
from ..profiles import identifier_of
from ..test_data import link

WRITTEN = (200, 201, 204)
"""Statuses of a PUT that was not refused, where it is not its status that is looked at."""


def document(target: ServerUnderTest) -> str:
    """PUT /CFDocuments/{id} creates a document: 201 without a body, and it is there at once."""
    body, answer = target.workshop.document()
    return _stored(target, "CFDocuments", body, answer)


def again(target: ServerUnderTest) -> str:
    """PUT of what exists updates it, and answers 201 without a body again."""
    body = target.workshop.framework().document
    changed = {**body, "title": f"{body['title']}, changed"}
    answer = target.workshop.put("CFDocuments", changed)
    told = _stored(target, "CFDocuments", changed, answer)
    expect_status(target.workshop.put("CFDocuments", body), 201)
    return told


def package_is_born(target: ServerUnderTest) -> str:
    """A document's package is there as soon as the document is, under its CFPackageURI."""
    body = target.workshop.framework().document
    answer = target.get(path_of("CFPackages", body["CFPackageURI"]["identifier"]))
    found = json_of(answer)
    held = identifier_of(found.get("CFPackage", found).get("CFDocument"))
    expect(held == body["identifier"], f"its document is {held!r}")
    return "the package"


def package_grows(target: ServerUnderTest) -> str:
    """A package holds the items that were put into its document."""
    body, items = target.workshop.framework()
    answer = json_of(target.get(path_of("CFPackages", body["CFPackageURI"]["identifier"])))
    found = ids(answer.get("CFPackage", answer).get("CFItems") or [])
    lacking = set(ids(items)) - set(found)
    expect(not lacking, f"it lacks {', '.join(sorted(lacking))}")
    return f"{len(found)} items"


def ids_must_match(target: ServerUnderTest) -> str:
    """A body whose identifier is not that of the path is refused."""
    body, other = target.workshop.new_document(), target.workshop.new_document()
    path = path_of("CFDocuments", other["identifier"])
    return _refused(target, target.send("PUT", path, body), "CFDocuments", body, other)


def case_version(target: ServerUnderTest) -> str:
    """A document whose caseVersion is not 1.1 is refused."""
    body = target.workshop.new_document(caseVersion="1.0")
    return _refused(target, target.workshop.put("CFDocuments", body), "CFDocuments", body)


def required_fields(target: ServerUnderTest) -> str:
    """A body without one of the fields that the guide requires is refused."""
    workshop = target.workshop
    parent = workshop.framework().document
    for plural, body, wrapper, names in (
        ("CFDocuments", workshop.new_document(), None, ("title", "creator", "CFPackageURI")),
        ("CFItems", workshop.new_item(parent), "item", ("fullStatement", "CFDocumentURI")),
        ("CFItemTypes", workshop.new_item_type(), None, ("title", "hierarchyCode")),
    ):
        for name in names:
            lacking = {key: value for key, value in body.items() if key != name}
            answer = workshop.put(plural, lacking, wrapper)
            expect(answer.is_client_error, f"{plural} without {name} {seen(answer)}")
    return "refused"


def item(target: ServerUnderTest) -> str:
    """PUT /CFItems/{id} with {"item": …} creates an item: 201 without a body."""
    parent = target.workshop.framework().document
    body = target.workshop.new_item(parent, humanCodingScheme="conform.1")
    return _stored(target, "CFItems", body, target.workshop.put("CFItems", body, "item"))


def item_type(target: ServerUnderTest) -> str:
    """PUT /CFItemTypes/{id} creates an item type; linked to, it is in the package's definitions."""
    workshop = target.workshop
    parent, _ = workshop.framework()
    kind, answer = workshop.item_type()
    expect_status(answer, 201)
    expect(not answer.content, f"the answer has a body; it {seen(answer)}")
    found = json_of(target.get(path_of("CFItemTypes", kind["identifier"]))).get("CFItemTypes")
    expect(ids(found or [])[:1] == [kind["identifier"]], "it is not the first of CFItemTypes")
    named = link(kind["identifier"], kind["title"])
    body = workshop.new_item(parent, CFItemType=kind["title"], CFItemTypeURI=named)
    expect_status(workshop.put("CFItems", body, "item"), 201)
    whole = json_of(target.get(path_of("CFPackages", parent["CFPackageURI"]["identifier"])))
    defined = whole.get("CFPackage", whole).get("CFDefinitions") or {}
    known = ids(defined.get("CFItemTypes") or [])
    expect(kind["identifier"] in known, "CFDefinitions.CFItemTypes lacks it")
    return "201, and defined"


def subjects_follow(target: ServerUnderTest) -> str:
    """A document's subjects are those of its last PUT: new ones are linked, others are not."""
    listed = target.page("CFSubjects").entities
    if not listed:
        raise Skip("the server has no subjects, and making one is not for a check")
    subject = listed[0]
    known = link(identifier_of(subject), str(subject.get("title")))
    body = target.workshop.framework().document
    expect_status(target.workshop.put("CFDocuments", {**body, "subjectURI": [known]}), *WRITTEN)
    linked = target.one("CFDocuments", body["identifier"]).get("subjectURI")
    expect(ids(linked or []) == ids([known]), f"subjectURI is {linked!r}")
    expect_status(target.workshop.put("CFDocuments", {**body, "subjectURI": []}), *WRITTEN)
    left = target.one("CFDocuments", body["identifier"]).get("subjectURI")
    expect(not left, f"after a PUT without it, subjectURI is {left!r}")
    return "linked, then not"


def association(target: ServerUnderTest) -> str:
    """PUT /CFItemAssociations/{association} creates one, and both of its items tell of it."""
    body, answer = _associate(target, "isChildOf")
    expect_status(answer, 201)
    expect(not answer.content, f"the answer has a body; it {seen(answer)}")
    single = target.one("CFAssociations", body["identifier"])
    expect(single.get("associationType") == "isChildOf", f"it is {single.get('associationType')!r}")
    for one in target.workshop.framework().items:
        path = path_of("CFItemAssociations", one["identifier"])
        found = ids(json_of(target.get(path)).get("CFAssociations") or [])
        expect(body["identifier"] in found, f"{path} does not tell of it")
    return "201, and told by both items"


def unchanged(target: ServerUnderTest) -> str:
    """PUT of what GET answered leaves the answer as it was, for everything that can be put."""
    workshop = target.workshop
    parent, items = workshop.framework()
    kind, answer = workshop.item_type()
    expect_status(answer, *WRITTEN)
    relation, answer = _associate(target, "isPartOf")
    expect_status(answer, *WRITTEN)
    for plural, route, wrapper, body in (
        ("CFDocuments", "CFDocuments", None, parent),
        ("CFItems", "CFItems", "item", items[0]),
        ("CFAssociations", "CFItemAssociations", "association", relation),
    ):
        before = target.one(plural, body["identifier"])
        sent = {wrapper: before} if wrapper else before
        expect_status(target.send("PUT", path_of(route, body["identifier"]), sent), *WRITTEN)
        _expect_same(plural, before, target.one(plural, body["identifier"]))
    path = path_of("CFItemTypes", kind["identifier"])
    before = json_of(target.get(path))["CFItemTypes"][0]
    expect_status(target.send("PUT", path, before), *WRITTEN)
    _expect_same("CFItemTypes", before, json_of(target.get(path))["CFItemTypes"][0])
    path = path_of("CFPackages", parent["identifier"])
    package = json_of(target.get(path))
    expect_status(target.send("PUT", path, package), *WRITTEN)
    _expect_same("CFPackages", package, json_of(target.get(path)))
    return "5 kinds, unchanged"


def _expect_same(plural: str, before: Body, after: Body) -> None:
    names = sorted({*before, *after})
    changed = [name for name in names if before.get(name) != after.get(name)]
    expect(not changed, f"{plural}: after PUT of what GET answered, {', '.join(changed)} changed")


def one_of_a_kind(target: ServerUnderTest) -> str:
    """A second association of the same type between the same two items is refused."""
    _, first = _associate(target, "isRelatedTo")
    expect_status(first, *WRITTEN)
    body, second = _associate(target, "isRelatedTo")
    return _refused(target, second, "CFAssociations", body)


def deleted(target: ServerUnderTest) -> str:
    """DELETE /CFItemAssociations/{association} answers 204; then it is 404, to DELETE as well."""
    body, made = _associate(target, "precedes")
    expect_status(made, *WRITTEN)
    path = path_of("CFItemAssociations", body["identifier"])
    answer = target.send("DELETE", path)
    expect_status(answer, 204)
    target.workshop.gone("CFAssociations", body["identifier"])
    expect_status(target.get(path_of("CFAssociations", body["identifier"])), 404)
    expect_status(target.send("DELETE", path), 404)
    return "204, then 404"


def _associate(target: ServerUnderTest, kind: str) -> tuple[Body, httpx.Response]:
    child, parent = target.workshop.framework().items
    body = target.workshop.new_association(child, parent, kind)
    return body, target.workshop.put("CFItemAssociations", body, "association")


def _stored(target: ServerUnderTest, plural: str, body: Body, answer: httpx.Response) -> str:
    """That a PUT answered 201 and nothing, and that what was sent is what is answered."""
    expect_status(answer, 201)
    expect(not answer.content, f"the answer has a body; it {seen(answer)}")
    found = target.one(plural, body["identifier"])
    for name in body.keys() - {"uri", "lastChangeDateTime"}:
        same = _same(body[name], found.get(name))
        expect(same, f"{name} was sent as {body[name]!r} and is {found.get(name)!r}")
    return "201, without a body, and stored"


def _same(sent: object, got: object) -> bool:
    if isinstance(sent, dict):
        return identifier_of(sent) == identifier_of(got)
    return sent == got


def _refused(target: ServerUnderTest, answer: httpx.Response, plural: str, *written: Body) -> str:
    """That something was refused; else it is remembered, to be taken away."""
    if answer.is_success:
        for body in written:
            target.workshop.made(plural, body)
    expect(answer.is_client_error, f"it was not refused: it {seen(answer)}")
    return str(answer.status_code)


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
