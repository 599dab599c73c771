"""Read one page of a list: filtered, sorted and searched as the client asked.

Values from the client are always bound as parameters. Lists that differ only in values share one
compiled statement.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Text,
    bindparam,
    func,
    select,
    true,
)

from ...case.resources import Resource
from ...query.fields import Field, FieldType
from ...query.filter import Node
from ...query.params import Query
from ..pool import Database
from ..statement import CompiledStatement
from .derived_fields import BASE_URL, Derivation, Entities
from .filters import Values, build_where_clause, parameterize, sort_key
from .search import SearchQueries, matches, parse_search, relevance
from .visibility import body_of, visible

STATEMENT_CACHE_SIZE = 256
"""Number of compiled statements in the cache; clients send few shapes of list requests."""

SEARCH_PARAMETERS = [bindparam(name, type_=Text) for name in SearchQueries._fields]

STORED = Derivation()
"""Values as stored, with only those derived values that every profile adds."""


class Page(NamedTuple):
    """The bodies of one page and the number of entities in the whole list."""

    total: int
    bodies: list[str]


class ListShape(NamedTuple):
    """Everything that determines the SQL of a list: all of the request but its values."""

    resource: Resource
    where: Node | None
    """The filter as returned by ``parameterize``."""
    sort: Field | None
    descending: bool
    searched: bool
    derivation: Derivation


async def fetch_page(
    database: Database,
    resource: Resource,
    query: Query,
    derivation: Derivation = STORED,
    base_url: str = "",
) -> Page:
    """Return a page of the entities that a query asks for. Raises ``ReadTimeout``.

    Filters and sorting use the values as the profile shows them: those it derives by
    ``derivation``, with URLs that start with ``base_url``. Ties are broken by identifier.
    """
    statement, values = prepare(resource, query, derivation, base_url)
    rows = await database.scan(statement, **values)
    bodies = [row["body"] for row in rows if row["body"] is not None]
    return Page(rows[0]["total"], bodies)


def prepare(
    resource: Resource, query: Query, derivation: Derivation = STORED, base_url: str = ""
) -> tuple[CompiledStatement, Values]:
    """Return the statement of a query, which all queries of its shape share, and its parameters."""
    values: Values = {"limit": query.limit, "offset": query.offset, BASE_URL: base_url}
    entities = Entities(resource, derivation)
    where = parameterize(entities, query.where, values) if query.where else None
    if query.search:
        values |= parse_search(query.search)._asdict()
    shape = ListShape(resource, where, query.sort, query.descending, bool(query.search), derivation)
    return _statement(shape), values


@lru_cache(STATEMENT_CACHE_SIZE)
def _statement(shape: ListShape) -> CompiledStatement:
    """Compile the statement of all lists with this shape.

    1. ``matches`` selects the identifiers and sort keys of all entities in the list.
    2. ``page`` sorts them and cuts out the page.
    3. ``counted`` counts them, so that a page beyond the end still has the total.
    4. The bodies are read for the rows of the page only.

    One statement sees one snapshot, so total and page agree.
    """
    entities = Entities(shape.resource, shape.derivation)
    table = entities.table
    columns: dict[str, ColumnElement[Any]] = {"identifier": table.c.identifier}
    if shape.sort:
        columns["key"] = sort_key(entities, shape.sort)
    elif shape.searched:
        # Negated, because lists are ascending and the best match comes first.
        columns["key"] = -relevance(*SEARCH_PARAMETERS)
    rows = select(*(column.label(name) for name, column in columns.items())).where(visible(table))
    if shape.searched:
        rows = rows.where(matches(*SEARCH_PARAMETERS))
    if shape.where is not None:
        rows = rows.where(build_where_clause(entities, shape.where))
    # A CTE, because matches of a filter are needed twice, for the count and for the page. Without
    # a filter a subquery is faster: one index gives the page without reading the bodies before the
    # offset, another one the count.
    is_filtered = shape.searched or shape.where is not None
    matching: FromClause = rows.cte("matches") if is_filtered else rows.subquery("matches")
    page = (
        select(matching)
        .order_by(*_order(matching, shape))
        .limit(bindparam("limit", type_=BigInteger))
        .offset(bindparam("offset", type_=BigInteger))
        .subquery("page")
    )
    total = select(func.count().label("total")).select_from(matching).subquery("counted")
    # A scalar subquery instead of a join, because Postgres would read all bodies for a join if it
    # estimates the page to be large.
    body = select(body_of(shape.resource)).where(table.c.identifier == page.c.identifier)
    return CompiledStatement(
        select(total.c.total, body.scalar_subquery().label("body"))
        .select_from(total.outerjoin(page, true()))
        .order_by(*_order(page, shape))
    )


def _order(rows: FromClause, shape: ListShape) -> tuple[ColumnElement[Any], ...]:
    """Return the sort order: entities without the field last in both directions, then ties."""
    key = rows.c.key if "key" in rows.c else rows.c.identifier
    first = key.desc() if shape.descending else key.asc()
    if "key" not in rows.c:
        return (first,)
    # Every entity has timestamps. Without NULLS LAST Postgres can read the index backwards.
    is_never_null = shape.sort is None or shape.sort.type is FieldType.DATETIME
    return first if is_never_null else first.nulls_last(), rows.c.identifier.asc()
