"""Checks of single entities: their identifiers, wrappers and fields."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..check import PLATFORM, SDK, SILENT, STANDARD, VENDOR, check
from ..client import (
    Body,
    CheckFailed,
    CheckSkipped,
    ServerUnderTest,
    build_entity_path,
    describe_response,
    expect,
    format_excerpt,
    read_json,
)
from ..profiles import get_identifier
from ..validation import expect_valid, walk_objects

ITEM_LISTS = ("conceptKeywords", "subject", "subjectURI", "educationLevel")

ENDPOINTS = "guide, API Endpoints; binding, section 2"
DEFINED = (*PLATFORM, *STANDARD)


@check("document", group="reading", source=f"{ENDPOINTS}; vendor's OpenAPI")
def check_get_document(server: ServerUnderTest) -> str:
    """GET /CFDocuments/{id} returns the document with its required fields."""
    return _check_entity(server, "CFDocuments", server.existing.sample_document)


@check("item", group="reading", source=f"{ENDPOINTS}; vendor's OpenAPI")
def check_get_item(server: ServerUnderTest) -> str:
    """GET /CFItems/{id} returns the item with its required fields."""
    return _check_entity(server, "CFItems", server.existing.sample_item)


@check("association", group="reading", source=f"{ENDPOINTS}; vendor's OpenAPI")
def check_get_association(server: ServerUnderTest) -> str:
    """GET /CFAssociations/{id} returns the association with its required fields."""
    return _check_entity(server, "CFAssociations", server.existing.sample_association)


@check(
    "item-associations",
    group="reading",
    source="guide, Retrieve an item with its associations; binding",
    on=DEFINED,
    also=SDK,
)
def check_item_associations(server: ServerUnderTest) -> str:
    """GET /CFItemAssociations/{item} returns the item and all of its associations."""
    association, item = server.existing.sample_association_and_origin
    identifier = get_identifier(item)
    body = read_json(server.get(build_entity_path("CFItemAssociations", identifier)))
    is_item = get_identifier(body.get("CFItem")) == identifier
    expect(is_item, f"CFItem is {format_excerpt(body.get('CFItem'))}")
    associations = body.get("CFAssociations")
    expect(isinstance(associations, list), f"CFAssociations is {format_excerpt(associations)}")
    ends = [
        {get_identifier(listed.get(f"{end}NodeURI")) for end in ("origin", "destination")}
        for listed in associations or ()
    ]
    expect(all(identifier in pair for pair in ends), "an association does not touch the item")
    expected = get_identifier(association)
    is_listed = expected in map(get_identifier, associations or ())
    expect(is_listed, f"{expected}, which starts at the item, is missing")
    return f"the item and {len(ends)} associations"


def _check_definition_set(collection: str) -> Callable[[ServerUnderTest], str]:
    def check_set(server: ServerUnderTest) -> str:
        requested = get_identifier(server.existing.find_definition(collection))
        response = server.get(build_entity_path(collection, requested))
        definitions = read_json(response).get(collection)
        if not isinstance(definitions, list) or not definitions:
            raise CheckFailed(f"no list under {collection}: {describe_response(response)}")
        first = get_identifier(definitions[0])
        expect(first == requested, f"requested {requested}, but the first is {first!r}")
        for definition in definitions:
            expect_valid(server.profile, collection.removesuffix("s"), definition)
        return f"it and {len(definitions) - 1} children"

    check_set.__doc__ = f"GET /{collection}/{{id}} returns the requested entity, then its children."
    return check_set


def _check_single_definition(collection: str) -> Callable[[ServerUnderTest], str]:
    def check_single(server: ServerUnderTest) -> str:
        return _check_entity(server, collection, server.existing.find_definition(collection))

    check_single.__doc__ = f"GET /{collection}/{{id}} returns the entity with its required fields."
    return check_single


for _id, _collection, _source in (
    ("subject", "CFSubjects", "guide, Get a specific subject; binding"),
    ("concept", "CFConcepts", "binding, getCFConcept"),
    ("item-type", "CFItemTypes", "guide, Check for existing item types; binding"),
):
    check(_id, group="reading", source=_source, on=DEFINED, also=SDK)(
        _check_definition_set(_collection)
    )

for _id, _collection in (
    ("license", "CFLicenses"),
    ("grouping", "CFAssociationGroupings"),
    ("rubric", "CFRubrics"),
):
    check(_id, group="reading", source=ENDPOINTS, on=DEFINED, also=SDK)(
        _check_single_definition(_collection)
    )


@check("same-as-listed", group="reading", source="binding, getAllCFDocuments and getCFDocument")
def check_list_matches_get(server: ServerUnderTest) -> str:
    """A document in a list has the same fields and values as GET /CFDocuments/{id} returns."""
    listed = server.existing.sample_document
    single = server.get_entity("CFDocuments", get_identifier(listed))
    unequal = [name for name, value in listed.items() if single.get(name) != value]
    expect(not unequal, f"different: {', '.join(unequal)}")
    return f"{len(listed)} fields"


@check("bare", group="reading", source="binding, section 6.1", on=DEFINED)
def check_entity_is_not_wrapped(server: ServerUnderTest) -> str:
    """A single entity is not wrapped in an object keyed by its class name."""
    path = build_entity_path("CFDocuments", get_identifier(server.existing.sample_document))
    body = read_json(server.get(path))
    expect("CFDocument" not in body, "it is wrapped in CFDocument")
    expect(get_identifier(body), "it has no identifier at the top level")
    return "without a wrapper"


@check("wrapped", group="reading", source="vendor's OpenAPI", on=SDK)
def check_entity_is_wrapped(server: ServerUnderTest) -> str:
    """A single entity is wrapped under its class name: {"CFDocument": {…}}."""
    path = build_entity_path("CFDocuments", get_identifier(server.existing.sample_document))
    body = read_json(server.get(path))
    expect(isinstance(body.get("CFDocument"), dict), f"it starts {format_excerpt(body)}")
    return "CFDocument"


@check("identifiers", group="reading", source="guide, Create a document; vendor's OpenAPI; binding")
def check_identifier_field(server: ServerUnderTest) -> str:
    """Every entity and link has the profile's identifier field: identifier or sourcedId."""
    return _expect_fields_are_equal(server, (server.profile.id_key,))


