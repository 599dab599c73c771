"""A page of a list: the only place where what a client asked for becomes SQL, always bound."""

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
from .derived_fields import ADDRESS, Derivation, Entities
from .filters import Values, condition, outline, sort_key
from .search import Words, matches, relevance, words_of
from .visibility import body_of, visible

STATEMENT_CACHE_SIZE = 256
"""How many statements are kept. Clients ask for few kinds of lists, again and again."""


SEARCHED = [bindparam(name, type_=Text) for name in Words._fields]
"""What is searched for, as ``search.Words`` says it."""


STORED = Derivation()
"""Values as they are stored, but for those that every profile derives."""


class Page(NamedTuple):
    """Some of a list, and how many there are in all."""

    total: int
    bodies: list[str]


class ListShape(NamedTuple):
    """All that makes up a list but its values: lists of one shape share a statement."""

    resource: Resource
    where: Node | None
    """An outline."""
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
    """Return the entities that a query asks for. Identifiers break ties, so the order is total.

    Filter and sort see the values that a profile derives by ``derivation``, under its URL
    ``address``.
    """
    statement, values = prepare(resource, query, derivation, base_url)
    found = await database.scan(statement, **values)
    bodies = [record["body"] for record in found if record["body"] is not None]
    return Page(found[0]["total"], bodies)


def prepare(
    resource: Resource, query: Query, derivation: Derivation = STORED, base_url: str = ""
) -> tuple[CompiledStatement, Values]:
    """Return the statement that answers a query, shared by all of its shape, and its parameters."""
    values: Values = {"limit": query.limit, "offset": query.offset, ADDRESS: base_url}
    entities = Entities(resource, derivation)
    where = outline(entities, query.where, values) if query.where else None
    if query.search:
        values |= words_of(query.search)._asdict()
    shape = ListShape(resource, where, query.sort, query.descending, bool(query.search), derivation)
    return _statement(shape), values


@lru_cache(STATEMENT_CACHE_SIZE)
def _statement(shape: ListShape) -> CompiledStatement:
    """The total and a page of the bodies, for all values that lists of this shape have.

    One statement sees one moment, and a page beyond the end still knows the total.
    """
    entities = Entities(shape.resource, shape.derivation)
    table = entities.table
    columns: dict[str, ColumnElement[Any]] = {"identifier": table.c.identifier}
    if shape.sort:
        columns["key"] = sort_key(entities, shape.sort)
    elif shape.searched:
        # Negated, because lists ascend and the best comes first.
        columns["key"] = -relevance(*SEARCHED)
    rows = select(*(column.label(name) for name, column in columns.items())).where(visible(table))
    # What a filter finds is counted and sorted without being searched for twice. Without one, an
    # index gives the page, its bodies left alone until the offset is behind, and another the total.
    if shape.searched:
        rows = rows.where(matches(*SEARCHED))
    if shape.where is not None:
        rows = rows.where(condition(entities, shape.where))
    found: FromClause = (
        rows.cte("found") if shape.searched or shape.where else rows.subquery("found")
    )
    chosen = (
        select(found)
        .order_by(*_order(found, shape))
        .limit(bindparam("limit", type_=BigInteger))
        .offset(bindparam("offset", type_=BigInteger))
        .subquery("chosen")
    )
    total = select(func.count().label("total")).select_from(found).subquery("counted")
    # A subquery for each of them: no estimate of their number makes Postgres read all bodies.
    body = select(body_of(shape.resource)).where(table.c.identifier == chosen.c.identifier)
    return CompiledStatement(
        select(total.c.total, body.scalar_subquery().label("body"))
        .select_from(total.outerjoin(chosen, true()))
        .order_by(*_order(chosen, shape))
    )


def _order(rows: FromClause, shape: ListShape) -> tuple[ColumnElement[Any], ...]:
    """What lacks the field comes last, whichever way the rest goes."""
    key = rows.c.key if "key" in rows.c else rows.c.identifier
    first = key.desc() if shape.descending else key.asc()
    if "key" not in rows.c:
        return (first,)
    # Every entity has a moment: an index can be read backwards where none has to come last.
    has_all = shape.sort is None or shape.sort.type is FieldType.DATETIME
    return first if has_all else first.nulls_last(), rows.c.identifier.asc()
