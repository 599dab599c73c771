"""What lists may be asked: sorting, filters, selection of fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from ..check import ALL, SDK, VENDOR, Check
from ..client import Body, Page, ServerUnderTest, Skip, expect, identifiers_of
from ..profiles import identifier_of

MAX_VALUE_CHARS = 300
"""The longest value that is filtered by, because servers bound the request server."""

LARGEST_PAGE = 100

WORD = 4
"""How many letters a word has that is looked for within titles."""


def sort(server: ServerUnderTest) -> str:
    """With sort and orderBy a list is in the order of a field, up or down."""
    if len(server.existing.documents) < WORD // 2:
        raise Skip("the server has fewer than 2 documents")
    field = "lastChangeDateTime"
    up = _moments(server.get_page("CFDocuments", sort=field, orderBy="asc"))
    down = _moments(server.get_page("CFDocuments", sort=field, orderBy="desc"))
    if len(set(up)) == 1 and set(up) == set(down):
        raise Skip(f"all documents have the same {field}")
    if up == down and server.profile.optional_lists:
        raise Skip("the server does not sort, which is optional")
    expect(up == sorted(up), f"sort={field}, orderBy=asc answers {_told(up)}")
    expect(down == sorted(down, reverse=True), f"orderBy=desc answers {_told(down)}")
    return f"{len(up)} documents by {field}, up and down"


def equals(server: ServerUnderTest) -> str:
    """filter=title='…' answers the documents of that title and no others."""
    title = _title(server)
    return _found(server, f"title={quoted(title)}", [title])


def ignores_case(server: ServerUnderTest) -> str:
    """A filter does not tell upper case from lower case."""
    title = _title(server)
    return _found(server, f"title={quoted(title.swapcase())}", [title])


def contains(server: ServerUnderTest) -> str:
    """filter=title~'…' answers the documents whose title contains that."""
    title = _title(server)
    part = max(title.split(), key=len)
    for one in _asked(server, f"title~{quoted(part)}"):
        expect(part.lower() in str(one.get("title")).lower(), f"title~'{part}' answers {one}")
    return f"title~'{part}'"


def differs(server: ServerUnderTest) -> str:
    """filter=title!='…' answers the documents of all other titles."""
    title = _title(server)
    if all(_same(one, title) for one in server.existing.documents):
        raise Skip("all documents that were listed have one title")
    found = _asked(server, f"title!={quoted(title)}", holds_sample=False)
    wrong = [one for one in found if _same(one, title)]
    expect(not wrong, f"title!='{title}' answers {identifiers_of(wrong)}")
    return f"{len(found)} others"


def either(server: ServerUnderTest) -> str:
    """Two predicates of a filter can be joined by OR."""
    title = _title(server)
    return _found(server, f"title={quoted(title)} OR title='nobody calls it so'", [title])


def both(server: ServerUnderTest) -> str:
    """Two predicates of a filter can be joined by AND."""
    title = _title(server)
    creator = str(server.existing.document.get("creator"))
    return _found(server, f"title={quoted(title)} AND creator={quoted(creator)}", [title])


def one_of(server: ServerUnderTest) -> str:
    """filter=sourcedId@'…,…' answers the documents of a list of values."""
    wanted = identifiers_of(server.existing.documents)[:2]
    found = identifiers_of(
        _asked(server, f"sourcedId@{quoted(','.join(wanted))}", holds_sample=False)
    )
    expect(sorted(found) == sorted(wanted), f"asked for {wanted}, it answers {found}")
    return f"{len(found)} documents"


def shown_values(server: ServerUnderTest) -> str:
    """A filter by a value that a list shows finds the entity that shows it, links included."""
    documents = server.existing.documents
    known = {identifier_of(one): one for one in (server.existing.document, documents[-1])}
    entities = [("CFDocuments", one) for one in known.values()]
    if server.profile.name in VENDOR:
        entities += [("CFItems", one) for one in server.get_page("CFItems", limit=1).entities]
    count = 0
    for plural, entity in entities:
        for path, value in _comparable(entity):
            _expect_found(server, plural, entity, f"{path}={quoted(value)}")
            count += 1
    return f"{count} values of {len(entities)} entities"


def _comparable(entity: Body, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the strings of an entity and of its links by dotted path, unless they are long."""
    for name, value in entity.items():
        if isinstance(value, dict) and name.endswith("URI"):
            yield from _comparable(value, f"{name}.")
        elif isinstance(value, str) and len(value) <= MAX_VALUE_CHARS:
            yield f"{prefix}{name}", value


