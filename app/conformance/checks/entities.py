"""Checks of reading single entities: their identifiers, wrappers, fields and HEAD."""

from __future__ import annotations

from contextlib import suppress

import httpx

from ..check import PLATFORM, SDK, SILENT, STANDARD, VENDOR, check
from ..client import ServerUnderTest, build_entity_path
from ..profiles import get_identifier
from ..responses import (
    Body,
    CheckFailed,
    CheckSkipped,
    describe_request,
    describe_response,
    expect,
    expect_status,
    format_excerpt,
    read_json,
)
from ..validation import expect_valid, walk_objects

MAX_HEAD_ATTEMPTS = 3
"""Attempts per comparison, because a connection may be closed for other reasons than HEAD."""

COMPARED_HEADERS = ("Content-Type", "Content-Length", "ETag")
"""Header fields that HEAD may leave out, but not send with another value than GET."""

ITEM_LISTS = ("conceptKeywords", "subject", "subjectURI", "educationLevel")

SET_COLLECTIONS = ("CFSubjects", "CFConcepts", "CFItemTypes")
"""Collections in which GET of an entity returns its children, too."""

ENDPOINTS = "guide, API Endpoints; binding, section 2"
ITEM_ASSOCIATIONS = "guide, Retrieve an item with its associations; binding"
DEFINED = (*PLATFORM, *STANDARD)


@check("reading", "document", f"{ENDPOINTS}; vendor's OpenAPI")
def check_get_document(server: ServerUnderTest) -> str:
    """Check that GET /CFDocuments/{id} returns the document with its required fields."""
    return _check_entity(server, "CFDocuments", server.existing.sample_document)


@check("reading", "item", f"{ENDPOINTS}; vendor's OpenAPI")
def check_get_item(server: ServerUnderTest) -> str:
    """Check that GET /CFItems/{id} returns the item with its required fields."""
    return _check_entity(server, "CFItems", server.existing.sample_item)


@check("reading", "association", f"{ENDPOINTS}; vendor's OpenAPI")
def check_get_association(server: ServerUnderTest) -> str:
    """Check that GET /CFAssociations/{id} returns the association with its required fields."""
    return _check_entity(server, "CFAssociations", server.existing.sample_association)


@check("reading", "item-associations", ITEM_ASSOCIATIONS, profiles=DEFINED, extension_profiles=SDK)
def check_item_associations(server: ServerUnderTest) -> str:
    """Check that GET /CFItemAssociations/{item} returns the item and all of its associations."""
    association, item = server.existing.sample_association_and_origin
    identifier = get_identifier(item)
    body = read_json(server.get(build_entity_path("CFItemAssociations", identifier)))
    is_item = get_identifier(body.get("CFItem")) == identifier
    expect(is_item, f"CFItem is {format_excerpt(body.get('CFItem'))}")
    associations = body.get("CFAssociations")
    expect(isinstance(associations, list), f"CFAssociations is {format_excerpt(associations)}")
    ends = [
        {get_identifier(entry.get(f"{end}NodeURI")) for end in ("origin", "destination")}
        for entry in associations or ()
    ]
    expect(all(identifier in pair for pair in ends), "an association does not touch the item")
    expected = get_identifier(association)
    is_listed = expected in map(get_identifier, associations or ())
    expect(is_listed, f"{expected}, which starts at the item, is missing")
    return f"the item and {len(ends)} associations"


def _check_definition_set(server: ServerUnderTest, collection: str, known: Body) -> str:
    requested = get_identifier(known)
    response = server.get(build_entity_path(collection, requested))
    definitions = read_json(response).get(collection)
    if not isinstance(definitions, list) or not definitions:
        raise CheckFailed(f"no list under {collection}: {describe_response(response)}")
    first_identifier = get_identifier(definitions[0])
    expect(
        first_identifier == requested,
        f"requested {requested}, but the first is {first_identifier!r}",
    )
    for definition in definitions:
        expect_valid(server.profile, collection.removesuffix("s"), definition)
    return f"it and {len(definitions) - 1} children"


def _check_entity(server: ServerUnderTest, collection: str, known: Body) -> str:
    requested = get_identifier(known)
    entity = server.get_entity(collection, requested)
    is_requested = get_identifier(entity) == requested
    expect(is_requested, f"requested {requested}, got {get_identifier(entity)!r}")
    expect_valid(server.profile, collection.removesuffix("s"), entity)
    return f"{requested}, {len(entity)} fields"


