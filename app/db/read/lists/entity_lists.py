"""Read one page of a list: filtered, sorted and searched as the client requests.

Values from the client are always bound as parameters. Lists that differ only in values share one
compiled SQL statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from ....query.fields import FieldType, QueryableField
from ....query.filter import Node
from ....query.params import ListQuery
from ...pool import Database
from ...schema.expressions import LIMIT, OFFSET
from ...schema.tables import items
from ...statement import CompiledStatement
from ..visibility import build_body_expression, build_visible_condition
from . import item_counts
from .filters import Values, build_sort_key, build_where_clause, parameterize_filter
from .response_fields import BASE_URL, ResourceView
from .search import HAS_CODE_PREFIX, HAS_WORDS, RELEVANCE_SCORE, parse_search_query

STATEMENT_CACHE_SIZE = 256
"""Number of compiled statements in the cache; clients send few shapes of list requests."""


class ListPage(NamedTuple):
    """A page of a list: the JSON bodies of its entities, and the length of the whole list."""

    total: int
    bodies: list[str]


class ListQueryShape(NamedTuple):
    """The parts of a list request that determine its SQL: everything but the values.

    Requests of the same shape share one compiled SQL statement.
    """

    view: ResourceView
    where: Node | None
    """The filter as returned by ``parameterize_filter``."""
    sort: QueryableField | None
    """None if the identifier or the relevance determines the order."""
    is_descending: bool
    has_search: bool
    is_by_relevance: bool


async def fetch_page(
    database: Database, view: ResourceView, query: ListQuery, base_url: str = ""
) -> ListPage:
    """Return the ``ListPage`` for a list request: a page of entities and the list's length.

    ``query`` contains the filter, search, order, limit and offset. Filters and sorting use the
    values that ``view`` shows to the client, including URLs that start with ``base_url``. Entities
    with equal sort keys are sorted by identifier, in the same direction. Raises ``QueryTimeout``.
    """
    statement, values = await choose_list_statement(database, view, query, base_url)
    rows = await database.run_heavy_read(statement, **values)
    bodies = [row["body"] for row in rows if row["body"] is not None]
    if rows[0]["not_compacted"] > item_counts.COMPACT_AT:
        await item_counts.compact_item_counts(database)
    return ListPage(rows[0]["total"], bodies)


async def choose_list_statement(
    database: Database, view: ResourceView, query: ListQuery, base_url: str = ""
) -> tuple[CompiledStatement, Values]:
    """Return the cheaper of two SQL statements for a list request, and its parameter values.

    Only one uses the index of filter keys, which costs more than it saves if many items have the
    key: a million items with language='en' were counted in 13 s with it and in 3 s without.
    Postgres estimates both costs. ``view`` and ``base_url`` are as in ``build_list_statement``.
    """
    scan_statement = build_list_statement(view, query, base_url)
    key_statement = build_list_statement(view, query, base_url, should_use_keys=True)
    if key_statement[0] is scan_statement[0]:
        return scan_statement
    costs = [
        (await database.estimate(statement, **values)).cost
        for statement, values in (key_statement, scan_statement)
    ]
    return key_statement if costs[0] < costs[1] else scan_statement


def build_list_statement(
    view: ResourceView, query: ListQuery, base_url: str = "", *, should_use_keys: bool = False
) -> tuple[CompiledStatement, Values]:
    """Return (statement, values): the SQL of a list request and its parameter values.

    Requests that differ only in values share the compiled statement. With ``should_use_keys``, it
    can use the index of filter keys. ``view`` is the listed resource type in the client's API
    profile, ``base_url`` the start of the URLs in its responses.
    """
    values: Values = {"limit": query.limit, "offset": query.offset, BASE_URL: base_url}
    where = query.where and parameterize_filter(
        view, query.where, values, should_use_keys=should_use_keys
    )
    if query.search:
        values |= parse_search_query(query.search)._asdict()
    shape = ListQueryShape(
        view=view,
        where=where,
        # The default order, which an index has: all lists end with the order of identifiers.
        sort=None if query.sort and query.sort.path == ("identifier",) else query.sort,
        is_descending=query.descending,
        has_search=bool(query.search),
        is_by_relevance=bool(query.search) and not query.sort,
    )
    return _compile_list_statement(shape), values


@lru_cache(STATEMENT_CACHE_SIZE)
def _compile_list_statement(shape: ListQueryShape) -> CompiledStatement:
    """Compile the SQL statement for all list requests that differ only in values.

    1. ``matches`` (a CTE or subquery) selects the identifiers and sort keys of all listed entities.
    2. ``page`` sorts them and selects the page.
    3. ``counted`` counts them, so that a page beyond the end still has the total. For an unfiltered
       list of items, it reads the total from the table ``item_counts``.
    4. The bodies are read for the rows of the page only.

    A single SQL statement sees one snapshot, so total and page agree.
    """
    table, rows = shape.view.table, _build_matches_query(shape)
    is_filtered = shape.has_search or shape.where is not None
    # A CTE, because matches of a filter are needed twice, for the count and for the page. Without a
    # filter a subquery is faster: one index gives the page without reading the bodies before the
    # offset, another one the count.
    matching = rows.cte("matches") if is_filtered else rows.subquery("matches")
    zero_count: ColumnElement[int] = literal_column("0").label("not_compacted")
    totals = select(func.count().label("total"), zero_count).select_from(matching)
    if is_filtered:
        count_cte = totals.cte("counted")
        page = (
            select(matching).order_by(*_build_order_by(matching, shape)).limit(LIMIT).offset(OFFSET)
        )
    else:
        count_cte = (item_counts.build_item_count_query() if table is items else totals).cte(
            "counted"
        )
        page = _build_page_from_nearer_end(rows, count_cte.c.total, shape)
    page_rows = page.subquery("page")
    # A scalar subquery instead of a join, because Postgres would read all bodies for a join if it
    # estimates the page to be large.
    body = select(build_body_expression(shape.view.resource)).where(
        table.c.identifier == page_rows.c.identifier
    )
    return CompiledStatement(
        select(count_cte.c.total, count_cte.c.not_compacted, body.scalar_subquery().label("body"))
        .select_from(count_cte.outerjoin(page_rows, true()))
        .order_by(*_build_order_by(page_rows, shape))
    )


def _build_matches_query(shape: ListQueryShape) -> Select[Any]:
    """Build the query for the identifiers and sort keys of all entities of a list, unsorted.

    ``shape`` has the filter, search and sort field that determine the query.
    """
    table = shape.view.table
    columns: dict[str, ColumnElement[Any]] = {"identifier": table.c.identifier}
    if shape.sort:
        columns["key"] = build_sort_key(shape.view, shape.sort)
    elif shape.is_by_relevance:
        # Negated, because lists are ascending and the best match comes first.
        columns["key"] = -RELEVANCE_SCORE
    rows = select(*(column.label(name) for name, column in columns.items())).where(
        build_visible_condition(table)
    )
    if shape.has_search:
        rows = rows.where(or_(HAS_CODE_PREFIX, HAS_WORDS))
    if shape.where is not None:
        rows = rows.where(build_where_clause(shape.view, shape.where))
    return rows


def _build_page_from_nearer_end(
    rows: Select[Any], total: ColumnElement[int], shape: ListQueryShape
) -> Select[Any]:
    """Build the query for a page of ``rows``, counted from the nearer end of the list.

    The last page of a million items then takes as long as the first. There is one SELECT for each
    end. The SELECT that is not needed has LIMIT 0, so Postgres does not run it.
    """
    no_rows: ColumnElement[int] = literal_column("0")
    is_near_start = total >= OFFSET * 2
    count_from_here = func.greatest(total - OFFSET, no_rows)
    from_end = func.least(LIMIT, count_from_here)
    skipped_at_end = func.greatest(count_from_here - LIMIT, no_rows)
    slices = (
        (False, case((is_near_start, LIMIT), else_=no_rows), OFFSET),
        (True, case((is_near_start, no_rows), else_=from_end), skipped_at_end),
    )
    pages = []
    for is_backward, limit, offset in slices:
        listed = rows.subquery("backward" if is_backward else "forward")
        order = _build_order_by(listed, shape, is_backward=is_backward)
        pages.append(
            select(listed)
            .order_by(*order)
            .limit(select(limit).scalar_subquery())
            .offset(select(offset).scalar_subquery())
        )
    return select(union_all(*pages).subquery("pages"))


def _build_order_by(
    rows: FromClause, shape: ListQueryShape, *, is_backward: bool = False
) -> Sequence[ColumnElement[Any]]:
    """Return the ORDER BY columns for ``rows``: the sort key, NULLs last, then the identifier.

    In a descending list, entities with equal keys are sorted by descending identifier. With
    ``is_backward``, return the opposite order: the last entity first, and NULLs before others.
    """
    is_descending = shape.is_descending != is_backward
    columns = [rows.c.key] if "key" in rows.c else []
    columns.append(rows.c.identifier)
    order = [column.desc() if is_descending else column.asc() for column in columns]
    # Every entity has timestamps. Without NULLS LAST Postgres can read the index backwards.
    if shape.sort and shape.sort.type is not FieldType.DATETIME:
        order[0] = order[0].nulls_first() if is_backward else order[0].nulls_last()
    return order