def _expect_found(server: ServerUnderTest, plural: str, entity: Body, condition: str) -> None:
    """Filter by a value: the list answers the entity, unless more than a page shows the value."""
    page = server.get_page(plural, limit=LARGEST_PAGE, filter=condition)
    known = identifier_of(entity)
    total = server.total(page)
    is_whole = total is None or total <= len(page.entities)
    found = known in identifiers_of(page.entities) or not is_whole
    expect(found, f"{plural}: {condition} does not return {known}")
    expect(bool(page.entities), f"{plural}: {condition} answers nothing")


def selection(server: ServerUnderTest) -> str:
    """With fields, a list answers those fields and only those."""
    wanted = {"title", server.profile.id_key}
    found = server.get_page("CFDocuments", fields=",".join(sorted(wanted))).entities
    if not found:
        raise Skip("the server has no documents")
    whole = server.existing.documents[0].keys()
    if found[0].keys() == whole and server.profile.optional_lists:
        raise Skip("the server does not select fields, which is optional")
    more = {name for one in found for name in one} - wanted - {"identifier", "sourcedId"}
    expect(not more, f"asked for title, it answers {', '.join(sorted(more))} too")
    expect(all("title" in one for one in found), "asked for title, it answers none")
    return f"{', '.join(sorted(wanted))} of {len(found)} documents"


def quoted(value: str) -> str:
    """A value as filters write it: in single quotes, a quote in it doubled."""
    return "'" + value.replace("'", "''") + "'"


def _title(server: ServerUnderTest) -> str:
    return str(server.existing.document.get("title"))


def _same(one: Body, title: str) -> bool:
    return str(one.get("title")).lower() == title.lower()


def _found(server: ServerUnderTest, condition: str, titles: Iterable[str]) -> str:
    """What a filter finds, where it is to find the sample and only documents of these titles."""
    found = _asked(server, condition)
    allowed = {title.lower() for title in titles}
    wrong = [one for one in found if str(one.get("title")).lower() not in allowed]
    expect(not wrong, f"{condition} answers {identifiers_of(wrong)} too")
    return f"{len(found)} of that title"


def _asked(server: ServerUnderTest, condition: str, *, holds_sample: bool = True) -> list[Body]:
    everything = server.get_page("CFDocuments", limit=100)
    found = server.get_page("CFDocuments", limit=100, filter=condition)
    ignored = (
        identifiers_of(found.entities) == identifiers_of(everything.entities)
        and len(everything.entities) > 1
    )
    if ignored and server.profile.optional_lists:
        raise Skip("the server answers as without a filter, which is optional")
    if holds_sample:
        known = identifier_of(server.existing.document)
        full = server.total(found)
        all_here = full is None or full <= len(found.entities)
        expect(
            known in identifiers_of(found.entities) or not all_here,
            f"{condition} does not return {known}",
        )
    return found.entities


def _moments(page: Page) -> list[datetime]:
    return [datetime.fromisoformat(str(one["lastChangeDateTime"])) for one in page.entities]


def _told(moments: list[datetime]) -> str:
    return ", ".join(one.isoformat() for one in moments[:WORD])


SILENT = "README, Where the public sources are silent"
FILTERS = "vendor's list conventions; binding, section 3.3"

CHECKS = (
    Check("sort", "lists", "vendor's list conventions; binding, section 3.2", sort),
    Check("filter-equals", "lists", FILTERS, equals),
    Check("filter-case", "lists", FILTERS, ignores_case),
    Check("filter-contains", "lists", FILTERS, contains),
    Check("filter-differs", "lists", FILTERS, differs),
    Check("filter-or", "lists", FILTERS, either),
    Check("filter-and", "lists", FILTERS, both),
    Check("filter-in", "lists", "vendor's OpenAPI, filtering", one_of, SDK),
    Check("filter-shown", "lists", SILENT, shown_values, documented=(), extension_of=ALL),
    Check("fields", "lists", "vendor's list conventions; binding, section 3.4", selection),
)
