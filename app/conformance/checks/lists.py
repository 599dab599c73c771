"""Checks of lists: their content, paging, totals, order, filters and selected fields."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ..check import ALL, PLATFORM, SDK, SILENT, STANDARD, VENDOR, check
from ..client import ListResponse, ServerUnderTest
from ..profiles import get_identifier, get_identifiers
from ..responses import Body, CheckSkipped, expect, expect_status
from ..validation import expect_valid

PAGE_SIZE = 2
MAX_PAGES = 5
FILTERED_PAGE_SIZE = 100
MAX_FILTER_CHARS = 300
"""The longest value that is filtered by, because servers bound the request target."""

MAX_LISTED_TIMES = 4

CONVENTIONS = "vendor's list conventions; binding, 3.1"
FILTERS = "vendor's list conventions; binding, section 3.3"


@check("lists", "list-documents", "guide, API Endpoints; binding, getAllCFDocuments")
def check_list_documents(server: ServerUnderTest) -> str:
    """Check that GET /CFDocuments returns a list of documents under the key CFDocuments."""
    return _check_list(server, "CFDocuments")


@check(
    "lists", "list-items", "vendor's OpenAPI, CFItems", profiles=SDK, extension_profiles=PLATFORM
)
def check_list_items(server: ServerUnderTest) -> str:
    """Check that GET /CFItems returns a list of items under the key CFItems."""
    return _check_list(server, "CFItems")


@check(
    "lists", "list-subjects", "guide, List all subjects", profiles=PLATFORM, extension_profiles=SDK
)
def check_list_subjects(server: ServerUnderTest) -> str:
    """Check that GET /CFSubjects returns a list of subjects under the key CFSubjects."""
    return _check_list(server, "CFSubjects")


@check("lists", "list-valid", "guide, Create a document; binding, CFDocument")
def check_listed_documents_valid(server: ServerUnderTest) -> str:
    """Check that listed documents have all required fields, and each field has the right type."""
    for document in server.existing.documents:
        expect_valid(server.profile, "CFDocument", document)
    return f"{len(server.existing.documents)} documents"


@check("lists", "list-paging", "guide, List all subjects", profiles=PLATFORM)
def check_paging_fields(server: ServerUnderTest) -> str:
    """Check that a list contains the integers total, limit and offset alongside its entities."""
    for collection in ("CFDocuments", "CFSubjects"):
        body = server.get_page(collection, limit=3, offset=1).body
        values = {name: body.get(name) for name in ("total", "limit", "offset")}
        are_integers = all(type(value) is int for value in values.values())
        expect(are_integers, f"{collection} contains {values}")
        is_as_requested = (values["limit"], values["offset"]) == (3, 1)
        expect(is_as_requested, f"requested limit=3, offset=1; got {values}")
    return "total, limit and offset"


@check("lists", "list-total", "binding, section 3.1", profiles=STANDARD, extension_profiles=VENDOR)
def check_total_header(server: ServerUnderTest) -> str:
    """Check that the X-Total-Count header states the total number of entities."""
    value = server.get_page("CFDocuments", limit=1).response.headers.get("X-Total-Count")
    expect(value is not None, "no X-Total-Count header")
    expect(str(value).isdigit(), f"X-Total-Count is {value!r}")
    return f"X-Total-Count: {value}"


@check("lists", "list-link", "binding, section 3.1", profiles=STANDARD, extension_profiles=VENDOR)
def check_next_link(server: ServerUnderTest) -> str:
    """Check that if there is another page, a Link header with rel="next" points to it."""
    page = server.get_page("CFDocuments", limit=1)
    if (page.total or 0) <= 1:
        raise CheckSkipped("needs a list of more than one document that states its total")
    links = page.response.links
    expect("next" in links, f"Link is {page.response.headers.get('Link')!r}")
    expect("offset=1" in links["next"]["url"], f"next is {links['next']['url']}")
    return "rel=next"


@check("lists", "list-default-limit", CONVENTIONS)
def check_default_limit(server: ServerUnderTest) -> str:
    """Check that without `limit`, a list returns at most the default number of entities."""
    page = server.get_page("CFDocuments")
    limit, total = server.profile.default_limit, page.total
    count = len(page.entities)
    expect(count <= limit, f"{count} documents; the default is {limit}")
    if total is not None:
        expect(count == min(limit, total), f"{count} documents of {total}; the default is {limit}")
    return f"{count} documents" + ("" if total is None else f" of {total}")


@check("lists", "list-largest-limit", "vendor's list conventions", profiles=VENDOR)
def check_max_limit(server: ServerUnderTest) -> str:
    """Check that the largest documented value of the `limit` parameter is accepted."""
    limit = server.profile.max_limit
    expect_status(server.get("/CFDocuments", limit=limit, fields=server.profile.id_key), 200)
    return f"limit={limit}"


@check("lists", "list-limit", CONVENTIONS)
def check_limit_parameter(server: ServerUnderTest) -> str:
    """Check that a list returns at most as many entities as the `limit` parameter allows."""
    server.existing.require_documents(1)
    count = len(server.get_page("CFDocuments", limit=1).entities)
    expect(count == 1, f"{count} documents with limit=1")
    return "1 document with limit=1"


@check("lists", "list-offset", CONVENTIONS)
def check_offset_parameter(server: ServerUnderTest) -> str:
    """Check that a list skips the number of entities given by the `offset` parameter."""
    server.existing.require_documents(2)
    both_identifiers = get_identifiers(server.get_page("CFDocuments", limit=2).entities)
    second_identifiers = get_identifiers(server.get_page("CFDocuments", limit=1, offset=1).entities)
    expect(
        second_identifiers == both_identifiers[1:2],
        f"limit=2 returns {both_identifiers}; limit=1, offset=1 returns {second_identifiers}",
    )
    return "the second of two"


@check("lists", "list-each-once", CONVENTIONS)
def check_stable_pages(server: ServerUnderTest) -> str:
    """Check that paging through a list returns each entity once, and always in the same order."""
    first_identifiers, first_total = _read_pages(server)
    second_identifiers, second_total = _read_pages(server)
    expect(
        len(set(first_identifiers)) == len(first_identifiers),
        f"a document is on two pages: {first_identifiers}",
    )
    expect(
        first_identifiers == second_identifiers,
        f"first {first_identifiers}, then {second_identifiers}",
    )
    expect(first_total == second_total, f"total was {first_total}, then {second_total}")
    return f"{len(first_identifiers)} documents on pages of {PAGE_SIZE}, twice the same"


@check("lists", "sort", "vendor's list conventions; binding, section 3.2")
def check_sort(server: ServerUnderTest) -> str:
    """Check that the parameters `sort` and `orderBy` sort a list by a field in a direction."""
    server.existing.require_documents(2)
    field = "lastChangeDateTime"
    ascending = _change_times(server.get_page("CFDocuments", sort=field, orderBy="asc"))
    descending = _change_times(server.get_page("CFDocuments", sort=field, orderBy="desc"))
    if len(set(ascending)) == 1 and set(ascending) == set(descending):
        raise CheckSkipped(f"all documents have the same {field}")
    if ascending == descending and server.profile.is_standard:
        raise CheckSkipped("the server does not sort, which is optional")
    is_sorted = ascending == sorted(ascending)
    expect(is_sorted, f"sort={field}, orderBy=asc returns {_format_times(ascending)}")
    is_reversed = descending == sorted(descending, reverse=True)
    expect(is_reversed, f"orderBy=desc returns {_format_times(descending)}")
    return f"{len(ascending)} documents by {field}, ascending and descending"


@check("lists", "filter-equals", FILTERS)
def check_filter_equals(server: ServerUnderTest) -> str:
    """Check that the filter title='…' returns exactly the documents with that title."""
    title = _title(server)
    return _expect_filter_by_title(server, f"title={quote_filter_value(title)}", title)


@check("lists", "filter-case", FILTERS)
def check_filter_ignores_case(server: ServerUnderTest) -> str:
    """Check that a filter compares strings case-insensitively."""
    title = _title(server)
    return _expect_filter_by_title(server, f"title={quote_filter_value(title.swapcase())}", title)


@check("lists", "filter-contains", FILTERS)
def check_filter_contains(server: ServerUnderTest) -> str:
    """Check that the filter title~'…' returns documents whose title contains that string."""
    word = max(_title(server).split(), key=len)
    for document in _filter_documents(server, f"title~{quote_filter_value(word)}"):
        has_word = word.lower() in str(document.get("title")).lower()
        expect(has_word, f"title~'{word}' returns {document}")
    return f"title~'{word}'"


@check("lists", "filter-differs", FILTERS)
def check_filter_not_equal(server: ServerUnderTest) -> str:
    """Check that the filter title!='…' returns the documents with any other title."""
    title = _title(server)
    if all(_has_title(document, title) for document in server.existing.documents):
        raise CheckSkipped("all documents on the first page have the same title")
    condition = f"title!={quote_filter_value(title)}"
    documents = _filter_documents(server, condition, contains_sample=False)
    mismatches = [document for document in documents if _has_title(document, title)]
    expect(not mismatches, f"title!='{title}' returns {get_identifiers(mismatches)}")
    return f"{len(documents)} others"


@check("lists", "filter-or", FILTERS)
def check_or_filter(server: ServerUnderTest) -> str:
    """Check that a filter can combine two predicates with OR."""
    title = _title(server)
    condition = f"title={quote_filter_value(title)} OR title='no document has this title'"
    return _expect_filter_by_title(server, condition, title)


@check("lists", "filter-and", FILTERS)
def check_and_filter(server: ServerUnderTest) -> str:
    """Check that a filter can combine two predicates with AND."""
    title = _title(server)
    creator = quote_filter_value(str(server.existing.sample_document.get("creator")))
    condition = f"title={quote_filter_value(title)} AND creator={creator}"
    return _expect_filter_by_title(server, condition, title)


@check("lists", "filter-in", "vendor's OpenAPI, filtering", profiles=SDK)
def check_filter_in(server: ServerUnderTest) -> str:
    """Check that the filter sourcedId@'a,b' returns the documents with one of these sourcedIds."""
    expected = get_identifiers(server.existing.documents)[:2]
    condition = f"sourcedId@{quote_filter_value(','.join(expected))}"
    returned_identifiers = get_identifiers(
        _filter_documents(server, condition, contains_sample=False)
    )
    expect(
        sorted(returned_identifiers) == sorted(expected),
        f"requested {expected}, got {returned_identifiers}",
    )
    return f"{len(returned_identifiers)} documents"


@check("lists", "filter-shown", SILENT, profiles=(), extension_profiles=ALL)
def check_filter_by_string_fields(server: ServerUnderTest) -> str:
    """Check that a filter by any string field of an entity or its links returns that entity."""
    pair = (server.existing.sample_document, server.existing.documents[-1])
    samples = {get_identifier(document): document for document in pair}
    entities = [("CFDocuments", document) for document in samples.values()]
    if server.profile.name in VENDOR:
        entities += [("CFItems", item) for item in server.get_page("CFItems", limit=1).entities]
    count = 0
    for collection, entity in entities:
        for path, value in _iter_strings(entity):
            condition = f"{path}={quote_filter_value(value)}"
            page = server.get_page(collection, limit=FILTERED_PAGE_SIZE, filter=condition)
            expect(page.entities, f"{collection}: {condition} returns nothing")
            _expect_page_contains(page, entity, f"{collection}: {condition}")
            count += 1
    return f"{count} values of {len(entities)} entities"


def _iter_strings(entity: Body, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, value) for each string field of an entity and of its links.

    The path of a link's field contains the name of the link: ``CFDocumentURI.title``. ``prefix`` is
    put before each name. Strings of more than 300 characters are left out.
    """
    for name, value in entity.items():
        if isinstance(value, dict) and name.endswith("URI"):
            yield from _iter_strings(value, f"{prefix}{name}.")
        elif isinstance(value, str) and len(value) <= MAX_FILTER_CHARS:
            yield f"{prefix}{name}", value


