"""A page of a list: which fields it shows, and the headers that lead to the pages around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from .fields import truncate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .params import Query


MAX_LINK_BYTES = 4000
"""The longest ``Link`` header: nginx reads 4 kB of a response's header section by default."""


def select_fields(body: dict[str, Any], fields: tuple[str, ...] | None) -> dict[str, Any]:
    """The named fields of a body, those and only those; all of them if none are named."""
    if fields is None:
        return body
    return {name: value for name, value in body.items() if name in fields}


def paging_fields(query: Query, total: int) -> dict[str, int]:
    """What a list may say beside its entities, in the names of all the conventions."""
    return {
        "total": total,
        "totalCount": total,
        "pageCount": -(-total // query.limit),
        "pageNumber": query.offset // query.limit + 1,
        "limit": query.limit,
        "offset": query.offset,
    }


def describe_query(plural: str, params: Iterable[tuple[str, str]]) -> str:
    """Return what a list was asked for in words, for a message about why it took long."""
    names = ("filter", "search", "sort", "offset")
    asked = [f"{name} {truncate(value)}" for name, value in params if name in names and value]
    return f"{plural} with {', '.join(asked)}" if asked else plural


def pagination_headers(
    url: str,
    params: Iterable[tuple[str, str]],
    query: Query,
    total: int,
) -> dict[str, str]:
    """Return ``X-Total-Count`` and ``Link`` (RFC 8288) of the page that answers a query.

    A long filter is repeated in each link: proxies refuse a response with a header that is too
    long, so that no ``Link`` is better than one over ``MAX_LINK_BYTES``.
    """
    kept = [(name, value) for name, value in params if name not in ("limit", "offset")]

    def link(relation: str, offset: int) -> str:
        asked = [*kept, ("limit", str(query.limit)), ("offset", str(offset))]
        return f'<{url}?{urlencode(asked, quote_via=quote)}>; rel="{relation}"'

    links = ", ".join(link(relation, offset) for relation, offset in _pages(query, total))
    counted = {"X-Total-Count": str(total)}
    return counted | {"Link": links} if len(links) <= MAX_LINK_BYTES else counted


def _pages(query: Query, total: int) -> Iterator[tuple[str, int]]:
    last = max(total - 1, 0) // query.limit * query.limit
    yield "first", 0
    if query.offset > 0:
        # From beyond the end, one step back leads to what there is.
        yield "prev", min(max(query.offset - query.limit, 0), last)
    if query.offset + query.limit < total:
        yield "next", query.offset + query.limit
    yield "last", last
