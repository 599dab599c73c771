"""Checks of sorting, filters and field selection on lists."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ..check import ALL, SDK, SILENT, VENDOR, check
from ..client import (
    Body,
    CheckSkipped,
    ListPage,
    ServerUnderTest,
    expect,
    get_identifiers,
    get_total_count,
)
from ..profiles import get_identifier

MAX_VALUE_CHARS = 300
"""The longest value that is filtered by, because servers bound the request target."""

MAX_LISTED_TIMES = 4
PAGE_SIZE = 100

FILTERS = "vendor's list conventions; binding, section 3.3"


@check("sort", group="lists", source="vendor's list conventions; binding, section 3.2")
def check_sort(server: ServerUnderTest) -> str:
    """The `sort` and `orderBy` parameters sort a list by a field in the given direction."""
    server.existing.require_documents(2)
    field = "lastChangeDateTime"
    ascending = _change_times(server.get_page("CFDocuments", sort=field, orderBy="asc"))
    descending = _change_times(server.get_page("CFDocuments", sort=field, orderBy="desc"))
    if len(set(ascending)) == 1 and set(ascending) == set(descending):
        raise CheckSkipped(f"all documents have the same {field}")
    if ascending == descending and server.profile.optional_lists:
        raise CheckSkipped("the server does not sort, which is optional")
    is_sorted = ascending == sorted(ascending)
    expect(is_sorted, f"sort={field}, orderBy=asc returns {_format_times(ascending)}")
    is_reversed = descending == sorted(descending, reverse=True)
    expect(is_reversed, f"orderBy=desc returns {_format_times(descending)}")
    return f"{len(ascending)} documents by {field}, ascending and descending"


@check("filter-equals", group="lists", source=FILTERS)
def check_filter_equals(server: ServerUnderTest) -> str:
    """filter=title='…' returns exactly the documents with that title."""
    title = _title(server)
    return _expect_filter_by_title(server, f"title={quote_filter_value(title)}", title)


@check("filter-case", group="lists", source=FILTERS)
def check_filter_ignores_case(server: ServerUnderTest) -> str:
    """A filter compares strings case-insensitively."""
    title = _title(server)
    return _expect_filter_by_title(server, f"title={quote_filter_value(title.swapcase())}", title)


@check("filter-contains", group="lists", source=FILTERS)
def check_filter_contains(server: ServerUnderTest) -> str:
    """filter=title~'…' returns the documents whose title contains that string."""
    word = max(_title(server).split(), key=len)
    for document in _filter_documents(server, f"title~{quote_filter_value(word)}"):
        has_word = word.lower() in str(document.get("title")).lower()
        expect(has_word, f"title~'{word}' returns {document}")
    return f"title~'{word}'"


@check("filter-differs", group="lists", source=FILTERS)
def check_filter_not_equal(server: ServerUnderTest) -> str:
    """filter=title!='…' returns the documents with any other title."""
    title = _title(server)
    if all(_has_title(document, title) for document in server.existing.documents):
        raise CheckSkipped("all documents on the first page have the same title")
    documents = _filter_documents(
        server, f"title!={quote_filter_value(title)}", contains_sample=False
    )
    wrong = [document for document in documents if _has_title(document, title)]
    expect(not wrong, f"title!='{title}' returns {get_identifiers(wrong)}")
    return f"{len(documents)} others"


@check("filter-or", group="lists", source=FILTERS)
def check_filter_or(server: ServerUnderTest) -> str:
    """Two predicates of a filter can be combined with OR."""
    title = _title(server)
    condition = f"title={quote_filter_value(title)} OR title='no document has this title'"
    return _expect_filter_by_title(server, condition, title)


@check("filter-and", group="lists", source=FILTERS)
def check_filter_and(server: ServerUnderTest) -> str:
    """Two predicates of a filter can be combined with AND."""
    title = _title(server)
    creator = quote_filter_value(str(server.existing.sample_document.get("creator")))
    condition = f"title={quote_filter_value(title)} AND creator={creator}"
    return _expect_filter_by_title(server, condition, title)


@check("filter-in", group="lists", source="vendor's OpenAPI, filtering", on=SDK)
def check_filter_in(server: ServerUnderTest) -> str:
    """filter=sourcedId@'…,…' returns the documents with one of the listed values."""
    expected = get_identifiers(server.existing.documents)[:2]
    condition = f"sourcedId@{quote_filter_value(','.join(expected))}"
    returned = get_identifiers(_filter_documents(server, condition, contains_sample=False))
    expect(sorted(returned) == sorted(expected), f"requested {expected}, got {returned}")
    return f"{len(returned)} documents"


@check("filter-shown", group="lists", source=SILENT, on=(), also=ALL)
def check_filter_by_string_fields(server: ServerUnderTest) -> str:
    """Filtering a list by any string field of an entity or its links returns that entity."""
    documents = server.existing.documents
    samples = {
        get_identifier(document): document
        for document in (server.existing.sample_document, documents[-1])
    }
    entities = [("CFDocuments", document) for document in samples.values()]
    if server.profile.name in VENDOR:
        entities += [("CFItems", item) for item in server.get_page("CFItems", limit=1).entities]
    count = 0
    for collection, entity in entities:
        for path, value in _iter_strings(entity):
            _expect_found(server, collection, entity, f"{path}={quote_filter_value(value)}")
            count += 1
    return f"{count} values of {len(entities)} entities"


def _iter_strings(entity: Body, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (``prefix`` + path, string) for each string in an entity and its links."""
    for name, value in entity.items():
        if isinstance(value, dict) and name.endswith("URI"):
            yield from _iter_strings(value, f"{name}.")
        elif isinstance(value, str) and len(value) <= MAX_VALUE_CHARS:
            yield f"{prefix}{name}", value