def _expect_page_contains(page: ListResponse, entity: Body, condition: str) -> None:
    """Raise ``CheckFailed`` if the first page of a filtered list lacks an entity.

    ``page`` is the response to the filter ``condition``, and ``entity`` the JSON of the entity. If
    the list has more pages, the check passes, because they may contain it.
    """
    identifier = get_identifier(entity)
    has_later_page = page.total is not None and page.total > len(page.entities)
    is_found = identifier in get_identifiers(page.entities)
    expect(is_found or has_later_page, f"{condition} does not return {identifier}")


@check("lists", "fields", "vendor's list conventions; binding, section 3.4")
def check_fields_parameter(server: ServerUnderTest) -> str:
    """Check that the `fields` parameter limits the entities of a list to the requested fields."""
    requested = {"title", server.profile.id_key}
    documents = server.get_page("CFDocuments", fields=",".join(sorted(requested))).entities
    if not documents:
        raise CheckSkipped("the server has no documents")
    all_fields = server.existing.documents[0].keys()
    if documents[0].keys() == all_fields and server.profile.is_standard:
        raise CheckSkipped("the server does not select fields, which is optional")
    names = {name for document in documents for name in document}
    extra_fields = names - requested - {"identifier", "sourcedId"}
    expect(not extra_fields, f"requested only title, got {', '.join(sorted(extra_fields))} as well")
    expect(all("title" in document for document in documents), "requested title, got none")
    return f"{', '.join(sorted(requested))} of {len(documents)} documents"