def _add_definition_check(id_: str, collection: str, source: str) -> None:
    is_set = collection in SET_COLLECTIONS
    check_response = _check_definition_set if is_set else _check_entity

    def check_definition(server: ServerUnderTest) -> str:
        return check_response(server, collection, server.existing.find_definition(collection))

    result = "requested entity, then its children" if is_set else "entity with its required fields"
    check_definition.__doc__ = f"Check that GET /{collection}/{{id}} returns the {result}."
    check("reading", id_, source, profiles=DEFINED, extension_profiles=SDK)(check_definition)


for _row in (
    ("subject", "CFSubjects", "guide, Get a specific subject; binding"),
    ("concept", "CFConcepts", "binding, getCFConcept"),
    ("item-type", "CFItemTypes", "guide, Check for existing item types; binding"),
    ("license", "CFLicenses", ENDPOINTS),
    ("grouping", "CFAssociationGroupings", ENDPOINTS),
    ("rubric", "CFRubrics", ENDPOINTS),
):
    _add_definition_check(*_row)


@check("reading", "same-as-listed", "binding, getAllCFDocuments and getCFDocument")
def check_list_matches_get(server: ServerUnderTest) -> str:
    """Check that the fields of a listed document have the same values in GET /CFDocuments/{id}."""
    listed_document = server.existing.sample_document
    single_document = server.get_entity("CFDocuments", get_identifier(listed_document))
    unequal_fields = [
        name for name, value in listed_document.items() if single_document.get(name) != value
    ]
    expect(not unequal_fields, f"different: {', '.join(unequal_fields)}")
    return f"{len(listed_document)} fields"


@check("reading", "bare", "binding, section 6.1", profiles=DEFINED)
def check_entity_is_not_wrapped(server: ServerUnderTest) -> str:
    """Check that a single entity is not wrapped in an object keyed by its class name."""
    path = build_entity_path("CFDocuments", get_identifier(server.existing.sample_document))
    body = read_json(server.get(path))
    expect("CFDocument" not in body, "it is wrapped in CFDocument")
    expect(get_identifier(body), "it has no identifier at the top level")
    return "without a wrapper"


@check("reading", "wrapped", "vendor's OpenAPI", profiles=SDK)
def check_entity_is_wrapped(server: ServerUnderTest) -> str:
    """Check that a single entity is wrapped under its class name: {"CFDocument": {…}}."""
    path = build_entity_path("CFDocuments", get_identifier(server.existing.sample_document))
    body = read_json(server.get(path))
    expect(isinstance(body.get("CFDocument"), dict), f"it starts {format_excerpt(body)}")
    return "CFDocument"


@check("reading", "identifiers", "guide, Create a document; vendor's OpenAPI; binding")
def check_identifier_field(server: ServerUnderTest) -> str:
    """Check that every entity and link has an identifier or, in the sdk profile, a sourcedId."""
    return _expect_fields_are_equal(server, (server.profile.id_key,))


@check("reading", "keywords", "vendor's OpenAPI; binding, CFItem")
def check_keywords_uri(server: ServerUnderTest) -> str:
    """Check that the conceptKeywordsURI of an item is a single link, not a list of links."""
    for package in server.existing.iter_packages_with_items():
        for item in package["CFItems"]:
            if (value := item.get("conceptKeywordsURI")) is not None:
                expect(isinstance(value, dict), f"it is {format_excerpt(value)}")
                return "one link"
    raise CheckSkipped("no item of the packages has a conceptKeywordsURI")


@check(
    "reading",
    "no-nulls",
    "implementation guide, null values",
    profiles=STANDARD,
    extension_profiles=VENDOR,
)
def check_no_nulls(server: ServerUnderTest) -> str:
    """Check that a field without a value is left out, never null."""
    document = server.get_entity("CFDocuments", get_identifier(server.existing.sample_document))
    for path, node in walk_objects([document, server.existing.sample_package]):
        nulls = [name for name, value in node.items() if value is None]
        expect(not nulls, f"{path}: {', '.join(nulls)} is null")
    return "none in a document and its package"


