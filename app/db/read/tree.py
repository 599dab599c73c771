"""Frameworks as trees: the children of a node, the way from an item up to its document.

As in CFPackages/{id}/groups, a child is the origin of an isChildOf of the framework whose
destination is in the same framework; what has no such parent there is a root.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    Numeric,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database

DEEPEST = 100
"""How many ancestors are looked for: a cycle ends here at the latest."""

SHOWN = 400
"""The characters of a statement that a line of a tree shows."""

DOCUMENT = bindparam("document", type_=Text)


async def fetch_children(
    database: Database,
    document: str,
    parents: Sequence[str],
    always_include: Sequence[str],
    limit: int,
) -> list[asyncpg.Record]:
    """Return the children of some nodes, by parent, then sequenceNumber, then code.

    Rows of (parent, identifier, code, statement, item_type, child_count, position, total), where
    ``position`` counts the children of the parent from 1. Of each parent, returns the first
    ``limit`` children and those in ``always_include``.
    """
    values = {"parents": list(parents), "always_include": list(always_include), "limit": limit}
    return await database.scan(_children(), document=document, **values, offset=0)


async def fetch_more_children(
    database: Database, document: str, parent: str, limit: int, offset: int
) -> list[asyncpg.Record]:
    """As ``children``, of one item, after the first ``offset``."""
    values = {"parents": [parent], "always_include": [], "limit": limit + offset}
    return await database.scan(_children(), document=document, **values, offset=offset)


async def fetch_roots(
    database: Database, document: str, always_include: Sequence[str], limit: int, offset: int = 0
) -> list[asyncpg.Record]:
    """The items of a document that are nobody's children there; rows as of ``children``.

    In the order of their isChildOf to the document itself, else in that of the package.
    """
    values = {"always_include": list(always_include), "limit": limit + offset, "offset": offset}
    return await database.scan(_roots(), document=document, **values)


async def fetch_paths(
    database: Database, identifiers: Sequence[str]
) -> dict[str, list[asyncpg.Record]]:
    """The ancestors of each item, from its root down, without itself.

    Rows of (identifier, code, statement). Of several parents it is the first.
    """
    found: dict[str, list[asyncpg.Record]] = {identifier: [] for identifier in identifiers}
    for record in await database.fetch_all(_paths(), identifiers=list(identifiers)):
        found[record["start"]].append(record)
    return found


def _child() -> tuple[FromClause, FromClause]:
    return tables.items.alias("child"), tables.associations.alias("link")


def _links_in_tree(link: FromClause) -> ColumnElement[bool]:
    return and_(
        link.c.association_type == literal_column("'isChildOf'"),
        link.c.origin_identifier != link.c.destination_identifier,
    )


def _line(item: FromClause) -> tuple[ColumnElement[Any], ...]:
    """What a line of a tree says of an item."""
    statement = func.left(json_text(item.c.body, "fullStatement"), literal_column(str(SHOWN)))
    return (
        item.c.identifier,
        json_text(item.c.body, "humanCodingScheme").label("code"),
        statement.label("statement"),
        json_text(item.c.body, "CFItemType").label("item_type"),
    )


def _number_of_children(item: ColumnElement[str]) -> ColumnElement[int]:
    below, down = tables.items.alias("below"), tables.associations.alias("down")
    return (
        select(func.count())
        .select_from(down)
        .join(below, below.c.identifier == down.c.origin_identifier)
        .where(
            down.c.destination_identifier == item,
            down.c.document_identifier == DOCUMENT,
            below.c.document_identifier == DOCUMENT,
            below.c.deleted_at.is_(None),
            _links_in_tree(down),
        )
        .scalar_subquery()
    )


def _page(rows: FromClause) -> ColumnElement[bool]:
    """Whether a row is asked for, of those with a ``position``."""
    limit, offset = bindparam("limit", type_=Integer), bindparam("offset", type_=Integer)
    kept = rows.c.identifier == func.any(bindparam("always_include", type_=ARRAY(Text)))
    return or_(and_(rows.c.position > offset, rows.c.position <= limit), kept)


@cache
def _children() -> CompiledStatement:
    item, link = _child()
    parents = bindparam("parents", type_=ARRAY(Text))
    parent = link.c.destination_identifier
    number = cast(json_text(link.c.body, "sequenceNumber"), Numeric)
    order = (number.nulls_last(), json_text(item.c.body, "humanCodingScheme"), link.c.ordinal)
    rows = (
        select(
            parent.label("parent"),
            *_line(item),
            func.row_number().over(partition_by=parent, order_by=order).label("position"),
            func.count().over(partition_by=parent).label("total"),
        )
        .select_from(link)
        .join(item, item.c.identifier == link.c.origin_identifier)
        .where(
            parent == func.any(parents),
            link.c.document_identifier == DOCUMENT,
            item.c.document_identifier == DOCUMENT,
            item.c.deleted_at.is_(None),
            _links_in_tree(link),
        )
        .subquery("rows")
    )
    children_of = _number_of_children(rows.c.identifier).label("child_count")
    shown = select(rows, children_of).where(_page(rows))
    return CompiledStatement(shown.order_by(rows.c.parent, rows.c.position))


@cache
def _roots() -> CompiledStatement:
    items, up, link = tables.items, tables.associations.alias("up"), tables.associations
    # Read once and by name alone: with their bodies thousands would not fit into a hash table.
    live = (
        select(items.c.identifier, items.c.ordinal)
        .where(items.c.document_identifier == DOCUMENT, items.c.deleted_at.is_(None))
        .cte("live")
        .prefix_with("MATERIALIZED")
    )
    above, top, child = live.alias("above"), live.alias("top"), items.alias("child")
    has_parent = exists(literal_column("1")).where(
        up.c.origin_identifier == top.c.identifier,
        up.c.document_identifier == DOCUMENT,
        _links_in_tree(up),
        above.c.identifier == up.c.destination_identifier,
    )
    to_document = and_(
        link.c.origin_identifier == top.c.identifier,
        link.c.destination_identifier == DOCUMENT,
        link.c.association_type == literal_column("'isChildOf'"),
    )
    number = cast(json_text(link.c.body, "sequenceNumber"), Numeric)
    order = (number.nulls_last(), top.c.ordinal)
    rows = (
        select(
            top.c.identifier,
            func.row_number().over(order_by=order).label("position"),
            func.count().over().label("total"),
        )
        .select_from(top)
        .outerjoin(link, to_document)
        .where(~has_parent)
        .subquery("rows")
    )
    return CompiledStatement(
        select(
            DOCUMENT.label("parent"),
            *_line(child),
            rows.c.position,
            rows.c.total,
            _number_of_children(rows.c.identifier).label("child_count"),
        )
        .select_from(rows)
        .join(child, child.c.identifier == rows.c.identifier)
        .where(_page(rows))
        .order_by(rows.c.position)
    )


def _first_parent(way: CTE) -> FromClause:
    """The parent of the last item of a way: of several the one that was told first."""
    up, above = tables.associations.alias("up"), tables.items.alias("above")
    return (
        select(above.c.identifier)
        .select_from(up)
        .join(above, above.c.identifier == up.c.destination_identifier)
        .where(
            up.c.origin_identifier == way.c.identifier,
            up.c.document_identifier == way.c.document,
            above.c.document_identifier == way.c.document,
            above.c.deleted_at.is_(None),
            _links_in_tree(up),
        )
        .order_by(up.c.ordinal)
        .limit(literal_column("1"))
        .lateral("parent")
    )


@cache
def _paths() -> CompiledStatement:
    items = tables.items
    start = (
        select(
            items.c.identifier.label("start"),
            items.c.identifier.label("identifier"),
            items.c.document_identifier.label("document"),
            array([items.c.identifier]).label("trail"),
        )
        .where(items.c.identifier == func.any(bindparam("identifiers", type_=ARRAY(Text))))
        .cte("way", recursive=True)
    )
    parent = _first_parent(start)
    way = start.union_all(
        select(
            start.c.start,
            parent.c.identifier,
            start.c.document,
            func.array_append(start.c.trail, parent.c.identifier),
        )
        .select_from(start)
        .join(parent, true())
        .where(
            parent.c.identifier != func.all(start.c.trail),
            func.cardinality(start.c.trail) <= literal_column(str(DEEPEST)),
        )
    )
    item = tables.items.alias("item")
    depth = func.cardinality(way.c.trail)
    return CompiledStatement(
        select(way.c.start, *_line(item))
        .select_from(way)
        .join(item, item.c.identifier == way.c.identifier)
        .where(depth > literal_column("1"))
        .order_by(way.c.start, depth.desc())
    )