@check("keywords", group="reading", source="vendor's OpenAPI; binding, CFItem")
def check_keywords_uri(server: ServerUnderTest) -> str:
    """The conceptKeywordsURI of an item is a single link, not a list of links."""
    for package in server.existing.iter_packages_with_items():
        for item in package.get("CFItems") or ():
            value = item.get("conceptKeywordsURI")
            if value is not None:
                expect(isinstance(value, dict), f"it is {format_excerpt(value)}")
                return "one link"
    raise CheckSkipped("no item of the packages has a conceptKeywordsURI")


@check(
    "no-nulls",
    group="reading",
    source="implementation guide, null values",
    on=STANDARD,
    also=VENDOR,
)
def check_no_nulls(server: ServerUnderTest) -> str:
    """A field without a value is left out, never null."""
    document = server.get_entity("CFDocuments", get_identifier(server.existing.sample_document))
    for path, node in walk_objects([document, server.existing.sample_package]):
        nulls = [name for name, value in node.items() if value is None]
        expect(not nulls, f"{path}: {', '.join(nulls)} is null")
    return "none in a document and its package"


@check("content-type", group="reading", source="binding, section 2")
def check_content_type(server: ServerUnderTest) -> str:
    """Responses have the content type application/json."""
    value = server.get("/CFDocuments").headers.get("Content-Type", "")
    is_json = value.split(";")[0].strip().lower() == "application/json"
    expect(is_json, f"Content-Type is {value!r}")
    return str(value)


@check("entity-fields", group="reading", source="vendor's OpenAPI, fields", on=SDK, also=PLATFORM)
def check_entity_fields(server: ServerUnderTest) -> str:
    """With the `fields` parameter, a single entity contains exactly the requested fields."""
    identifier = get_identifier(server.existing.sample_document)
    document = server.get_entity("CFDocuments", identifier, fields="title")
    expect("title" in document, f"requested only title, got {', '.join(document)}")
    extra = document.keys() - {"title", "identifier", "sourcedId"}
    expect(not extra, f"requested only title, got {', '.join(sorted(extra))} as well")
    return "title"


@check("both-identifiers", group="reading", source=SILENT, on=(), also=VENDOR)
def check_identifier_equals_sourced_id(server: ServerUnderTest) -> str:
    """In every entity and link, identifier and sourcedId are equal."""
    return _expect_fields_are_equal(server, ("identifier", "sourcedId"))


@check("lists-present", group="reading", source=SILENT, on=(), also=SDK)
def check_empty_lists(server: ServerUnderTest) -> str:
    """An item contains its keyword, subject and education level lists even if they are empty."""
    item = server.get_entity("CFItems", get_identifier(server.existing.sample_item))
    missing = [name for name in ITEM_LISTS if not isinstance(item.get(name), list)]
    expect(not missing, f"not a list: {', '.join(missing)}")
    return ", ".join(ITEM_LISTS)


def _check_entity(server: ServerUnderTest, collection: str, known: Body) -> str:
    requested = get_identifier(known)
    entity = server.get_entity(collection, requested)
    is_requested = get_identifier(entity) == requested
    expect(is_requested, f"requested {requested}, got {get_identifier(entity)!r}")
    expect_valid(server.profile, collection.removesuffix("s"), entity)
    return f"{requested}, {len(entity)} fields"


def _expect_fields_are_equal(server: ServerUnderTest, names: tuple[str, ...]) -> str:
    """Require that in each object of a document and an item, all ``names`` have the same value."""
    nodes = [server.get_entity("CFDocuments", get_identifier(server.existing.sample_document))]
    with suppress(CheckSkipped):  # a document without items is enough
        nodes.append(server.get_entity("CFItems", get_identifier(server.existing.sample_item)))
    for path, node in walk_objects(nodes):
        values = {str(node.get(name)) for name in names}
        expect(all(name in node for name in names), f"{path} has no {' and '.join(names)}")
        expect(len(values) == 1, f"{path} has different values: {', '.join(sorted(values))}")
    return " and ".join(names)
