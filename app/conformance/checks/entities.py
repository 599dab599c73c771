"""Entities by their identifiers: their wrappers, names and fields."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..check import PLATFORM, SDK, STANDARD, VENDOR, Check
from ..client import (
    Body,
    ServerUnderTest,
    Skip,
    describe,
    entity_path,
    excerpt,
    expect,
    read_json,
)
from ..profiles import identifier_of
from ..shapes import expect_valid, walk

LISTS = ("conceptKeywords", "subject", "subjectURI", "educationLevel")


def document(server: ServerUnderTest) -> str:
    """A document is answered by its identifier, with the fields that it must have."""
    return _read(server, "CFDocuments", server.existing.document)


def item(server: ServerUnderTest) -> str:
    """An item is answered by its identifier, with the fields that it must have."""
    return _read(server, "CFItems", server.existing.item)


def association(server: ServerUnderTest) -> str:
    """An association is answered by its identifier, with the fields that it must have."""
    return _read(server, "CFAssociations", server.existing.association)


def item_associations(server: ServerUnderTest) -> str:
    """GET /CFItemAssociations/{item} answers the item and all of its associations."""
    link, origin = server.existing.linked_item
    wanted = identifier_of(origin)
    body = read_json(server.get(entity_path("CFItemAssociations", wanted)))
    expect(identifier_of(body.get("CFItem")) == wanted, f"CFItem is {excerpt(body.get('CFItem'))}")
    found = body.get("CFAssociations")
    expect(isinstance(found, list), f"CFAssociations is {excerpt(found)}")
    ends = [{identifier_of(one.get(f"{end}NodeURI")) for end in ("origin", "destination")}
            for one in found or ()]  # fmt: skip
    expect(all(wanted in both for both in ends), "an association does not touch the item")
    known = identifier_of(link)
    expect(known in map(identifier_of, found or ()), f"{known}, which begins there, is missing")
    return f"the item and {len(ends)} associations"


def same_as_listed(server: ServerUnderTest) -> str:
    """A document says the same in its list as by its identifier."""
    listed = server.existing.document
    single = server.get_entity("CFDocuments", identifier_of(listed))
    unequal = [name for name, value in listed.items() if single.get(name) != value]
    expect(not unequal, f"{', '.join(unequal)} differ")
    return f"{len(listed)} fields"


def bare(server: ServerUnderTest) -> str:
    """A single object is answered bare, not under its class name."""
    document = server.existing.document
    body = read_json(server.get(entity_path("CFDocuments", identifier_of(document))))
    expect("CFDocument" not in body, "it stands under CFDocument")
    expect(identifier_of(body), "it has no identifier at its top")
    return "bare"


def wrapped(server: ServerUnderTest) -> str:
    """A single object is answered under its class name: {"CFDocument": {…}}."""
    document = server.existing.document
    body = read_json(server.get(entity_path("CFDocuments", identifier_of(document))))
    expect(isinstance(body.get("CFDocument"), dict), f"it begins {excerpt(body)}")
    return "CFDocument"


def identifiers(server: ServerUnderTest) -> str:
    """Every entity and link has its identifier under the name that the profile uses."""
    return _all_have(server, (server.profile.id_key,))


def both_identifiers(server: ServerUnderTest) -> str:
    """Every entity and link carries identifier and sourcedId, which are equal."""
    return _all_have(server, ("identifier", "sourcedId"))


def keywords(server: ServerUnderTest) -> str:
    """An item's conceptKeywordsURI is one link, not a list of them."""
    for package in server.existing.packages():
        for one in package.get("CFItems") or ():
            value = one.get("conceptKeywordsURI")
            if value is not None:
                expect(isinstance(value, dict), f"it is {excerpt(value)}")
                return "one link"
    raise Skip("no item that was looked at has a conceptKeywordsURI")


def no_nulls(server: ServerUnderTest) -> str:
    """What has no value is left out, never null."""
    name = "CFDocuments"
    nodes = [
        server.get_entity(name, identifier_of(server.existing.document)),
        server.existing.package,
    ]
    for path, node in walk(nodes):
        empty = [key for key, value in node.items() if value is None]
        expect(not empty, f"{path}: {', '.join(empty)} is null")
    return "none in a document and its package"


def lists_present(server: ServerUnderTest) -> str:
    """An item has its lists even when they are empty: keywords, subjects, education levels."""
    found = server.get_entity("CFItems", identifier_of(server.existing.item))
    lacking = [name for name in LISTS if not isinstance(found.get(name), list)]
    expect(not lacking, f"{', '.join(lacking)} is no list")
    return ", ".join(LISTS)


def content_type(server: ServerUnderTest) -> str:
    """Answers are application/json."""
    said = server.get("/CFDocuments").headers.get("Content-Type", "")
    expect(said.split(";")[0].strip().lower() == "application/json", f"Content-Type is {said!r}")
    return str(said)


