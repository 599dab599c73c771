"""Checks of lists: their content, paging and totals."""

from __future__ import annotations

from ..check import PLATFORM, SDK, STANDARD, VENDOR, check
from ..client import (
    CheckSkipped,
    ServerUnderTest,
    expect,
    expect_status,
    get_identifiers,
    get_total_count,
)
from ..profiles import get_identifier
from ..validation import expect_valid

PAGE_SIZE = 2
MAX_PAGES = 5

CONVENTIONS = "vendor's list conventions; binding, 3.1"


@check("list-documents", group="lists", source="guide, API Endpoints; binding, getAllCFDocuments")
def check_list_documents(server: ServerUnderTest) -> str:
    """GET /CFDocuments returns a list of documents under the key CFDocuments."""
    return _check_list(server, "CFDocuments")


@check("list-items", group="lists", source="vendor's OpenAPI, CFItems", on=SDK, also=PLATFORM)
def check_list_items(server: ServerUnderTest) -> str:
    """GET /CFItems returns a list of items under the key CFItems."""
    return _check_list(server, "CFItems")


@check("list-subjects", group="lists", source="guide, List all subjects", on=PLATFORM, also=SDK)
def check_list_subjects(server: ServerUnderTest) -> str:
    """GET /CFSubjects returns a list of subjects under the key CFSubjects."""
    return _check_list(server, "CFSubjects")


@check("list-valid", group="lists", source="guide, Create a document; binding, CFDocument")
def check_listed_documents_valid(server: ServerUnderTest) -> str:
    """Every document in a list has all required fields, and every field has the right type."""
    for document in server.existing.documents:
        expect_valid(server.profile, "CFDocument", document)
    return f"{len(server.existing.documents)} documents"


@check("list-paging", group="lists", source="guide, List all subjects", on=PLATFORM)
def check_paging_fields(server: ServerUnderTest) -> str:
    """A list response contains the integers total, limit and offset alongside its entities."""
    for collection in ("CFDocuments", "CFSubjects"):
        body = server.get_page(collection, limit=3, offset=1).body
        values = {name: body.get(name) for name in ("total", "limit", "offset")}
        are_integers = all(
            isinstance(value, int) and not isinstance(value, bool) for value in values.values()
        )
        expect(are_integers, f"{collection} contains {values}")
        is_as_requested = (values["limit"], values["offset"]) == (3, 1)
        expect(is_as_requested, f"requested limit=3, offset=1; got {values}")
    return "total, limit and offset"


@check("list-total", group="lists", source="binding, section 3.1", on=STANDARD, also=VENDOR)
def check_total_header(server: ServerUnderTest) -> str:
    """The X-Total-Count header states the total number of entities."""
    value = server.get_page("CFDocuments", limit=1).response.headers.get("X-Total-Count")
    expect(value is not None, "no X-Total-Count header")
    expect(str(value).isdigit(), f"X-Total-Count is {value!r}")
    return f"X-Total-Count: {value}"


@check("list-link", group="lists", source="binding, section 3.1", on=STANDARD, also=VENDOR)
def check_next_link(server: ServerUnderTest) -> str:
    """If there is another page, a Link header with rel="next" points to it."""
    page = server.get_page("CFDocuments", limit=1)
    if (get_total_count(page) or 0) <= 1:
        raise CheckSkipped("needs a list of more than one document that states its total")
    links = page.response.links
    expect("next" in links, f"Link is {page.response.headers.get('Link')!r}")
    expect("offset=1" in links["next"]["url"], f"next is {links['next']['url']}")
    return "rel=next"


@check("list-default-limit", group="lists", source=CONVENTIONS)
def check_default_limit(server: ServerUnderTest) -> str:
    """Without the `limit` parameter, a list returns at most the default number of entities."""
    page = server.get_page("CFDocuments")
    limit, total = server.profile.default_limit, get_total_count(page)
    count = len(page.entities)
    expect(count <= limit, f"{count} documents; the default is {limit}")
    if total is not None:
        expect(count == min(limit, total), f"{count} documents of {total}; the default is {limit}")
    return f"{count} documents" + ("" if total is None else f" of {total}")


@check("list-largest-limit", group="lists", source="vendor's list conventions", on=VENDOR)
def check_max_limit(server: ServerUnderTest) -> str:
    """The largest documented value of the `limit` parameter is accepted."""
    limit = server.profile.max_limit
    expect_status(server.get("/CFDocuments", limit=limit, fields=server.profile.id_key), 200)
    return f"limit={limit}"


@check("list-limit", group="lists", source=CONVENTIONS)
def check_limit_parameter(server: ServerUnderTest) -> str:
    """A list returns at most as many entities as the `limit` parameter allows."""
    server.existing.require_documents(1)
    count = len(server.get_page("CFDocuments", limit=1).entities)
    expect(count == 1, f"{count} documents with limit=1")
    return "1 document with limit=1"


@check("list-offset", group="lists", source=CONVENTIONS)
def check_offset_parameter(server: ServerUnderTest) -> str:
    """A list skips the number of entities given by the `offset` parameter."""
    server.existing.require_documents(2)
    both = get_identifiers(server.get_page("CFDocuments", limit=2).entities)
    second = get_identifiers(server.get_page("CFDocuments", limit=1, offset=1).entities)
    expect(second == both[1:2], f"limit=2 returns {both}; limit=1, offset=1 returns {second}")
    return "the second of two"


@check("list-each-once", group="lists", source=CONVENTIONS)
def check_stable_pages(server: ServerUnderTest) -> str:
    """Paging through a list returns each entity once, and each time in the same order."""
    first, first_total = _read_pages(server)
    second, second_total = _read_pages(server)
    expect(len(set(first)) == len(first), f"a document is on two pages: {first}")
    expect(first == second, f"first {first}, then {second}")
    expect(first_total == second_total, f"total was {first_total}, then {second_total}")
    return f"{len(first)} documents on pages of {PAGE_SIZE}, twice the same"


def _read_pages(server: ServerUnderTest) -> tuple[list[str], int | None]:
    identifiers: list[str] = []
    total: int | None = None
    for number in range(MAX_PAGES):
        page = server.get_page("CFDocuments", limit=PAGE_SIZE, offset=number * PAGE_SIZE)
        total = get_total_count(page)
        identifiers += get_identifiers(page.entities)
        is_last = total is not None and len(identifiers) >= total
        if is_last or len(page.entities) < PAGE_SIZE:
            break
    if len(identifiers) <= PAGE_SIZE:
        raise CheckSkipped("the server has too few documents for a second page")
    return identifiers, total


def _check_list(server: ServerUnderTest, collection: str) -> str:
    entities = server.get_page(collection).entities
    unidentified = [entity for entity in entities if not get_identifier(entity)]
    expect(
        not unidentified, f"{len(unidentified)} of {len(entities)} {collection} lack an identifier"
    )
    return f"{len(entities)} {collection}"