@check("reading", "content-type", "binding, section 2")
def check_content_type(server: ServerUnderTest) -> str:
    """Check that responses have the content type application/json."""
    value = server.get("/CFDocuments").headers.get("Content-Type", "")
    is_json = value.split(";")[0].strip().lower() == "application/json"
    expect(is_json, f"Content-Type is {value!r}")
    return str(value)


@check(
    "reading",
    "entity-fields",
    "vendor's OpenAPI, fields",
    profiles=SDK,
    extension_profiles=PLATFORM,
)
def check_entity_fields(server: ServerUnderTest) -> str:
    """Check that with the `fields` parameter, an entity contains exactly the requested fields."""
    identifier = get_identifier(server.existing.sample_document)
    document = server.get_entity("CFDocuments", identifier, fields="title")
    expect("title" in document, f"requested only title, got {', '.join(document)}")
    extra_fields = document.keys() - {"title", "identifier", "sourcedId"}
    expect(not extra_fields, f"requested only title, got {', '.join(sorted(extra_fields))} as well")
    return "title"


@check("reading", "both-identifiers", SILENT, profiles=(), extension_profiles=VENDOR)
def check_identifier_equals_sourced_id(server: ServerUnderTest) -> str:
    """Check that in every entity and link, identifier and sourcedId are equal."""
    return _expect_fields_are_equal(server, ("identifier", "sourcedId"))


@check("reading", "lists-present", SILENT, profiles=(), extension_profiles=SDK)
def check_empty_lists(server: ServerUnderTest) -> str:
    """Check that an item has its keyword, subject and education level lists, even if empty."""
    item = server.get_entity("CFItems", get_identifier(server.existing.sample_item))
    missing_lists = [name for name in ITEM_LISTS if not isinstance(item.get(name), list)]
    expect(not missing_lists, f"not a list: {', '.join(missing_lists)}")
    return ", ".join(ITEM_LISTS)


@check("reading", "head", "RFC 9110, section 9.3.2")
def check_head(server: ServerUnderTest) -> str:
    """Check that HEAD returns the headers of GET without a body; the connection stays usable."""
    _compare_head_with_get(server, "/CFDocuments?limit=1")
    document = server.existing.sample_document
    _compare_head_with_get(server, build_entity_path("CFDocuments", get_identifier(document)))
    _compare_head_with_get(server, server.existing.get_package_path(document))
    return "3 paths"


def _compare_head_with_get(server: ServerUnderTest, path: str) -> None:
    """Raise ``CheckFailed`` unless HEAD returns the same status and headers as GET.

    Also fails if the server repeatedly closes the connection after HEAD without the header
    ``Connection: close``.
    """
    for _ in range(MAX_HEAD_ATTEMPTS):
        head = server.request("HEAD", path)
        is_closing = _is_closing(head)
        address = None if is_closing else _get_local_address(head)
        get = server.request("GET", path)
        expect_status(head, get.status_code)
        request = describe_request(head.request)
        for name in COMPARED_HEADERS:
            values = head.headers.get(name), get.headers.get(name)
            is_same = None in values or values[0] == values[1]
            expect(is_same, f"{name} of {request} is {values[0]!r}, of GET {values[1]!r}")
        if is_closing or _is_closing(get) or address == _get_local_address(get):
            return
    raise CheckFailed(f"the server closes the connection after {request}")


def _is_closing(response: httpx.Response) -> bool:
    return str(response.headers.get("Connection", "")).lower() == "close"


def _get_local_address(response: httpx.Response) -> object:
    return response.extensions["network_stream"].get_extra_info("client_addr")


def _expect_fields_are_equal(server: ServerUnderTest, names: tuple[str, ...]) -> str:
    """Raise ``CheckFailed`` unless each JSON object has all fields ``names``, with equal values.

    Examines the sample document, the sample item and all objects in them. Returns ``names`` as a
    string for the report: "identifier and sourcedId".
    """
    nodes = [server.get_entity("CFDocuments", get_identifier(server.existing.sample_document))]
    with suppress(CheckSkipped):  # a document without items is enough
        nodes.append(server.get_entity("CFItems", get_identifier(server.existing.sample_item)))
    for path, node in walk_objects(nodes):
        values = {str(node.get(name)) for name in names}
        expect(all(name in node for name in names), f"{path} has no {' and '.join(names)}")
        expect(len(values) == 1, f"{path} has different values: {', '.join(sorted(values))}")
    return " and ".join(names)
