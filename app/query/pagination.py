"""Selection of fields, and the paging fields and headers of a list response."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

from .fields import truncate_for_message
from .params import ListQuery

MAX_LINK_BYTES = 4000
"""Longest ``Link`` header: nginx reads 4 kB of a response's header section by default."""


def select_fields(body: dict[str, Any], fields: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the JSON object ``body`` with only the top-level fields named in ``fields``.

    If ``fields`` is None, returns ``body`` unchanged.
    """
    if fields is None:
        return body
    return {name: value for name, value in body.items() if name in fields}


def build_paging_fields(query: ListQuery, total: int) -> dict[str, int]:
    """Return the paging fields of a list response: ``{"total": 95, "pageCount": 10, …}``.

    ``query`` has the limit and offset of the page; ``total`` counts the matching entities on all
    pages. Each API profile includes only some of the fields.
    """
    return {
        "total": total,
        "totalCount": total,
        "pageCount": -(-total // query.limit),
        "pageNumber": query.offset // query.limit + 1,
        "limit": query.limit,
        "offset": query.offset,
    }


def describe_query(collection: str, params: Iterable[tuple[str, str]]) -> str:
    """Describe a slow list query for a timeout message, such as "CFItems with filter title~'a'".

    ``params`` contains the query parameters; only those that can make a query slow are included.
    """
    names = ("filter", "search", "sort", "offset")
    parts = [
        f"{name} {truncate_for_message(value)}" for name, value in params if name in names and value
    ]
    return f"{collection} with {', '.join(parts)}" if parts else collection


def build_pagination_headers(
    url: str, params: Iterable[tuple[str, str]], query: ListQuery, total: int
) -> dict[str, str]:
    """Return the headers ``X-Total-Count`` and ``Link`` (RFC 8288) of a list response as a dict.

    ``total`` counts the matching entities on all pages. Each link to a page is ``url`` with
    ``params``, the (name, value) pairs of the request, and the limit and offset of the page.
    ``Link`` is left out if it exceeds ``MAX_LINK_BYTES``, because proxies reject responses with
    longer headers.
    """
    other_params = [(name, value) for name, value in params if name not in ("limit", "offset")]

    def link(relation: str, offset: int) -> str:
        page = [*other_params, ("limit", str(query.limit)), ("offset", str(offset))]
        return f'<{url}?{urlencode(page, quote_via=quote)}>; rel="{relation}"'

    links = ", ".join(link(relation, offset) for relation, offset in _iter_page_links(query, total))
    headers = {"X-Total-Count": str(total)}
    return headers | {"Link": links} if len(links) <= MAX_LINK_BYTES else headers


def _iter_page_links(query: ListQuery, total: int) -> Iterator[tuple[str, int]]:
    last_offset = max(total - 1, 0) // query.limit * query.limit
    yield "first", 0
    if query.offset > 0:
        # From an offset beyond the end, the previous page is the last one.
        yield "prev", min(max(query.offset - query.limit, 0), last_offset)
    if query.offset + query.limit < total:
        yield "next", query.offset + query.limit
    yield "last", last_offset
