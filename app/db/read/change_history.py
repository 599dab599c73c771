"""List the changes to a framework in a period of time, as recorded in the change feed.

The feed records operations on entities, not their former contents. A changed entity is therefore
returned with its current body, a deleted one with its last body or, if it was deleted permanently,
with its identifier alone.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

from asyncpg import Record
from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
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
from ..pool import Database
from ..schema import tables
from ..schema.expressions import LIMIT, OFFSET
from ..schema.tables import get_document_column, get_table
from ..statement import CompiledStatement
from .visibility import build_live_condition

ChangeType = Literal["added", "changed", "deleted"]

RESOURCES_WITH_BODY = (DOCUMENTS, ITEMS, ASSOCIATIONS)
"""The resources whose bodies are returned, in the order of the result; others follow without."""


class ChangePeriod(NamedTuple):
    """A document, and the period whose changes are listed: after ``since``, up to ``until``."""

    document: str
    since: datetime
    until: datetime


async def list_write_transactions(database: Database, document: str, limit: int) -> list[Record]:
    """Return the latest ``limit`` transactions that changed a framework, newest first.

    ``document`` is the identifier of the framework's document. Each row is (written_at, changes),
    where ``changes`` is the number of changes in the transaction. Raises ``QueryTimeout``.
    """
    query = _compile_write_transactions()
    return await database.run_heavy_read(query, document=document, limit=limit)


async def count_changed_entities(database: Database, period: ChangePeriod) -> dict[str, int]:
    """Return how many entities were added, changed and deleted in a period.

    The result is like {"added": 3, "deleted": 1}, omitting zero counts. Raises ``QueryTimeout``.
    """
    rows = await database.run_heavy_read(_compile_counts(), **period._asdict())
    return {row["change"]: row["entities"] for row in rows}


async def list_changed_entities(
    database: Database,
    period: ChangePeriod,
    change: ChangeType,
    limit: int | None = None,
    offset: int = 0,
) -> list[Record]:
    """Return a page of the entities that were added, changed or deleted in a period.

    ``change`` is "added", "changed" or "deleted". Documents come first, then items, associations
    and others. Each row is (kind, identifier, changed_at, is_live, body). ``is_live`` is whether
    the entity is still in the document. ``body`` is its current body, or its last body if it was
    deleted. It is None if the entity was deleted permanently, or is not one of
    ``RESOURCES_WITH_BODY``. Raises ``QueryTimeout``.
    """
    page = {"change": change, "limit": limit, "offset": offset}
    return await database.run_heavy_read(_compile_changed_entities(), **period._asdict(), **page)


@cache
def _compile_write_transactions() -> CompiledStatement:
    table = tables.changes
    changed_at = func.max(table.c.changed_at)
    return CompiledStatement(
        select(changed_at.label("written_at"), func.count().label("changes"))
        .where(table.c.document_identifier == bindparam("document", type_=Text))
        .group_by(table.c.transaction_id)
        .order_by(changed_at.desc())
        .limit(LIMIT)
    )


def _build_changed_entities_cte() -> CTE:
    """Build a CTE of the entities written in a period, with the net effect on each.

    Its column ``change`` is "added", "changed", "deleted", or NULL for an entity that was added and
    deleted within the period. An entity whose first operation is create, or revive (the restore of
    a soft-deleted entity), was absent before.
    """
    table = tables.changes
    operations = (
        select(
            table.c.kind,
            table.c.identifier,
            _first_value(table.c.operation, table.c.sequence).label("first"),
            _first_value(table.c.operation, table.c.sequence.desc()).label("last"),
            func.max(table.c.changed_at).label("changed_at"),
            func.max(table.c.sequence).label("sequence"),
        )
        .where(
            table.c.document_identifier == bindparam("document", type_=Text),
            table.c.changed_at > bindparam("since", type_=tables.TimestampTZ),
            table.c.changed_at <= bindparam("until", type_=tables.TimestampTZ),
        )
        .group_by(table.c.kind, table.c.identifier)
        .cte("operations")
    )
    was_added = operations.c.first.in_([_literal(tables.CREATE), _literal(tables.REVIVE)])
    was_deleted = operations.c.last == _literal(tables.DELETE)
    change = case(
        (and_(was_added, was_deleted), null()),
        (was_added, _literal("added")),
        (was_deleted, _literal("deleted")),
        else_=_literal("changed"),
    )
    return select(operations, change.label("change")).cte("entities")


def _first_value(column: ColumnElement[str], order: Any) -> ColumnElement[Any]:
    return func.array_agg(aggregate_order_by(column, order), type_=ARRAY(Text))[literal_column("1")]


def _literal(text: str) -> ColumnElement[str]:
    return literal_column(f"'{text}'")


@cache
def _compile_counts() -> CompiledStatement:
    entities = _build_changed_entities_cte()
    return CompiledStatement(
        select(entities.c.change, func.count().label("entities"))
        .where(entities.c.change.is_not(None))
        .group_by(entities.c.change)
    )


@cache
def _compile_changed_entities() -> CompiledStatement:
    entities, items = _build_changed_entities_cte(), tables.items.alias("ordered_items")
    kind_order = [entities.c.kind != _literal(resource.name) for resource in RESOURCES_WITH_BODY]
    is_same_item = items.c.identifier == entities.c.identifier
    is_item = and_(entities.c.kind == _literal(ITEMS.name), is_same_item)
    position = func.row_number().over(order_by=(*kind_order, items.c.ordinal, entities.c.sequence))
    # Without bodies, so that a large offset costs little.
    page = (
        select(entities, position.label("position"))
        .select_from(entities.outerjoin(items, is_item))
        .where(entities.c.change == bindparam("change", type_=Text))
        .order_by(literal_column("position"))
        .limit(LIMIT)
        .offset(OFFSET)
        .subquery("page")
    )
    rows: FromClause = page
    bodies, is_current = [], []
    for resource in RESOURCES_WITH_BODY:
        table = get_table(resource)
        is_kind = page.c.kind == _literal(resource.name)
        rows = rows.outerjoin(table, and_(is_kind, table.c.identifier == page.c.identifier))
        bodies.append(table.c.body)
        is_same_document = get_document_column(table) == bindparam("document", type_=Text)
        is_current.append(and_(is_same_document, build_live_condition(table)))
    return CompiledStatement(
        select(
            page.c.kind,
            page.c.identifier,
            page.c.changed_at,
            func.coalesce(or_(*is_current), false()).label("is_live"),
            func.coalesce(*bodies).label("body"),
        )
        .select_from(rows)
        .order_by(page.c.position)
    )
