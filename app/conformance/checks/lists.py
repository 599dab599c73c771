"""Lists: what stands in them, and how they are gone through."""

from __future__ import annotations

from ..check import PLATFORM, SDK, STANDARD, VENDOR, Check
from ..client import Body, ServerUnderTest, Skip, expect, expect_status, identifiers_of
from ..profiles import identifier_of
from ..shapes import expect_valid

STEP = 2
PAGES = 5
"""How far a list is gone through, in pages of ``STEP``."""


def documents(server: ServerUnderTest) -> str:
    """GET /CFDocuments answers a list of documents under CFDocuments."""
    return _listed(server, "CFDocuments")


def items(server: ServerUnderTest) -> str:
    """GET /CFItems answers a list of items under CFItems."""
    return _listed(server, "CFItems")


def subjects(server: ServerUnderTest) -> str:
    """GET /CFSubjects answers a list of subjects under CFSubjects."""
    return _listed(server, "CFSubjects")


def valid(server: ServerUnderTest) -> str:
    """Every document of a list has the fields that a document must have, in their types."""
    for one in server.existing.documents:
        expect_valid(server.profile, "CFDocument", one)
    return f"{len(server.existing.documents)} documents"


def body_says_paging(server: ServerUnderTest) -> str:
    """A list says total, limit and offset beside its entities, as whole numbers."""
    for plural in ("CFDocuments", "CFSubjects"):
        body = server.get_page(plural, limit=3, offset=1).body
        told = {name: body.get(name) for name in ("total", "limit", "offset")}
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in told.values())
        expect(whole, f"{plural} says {told}")
        expect((told["limit"], told["offset"]) == (3, 1), f"asked limit=3, offset=1; got {told}")
    return "total, limit and offset"


def header_says_total(server: ServerUnderTest) -> str:
    """X-Total-Count says how many there are in all."""
    told = server.get_page("CFDocuments", limit=1).response.headers.get("X-Total-Count")
    expect(told is not None, "there is no X-Total-Count")
    expect(str(told).isdigit(), f"X-Total-Count is {told!r}")
    return f"X-Total-Count: {told}"


def links_lead_on(server: ServerUnderTest) -> str:
    """Where there is another page, a Link header of the relation next leads to it."""
    page = server.get_page("CFDocuments", limit=1)
    if (server.total(page) or 0) <= 1:
        raise Skip("needs a list of more than one document that says its total")
    links = page.response.links
    expect("next" in links, f"Link is {page.response.headers.get('Link')!r}")
    expect("offset=1" in links["next"]["url"], f"next is {links['next']['url']}")
    return "rel=next"


def default_limit(server: ServerUnderTest) -> str:
    """Without a limit, a list answers its default number of entities, or all if there are fewer."""
    page = server.get_page("CFDocuments")
    wanted, total = server.profile.default_limit, server.total(page)
    count = len(page.entities)
    expect(count <= wanted, f"{count} documents; the default is {wanted}")
    if total is not None:
        expect(count == min(wanted, total), f"{count} documents of {total}; default {wanted}")
    return f"{count} documents" + ("" if total is None else f" of {total}")


def largest_limit(server: ServerUnderTest) -> str:
    """The largest limit of the documents is accepted."""
    wanted = server.profile.max_limit
    expect_status(server.get("/CFDocuments", limit=wanted, fields=server.profile.id_key), 200)
    return f"limit={wanted}"


def limit(server: ServerUnderTest) -> str:
    """A list answers no more than limit."""
    _some(server, 1)
    count = len(server.get_page("CFDocuments", limit=1).entities)
    expect(count == 1, f"{count} documents with limit=1")
    return "1 document with limit=1"


def offset(server: ServerUnderTest) -> str:
    """With an offset, a list begins so many entities later."""
    _some(server, STEP)
    both = identifiers_of(server.get_page("CFDocuments", limit=STEP).entities)
    second = identifiers_of(server.get_page("CFDocuments", limit=1, offset=1).entities)
    expect(second == both[1:2], f"limit=2 answers {both}; limit=1, offset=1 answers {second}")
    return "the second of two"


def each_once(server: ServerUnderTest) -> str:
    """Page by page, a list shows no entity twice, and asked again it shows the same ones."""
    first, total = _walked(server)
    again, later = _walked(server)
    expect(len(set(first)) == len(first), f"one document stands on two pages: {first}")
    expect(first == again, f"once {first}, then {again}")
    expect(total == later, f"total was {total}, then {later}")
    return f"{len(first)} documents on pages of {STEP}, twice the same"


def _walked(server: ServerUnderTest) -> tuple[list[str], int | None]:
    found: list[str] = []
    total: int | None = None
    for number in range(PAGES):
        page = server.get_page("CFDocuments", limit=STEP, offset=number * STEP)
        total = server.total(page)
        found += identifiers_of(page.entities)
        if len(page.entities) < STEP or (total is not None and len(found) >= total):
            break
    if len(found) <= STEP:
        raise Skip("the server has too few documents for a second page")
    return found, total


def _listed(server: ServerUnderTest, plural: str) -> str:
    page = server.get_page(plural)
    nameless = [one for one in page.entities if not identifier_of(one)]
    expect(not nameless, f"{len(nameless)} of {len(page.entities)} {plural} have no identifier")
    return f"{len(page.entities)} {plural}"


def _some(server: ServerUnderTest, least: int) -> list[Body]:
    if len(server.existing.documents) < least:
        raise Skip(f"the server has fewer than {least} documents")
    return server.existing.documents


CHECKS = (
    Check("list-documents", "lists", "guide, API Endpoints; binding, getAllCFDocuments", documents),
    Check("list-items", "lists", "vendor's OpenAPI, CFItems", items, SDK, PLATFORM),
    Check("list-subjects", "lists", "guide, List all subjects", subjects, PLATFORM, SDK),
    Check("list-valid", "lists", "guide, Create a document; binding, CFDocument", valid),
    Check("list-paging", "lists", "guide, List all subjects", body_says_paging, PLATFORM),
    Check("list-total", "lists", "binding, section 3.1", header_says_total, STANDARD, VENDOR),
    Check("list-link", "lists", "binding, section 3.1", links_lead_on, STANDARD, VENDOR),
    Check("list-default-limit", "lists", "vendor's list conventions; binding, 3.1", default_limit),
    Check("list-largest-limit", "lists", "vendor's list conventions", largest_limit, VENDOR),
    Check("list-limit", "lists", "vendor's list conventions; binding, 3.1", limit),
    Check("list-offset", "lists", "vendor's list conventions; binding, 3.1", offset),
    Check("list-each-once", "lists", "vendor's list conventions; binding, 3.1", each_once),
)