def entity_fields(server: ServerUnderTest) -> str:
    """With fields, a single entity answers those fields and only those."""
    wanted = identifier_of(server.existing.document)
    found = server.get_entity("CFDocuments", wanted, fields="title")
    expect("title" in found, f"asked for title, it answers {', '.join(found)}")
    more = found.keys() - {"title", "identifier", "sourcedId"}
    expect(not more, f"asked for title, it answers {', '.join(sorted(more))} too")
    return "title"


def _read(server: ServerUnderTest, plural: str, known: Body) -> str:
    wanted = identifier_of(known)
    found = server.get_entity(plural, wanted)
    expect(identifier_of(found) == wanted, f"asked for {wanted}, got {identifier_of(found)!r}")
    expect_valid(server.profile, plural.removesuffix("s"), found)
    return f"{wanted}, {len(found)} fields"


def _all_have(server: ServerUnderTest, names: tuple[str, ...]) -> str:
    document = server.existing.document
    nodes = [server.get_entity("CFDocuments", identifier_of(document))]
    with suppress(Skip):  # a document without items shows it, too
        nodes.append(server.get_entity("CFItems", identifier_of(server.existing.item)))
    for path, node in walk(nodes):
        values = {str(node.get(name)) for name in names}
        expect(all(name in node for name in names), f"{path} has no {' and '.join(names)}")
        expect(len(values) == 1, f"{path} has different ones: {', '.join(sorted(values))}")
    return " and ".join(names)


def _set_of(plural: str) -> Callable[[ServerUnderTest], str]:
    def read(server: ServerUnderTest) -> str:
        wanted = identifier_of(server.existing.definition(plural))
        response = server.get(entity_path(plural, wanted))
        found = read_json(response).get(plural)
        expect(
            isinstance(found, list) and found,
            f"no list under {plural}; it {describe(response)}",
        )
        assert isinstance(found, list)
        first = identifier_of(found[0])
        expect(first == wanted, f"asked for {wanted}, the first is {first!r}")
        for one in found:
            expect_valid(server.profile, plural.removesuffix("s"), one)
        return f"it and {len(found) - 1} children"

    read.__doc__ = f"GET /{plural}/{{id}} answers the one asked for, then its children."
    return read


def _single(plural: str) -> Callable[[ServerUnderTest], str]:
    def read(server: ServerUnderTest) -> str:
        return _read(server, plural, server.existing.definition(plural))

    read.__doc__ = f"GET /{plural}/{{id}} answers the one asked for, with the fields it must have."
    return read


ENDPOINTS = "guide, API Endpoints; binding, section 2"
DEFINED = (*PLATFORM, *STANDARD)

CHECKS = (
    Check("document", "reading", f"{ENDPOINTS}; vendor's OpenAPI", document),
    Check("item", "reading", f"{ENDPOINTS}; vendor's OpenAPI", item),
    Check("association", "reading", f"{ENDPOINTS}; vendor's OpenAPI", association),
    Check(
        "item-associations",
        "reading",
        "guide, Retrieve an item with its associations; binding",
        item_associations,
        DEFINED,
        SDK,
    ),
    Check(
        "subject",
        "reading",
        "guide, Get a specific subject; binding",
        _set_of("CFSubjects"),
        DEFINED,
        SDK,
    ),
    Check("concept", "reading", "binding, getCFConcept", _set_of("CFConcepts"), DEFINED, SDK),
    Check(
        "item-type",
        "reading",
        "guide, Check for existing item types; binding",
        _set_of("CFItemTypes"),
        DEFINED,
        SDK,
    ),
    Check("license", "reading", ENDPOINTS, _single("CFLicenses"), DEFINED, SDK),
    Check("grouping", "reading", ENDPOINTS, _single("CFAssociationGroupings"), DEFINED, SDK),
    Check("rubric", "reading", ENDPOINTS, _single("CFRubrics"), DEFINED, SDK),
    Check(
        "same-as-listed", "reading", "binding, getAllCFDocuments and getCFDocument", same_as_listed
    ),
    Check("bare", "reading", "binding, section 6.1", bare, DEFINED),
    Check("wrapped", "reading", "vendor's OpenAPI", wrapped, SDK),
    Check(
        "identifiers", "reading", "guide, Create a document; vendor's OpenAPI; binding", identifiers
    ),
    Check("keywords", "reading", "vendor's OpenAPI; binding, CFItem", keywords),
    Check("no-nulls", "reading", "implementation guide, null values", no_nulls, STANDARD, VENDOR),
    Check("content-type", "reading", "binding, section 2", content_type),
    Check("entity-fields", "reading", "vendor's OpenAPI, fields", entity_fields, SDK, PLATFORM),
    Check(
        "both-identifiers",
        "reading",
        "README, Three doors, one house",
        both_identifiers,
        (),
        VENDOR,
    ),
    Check("lists-present", "reading", "README, Three doors, one house", lists_present, (), SDK),
)
