"""What became of a framework between two moments, as far as its changes tell.

They tell what was done to which entity and when, and not what it said before. So an entity that
was changed is known by what it says now, and one that was deleted by what it said last, or, where
nothing is left of it, by its identifier alone.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ..schema import tables
from ..schema.tables import table_of
from ..statement import CompiledStatement
from .visibility import live

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database

ChangedEntity = Literal["added", "changed", "deleted"]

SHOWN = (DOCUMENTS, ITEMS, ASSOCIATIONS)
"""Kinds of which it is told what they say, in this order; the others follow."""

EVERYTHING = 2**31 - 1


class Period(NamedTuple):
    """A document after one moment and up to another."""

    document: str
    since: datetime
    until: datetime


async def list_writes(database: Database, document: str, limit: int) -> list[asyncpg.Record]:
    """The latest writes to a document, newest first: rows of (moment, changes).

    A write is a transaction; ``moment`` is when it recorded the last of its changes.
    """
    return await database.scan(_writes(), document=document, limit=limit)


async def count_changed_entities(database: Database, period: Period) -> dict[str, int]:
    """How many entities were added, changed and deleted."""
    found = await database.scan(_counts(), **period._asdict())
    return {record["change"]: record["entities"] for record in found}


async def list_changed_entities(
    database: Database,
    period: Period,
    change: ChangedEntity,
    limit: int = EVERYTHING,
    offset: int = 0,
) -> list[asyncpg.Record]:
    """What was added, changed or deleted: documents, then items, associations and others.

    Rows of (kind, identifier, changed_at, is_live, body): ``is_live`` says whether it is in it now,
    ``body`` is what it says, or said last, and None where nothing is left of it.
    """
    page = {"change": change, "limit": limit, "offset": offset}
    return await database.scan(_differences(), **period._asdict(), **page)


@cache
def _writes() -> CompiledStatement:
    table = tables.changes
    moment = func.max(table.c.changed_at)
    return CompiledStatement(
        select(moment.label("written_at"), func.count().label("changes"))
        .where(table.c.document_identifier == bindparam("document", type_=Text))
        .group_by(table.c.transaction_id)
        .order_by(moment.desc())
        .limit(bindparam("limit", type_=Integer))
    )


def _entities() -> CTE:
    """Each entity that something was done to, and what that comes to.

    What was created, or brought back, was not there before; what came and went is not told.
    """
    table = tables.changes
    own = (
        select(
            table.c.kind,
            table.c.identifier,
            _one_of(table.c.operation, table.c.sequence).label("first"),
            _one_of(table.c.operation, table.c.sequence.desc()).label("last"),
            func.max(table.c.changed_at).label("changed_at"),
            func.max(table.c.sequence).label("sequence"),
        )
        .where(
            table.c.document_identifier == bindparam("document", type_=Text),
            table.c.changed_at > bindparam("since", type_=tables.TimestampTZ),
            table.c.changed_at <= bindparam("until", type_=tables.TimestampTZ),
        )
        .group_by(table.c.kind, table.c.identifier)
        .cte("own")
    )
    came = own.c.first.in_([_word(tables.CREATE), _word(tables.REVIVE)])
    went = own.c.last == _word(tables.DELETE)
    what = case(
        (and_(came, went), null()),
        (came, _word("added")),
        (went, _word("deleted")),
        else_=_word("changed"),
    )
    return select(own, what.label("change")).cte("entities")


def _one_of(column: ColumnElement[str], order: Any) -> ColumnElement[Any]:
    return func.array_agg(aggregate_order_by(column, order), type_=ARRAY(Text))[literal_column("1")]


def _word(text: str) -> ColumnElement[str]:
    return literal_column(f"'{text}'")


@cache
def _counts() -> CompiledStatement:
    entities = _entities()
    return CompiledStatement(
        select(entities.c.change, func.count().label("entities"))
        .where(entities.c.change.is_not(None))
        .group_by(entities.c.change)
    )


@cache
def _differences() -> CompiledStatement:
    entities, items = _entities(), tables.items.alias("in_order")
    kinds = [entities.c.kind != _word(resource.name) for resource in SHOWN]
    is_item = and_(
        entities.c.kind == _word(ITEMS.name), items.c.identifier == entities.c.identifier
    )
    # Put in order by name alone, before anything is read that is not shown.
    page = (
        select(
            entities,
            func.row_number()
            .over(order_by=(*kinds, items.c.ordinal, entities.c.sequence))
            .label("place"),
        )
        .select_from(entities.outerjoin(items, is_item))
        .where(entities.c.change == bindparam("change", type_=Text))
        .order_by(literal_column("place"))
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("page")
    )
    found: FromClause = page
    bodies, here = [], []
    for resource in SHOWN:
        table = table_of(resource)
        same = table.c.identifier == page.c.identifier
        found = found.outerjoin(table, and_(page.c.kind == _word(resource.name), same))
        bodies.append(table.c.body)
        own = table.c.identifier if resource is DOCUMENTS else table.c.document_identifier
        here.append(and_(own == bindparam("document", type_=Text), live(table)))
    told = (page.c.kind, page.c.identifier, page.c.changed_at)
    return CompiledStatement(
        select(
            *told,
            func.coalesce(or_(*here), false()).label("is_live"),
            func.coalesce(*bodies).label("body"),
        )
        .select_from(found)
        .order_by(page.c.place)
    )
