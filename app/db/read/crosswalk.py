"""Two frameworks side by side: what relates their items, and the items that nothing relates."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    CTE,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    union_all,
)

from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database

Side = Literal["left", "right"]

EVERYTHING = 2**31 - 1


async def list_related_items(
    database: Database, left: str, right: str, limit: int = EVERYTHING, offset: int = 0
) -> list[asyncpg.Record]:
    """What relates items of two documents, in the order of the left one; isChildOf is left out.

    Rows of (association_type, left_is_origin, left, left_code, left_statement, right, right_code,
    right_statement, total): ``left_is_origin`` says that the left one is the origin.
    """
    values = {"left": left, "right": right, "limit": limit, "offset": offset}
    return await database.scan(_related(), **values)


async def list_unrelated_items(
    database: Database,
    documents: tuple[str, str],
    side: Side,
    limit: int = EVERYTHING,
    offset: int = 0,
) -> list[asyncpg.Record]:
    """The items of one of two documents that nothing relates to an item of the other.

    Rows of (identifier, code, statement, total).
    """
    values = dict(zip(("left", "right"), documents, strict=True))
    return await database.scan(_unrelated(side), **values, limit=limit, offset=offset)


def _pairs() -> CTE:
    """Every association between the two documents, seen from the left one."""
    return union_all(_direction(left_is_origin=True), _direction(left_is_origin=False)).cte("pairs")


def _direction(*, left_is_origin: bool) -> Select[Any]:
    left, right = tables.items.alias("left_item"), tables.items.alias("right_item")
    link = tables.associations
    origin, destination = (left, right) if left_is_origin else (right, left)
    return (
        select(
            link.c.association_type,
            literal_column("true" if left_is_origin else "false").label("left_is_origin"),
            left.c.identifier.label("left"),
            right.c.identifier.label("right"),
        )
        .select_from(link)
        .join(origin, origin.c.identifier == link.c.origin_identifier)
        .join(destination, destination.c.identifier == link.c.destination_identifier)
        .where(
            link.c.association_type != literal_column("'isChildOf'"),
            left.c.document_identifier == bindparam("left", type_=Text),
            right.c.document_identifier == bindparam("right", type_=Text),
            left.c.deleted_at.is_(None),
            right.c.deleted_at.is_(None),
        )
    )


@cache
def _related() -> CompiledStatement:
    pairs = _pairs()
    left, right = tables.items.alias("l"), tables.items.alias("r")
    told = [
        column
        for side, item in (("left", left), ("right", right))
        for column in (
            item.c.identifier.label(side),
            json_text(item.c.body, "humanCodingScheme").label(f"{side}_code"),
            json_text(item.c.body, "fullStatement").label(f"{side}_statement"),
        )
    ]
    page = (
        select(pairs, left.c.ordinal, func.count().over().label("total"))
        .join(left, left.c.identifier == pairs.c.left)
        .order_by(left.c.ordinal, pairs.c.association_type, pairs.c.right)
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("page")
    )
    return CompiledStatement(
        select(page.c.association_type, page.c.left_is_origin, *told, page.c.total)
        .select_from(page)
        .join(left, left.c.identifier == page.c.left)
        .join(right, right.c.identifier == page.c.right)
        .order_by(page.c.ordinal, page.c.association_type, page.c.right)
    )


@cache
def _unrelated(side: Side) -> CompiledStatement:
    pairs, item = _pairs(), tables.items
    return CompiledStatement(
        select(
            item.c.identifier,
            json_text(item.c.body, "humanCodingScheme").label("code"),
            json_text(item.c.body, "fullStatement").label("statement"),
            func.count().over().label("total"),
        )
        .where(
            item.c.document_identifier == bindparam(side, type_=Text),
            item.c.deleted_at.is_(None),
            item.c.identifier.not_in(select(pairs.c[side])),
        )
        .order_by(item.c.ordinal)
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
    )