def quote_filter_value(value: str) -> str:
    """Return a value as a CASE filter literal: in single quotes, with inner quotes doubled."""
    return "'" + value.replace("'", "''") + "'"


def _title(server: ServerUnderTest) -> str:
    return str(server.existing.sample_document.get("title"))


def _has_title(document: Body, title: str) -> bool:
    return str(document.get("title")).lower() == title.lower()


def _expect_filter_by_title(server: ServerUnderTest, condition: str, title: str) -> str:
    """Raise ``CheckFailed`` unless a filter returns the documents with a title, and no others.

    ``condition`` is the filter, and ``title`` the title of the sample document. Returns the number
    of documents for the report: "3 with that title".
    """
    documents = _filter_documents(server, condition)
    mismatches = [document for document in documents if not _has_title(document, title)]
    expect(not mismatches, f"{condition} returns {get_identifiers(mismatches)} as well")
    return f"{len(documents)} with that title"


def _filter_documents(
    server: ServerUnderTest, condition: str, *, contains_sample: bool = True
) -> list[Body]:
    unfiltered = server.get_page("CFDocuments", limit=FILTERED_PAGE_SIZE).entities
    page = server.get_page("CFDocuments", limit=FILTERED_PAGE_SIZE, filter=condition)
    is_same = get_identifiers(page.entities) == get_identifiers(unfiltered)
    if is_same and len(unfiltered) > 1 and server.profile.is_standard:
        raise CheckSkipped("the server ignores filters, which are optional")
    if contains_sample:
        _expect_page_contains(page, server.existing.sample_document, condition)
    return page.entities


def _change_times(page: ListResponse) -> list[datetime]:
    return [datetime.fromisoformat(str(entity["lastChangeDateTime"])) for entity in page.entities]


def _format_times(times: list[datetime]) -> str:
    return ", ".join(time.isoformat() for time in times[:MAX_LISTED_TIMES])


def _read_pages(server: ServerUnderTest) -> tuple[list[str], int | None]:
    identifiers: list[str] = []
    total: int | None = None
    for number in range(MAX_PAGES):
        page = server.get_page("CFDocuments", limit=PAGE_SIZE, offset=number * PAGE_SIZE)
        total = page.total
        identifiers += get_identifiers(page.entities)
        is_last = total is not None and len(identifiers) >= total
        if is_last or len(page.entities) < PAGE_SIZE:
            break
    if len(identifiers) <= PAGE_SIZE:
        raise CheckSkipped("the server has too few documents for a second page")
    return identifiers, total


def _check_list(server: ServerUnderTest, collection: str) -> str:
    entities = server.get_page(collection).entities
    count, unidentified = len(entities), get_identifiers(entities).count("")
    expect(not unidentified, f"{unidentified} of {count} {collection} lack an identifier")
    return f"{count} {collection}"
