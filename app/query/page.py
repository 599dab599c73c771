"""A page of a list: which fields it shows, and the headers that lead to the pages around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .params import Query


def select(body: dict[str, Any], fields: tuple[str, ...] | None) -> dict[str, Any]:
    """The named fields of a body, those and only those; all of them if none are named."""
    if fields is None:
        return body
    return {name: value for name, value in body.items() if name in fields}


def paging(query: Query, total: int) -> dict[str, int]:
    """What a list may say beside its entities, in the names of all the conventions."""
    return {
        "total": total,
        "totalCount": total,
        "pageCount": -(-total // query.limit),
        "pageNumber": query.offset // query.limit + 1,
        "limit": query.limit,
        "offset": query.offset,
    }


def headers(
    url: str,
    params: Iterable[tuple[str, str]],
    query: Query,
    total: int,
) -> dict[str, str]:
    """``X-Total-Count`` and ``Link`` (RFC 8288) of the page that answers a query."""
    kept = [(name, value) for name, value in params if name not in ("limit", "offset")]

    def link(relation: str, offset: int) -> str:
        asked = [*kept, ("limit", str(query.limit)), ("offset", str(offset))]
        return f'<{url}?{urlencode(asked, quote_via=quote)}>; rel="{relation}"'

    links = [link(relation, offset) for relation, offset in _pages(query, total)]
    return {"X-Total-Count": str(total), "Link": ", ".join(links)}


def _pages(query: Query, total: int) -> Iterator[tuple[str, int]]:
    last = max(total - 1, 0) // query.limit * query.limit
    yield "first", 0
    if query.offset > 0:
        # From beyond the end, one step back leads to what there is.
        yield "prev", min(max(query.offset - query.limit, 0), last)
    if query.offset + query.limit < total:
        yield "next", query.offset + query.limit
    yield "last", last