def _expect_found(server: ServerUnderTest, collection: str, entity: Body, condition: str) -> None:
    page = server.get_page(collection, limit=PAGE_SIZE, filter=condition)
    expect(bool(page.entities), f"{collection}: {condition} returns nothing")
    _expect_contains(page, entity, f"{collection}: {condition}")


def _expect_contains(page: ListPage, entity: Body, condition: str) -> None:
    """Require that a page filtered by ``condition`` contains an entity, or that a later one may."""
    identifier, total = get_identifier(entity), get_total_count(page)
    is_complete = total is None or total <= len(page.entities)
    is_found = identifier in get_identifiers(page.entities)
    expect(is_found or not is_complete, f"{condition} does not return {identifier}")


@check("fields", group="lists", source="vendor's list conventions; binding, section 3.4")
def check_fields_parameter(server: ServerUnderTest) -> str:
    """With the `fields` parameter, the entities of a list contain exactly the requested fields."""
    requested = {"title", server.profile.id_key}
    documents = server.get_page("CFDocuments", fields=",".join(sorted(requested))).entities
    if not documents:
        raise CheckSkipped("the server has no documents")
    all_fields = server.existing.documents[0].keys()
    if documents[0].keys() == all_fields and server.profile.optional_lists:
        raise CheckSkipped("the server does not select fields, which is optional")
    names = {name for document in documents for name in document}
    extra = names - requested - {"identifier", "sourcedId"}
    expect(not extra, f"requested only title, got {', '.join(sorted(extra))} as well")
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
    """Require that a filter returns the sample document, and only documents with its title."""
    documents = _filter_documents(server, condition)
    wrong = [document for document in documents if not _has_title(document, title)]
    expect(not wrong, f"{condition} returns {get_identifiers(wrong)} as well")
    return f"{len(documents)} with that title"


def _filter_documents(
    server: ServerUnderTest, condition: str, *, contains_sample: bool = True
) -> list[Body]:
    unfiltered = server.get_page("CFDocuments", limit=PAGE_SIZE).entities
    page = server.get_page("CFDocuments", limit=PAGE_SIZE, filter=condition)
    is_same = get_identifiers(page.entities) == get_identifiers(unfiltered)
    if is_same and len(unfiltered) > 1 and server.profile.optional_lists:
        raise CheckSkipped("the server ignores filters, which are optional")
    if contains_sample:
        _expect_contains(page, server.existing.sample_document, condition)
    return page.entities


def _change_times(page: ListPage) -> list[datetime]:
    return [datetime.fromisoformat(str(entity["lastChangeDateTime"])) for entity in page.entities]


def _format_times(times: list[datetime]) -> str:
    return ", ".join(time.isoformat() for time in times[:MAX_LISTED_TIMES])
