"""Crosswalks: the associations between items of two frameworks, and the items without any."""

from __future__ import annotations

from functools import cache
from typing import Literal

from asyncpg import Record
from sqlalchemy import CTE, Text, bindparam, func, literal_column, select, union_all

from ..pool import Database
from ..schema import tables
from ..schema.expressions import LIMIT, OFFSET, build_text_extract
from ..statement import CompiledStatement
from .visibility import build_live_condition

Side = Literal["left", "right"]


async def list_crosswalk_associations(
    database: Database, left: str, right: str, limit: int | None = None, offset: int = 0
) -> list[Record]:
    """Return a page of the associations that relate an item of one framework to one of another.

    ``left`` and ``right`` are the identifiers of the frameworks' documents. Associations of the
    type isChildOf are left out. Each row is (association_type, left_is_origin, left, left_code,
    left_statement, right, right_code, right_statement, total), in the order of the left document.
    ``total`` is the number of all such associations. Raises ``QueryTimeout``.
    """
    values = {"left": left, "right": right, "limit": limit, "offset": offset}
    return await database.run_heavy_read(_compile_crosswalk_query(), **values)


async def list_unrelated_items(
    database: Database,
    documents: tuple[str, str],
    side: Side,
    limit: int | None = None,
    offset: int = 0,
) -> list[Record]:
    """Return a page of the items of one framework that have no related item in the other one.

    ``documents`` are the identifiers of the two frameworks' documents (left, right). ``side``,
    "left" or "right", selects the framework whose items are returned. Each row is (identifier,
    code, statement, total), where ``total`` is the number of all such items. Raises
    ``QueryTimeout``.
    """
    values = {"left": documents[0], "right": documents[1], "limit": limit, "offset": offset}
    return await database.run_heavy_read(_compile_unrelated_items_query(side), **values)


def _build_item_pairs_cte() -> CTE:
    """Build a CTE of the associations between items of the documents ``left`` and ``right``.

    The columns are association_type, left_is_origin (the left item is the origin), left and right
    (identifiers). Both documents are SQL parameters. isChildOf is left out.
    """
    associations = tables.associations
    queries = []
    for left_is_origin in (True, False):
        left, right = tables.items.alias("left_item"), tables.items.alias("right_item")
        origin, destination = (left, right) if left_is_origin else (right, left)
        pairs = select(
            associations.c.association_type,
            literal_column("true" if left_is_origin else "false").label("left_is_origin"),
            left.c.identifier.label("left"),
            right.c.identifier.label("right"),
        ).select_from(associations)
        queries.append(
            pairs.join(origin, origin.c.identifier == associations.c.origin_identifier)
            .join(destination, destination.c.identifier == associations.c.destination_identifier)
            .where(
                associations.c.association_type != literal_column("'isChildOf'"),
                left.c.document_identifier == bindparam("left", type_=Text),
                right.c.document_identifier == bindparam("right", type_=Text),
                build_live_condition(left),
                build_live_condition(right),
            )
        )
    return union_all(*queries).cte("pairs")


@cache
def _compile_crosswalk_query() -> CompiledStatement:
    pairs = _build_item_pairs_cte()
    # The texts of the items are read for the rows of the page only.
    left, right = tables.items.alias("l"), tables.items.alias("r")
    page = (
        select(pairs, left.c.ordinal, func.count().over().label("total"))
        .join(left, left.c.identifier == pairs.c.left)
        .order_by(left.c.ordinal, pairs.c.left, pairs.c.association_type, pairs.c.right)
        .limit(LIMIT)
        .offset(OFFSET)
        .subquery("page")
    )
    item_columns = [
        column
        for side, item in (("left", left), ("right", right))
        for column in (
            item.c.identifier.label(side),
            build_text_extract(item.c.body, "humanCodingScheme").label(f"{side}_code"),
            build_text_extract(item.c.body, "fullStatement").label(f"{side}_statement"),
        )
    ]
    return CompiledStatement(
        select(page.c.association_type, page.c.left_is_origin, *item_columns, page.c.total)
        .select_from(page)
        .join(left, left.c.identifier == page.c.left)
        .join(right, right.c.identifier == page.c.right)
        .order_by(page.c.ordinal, page.c.left, page.c.association_type, page.c.right)
    )


@cache
def _compile_unrelated_items_query(side: Side) -> CompiledStatement:
    pairs, items = _build_item_pairs_cte(), tables.items
    return CompiledStatement(
        select(
            items.c.identifier,
            build_text_extract(items.c.body, "humanCodingScheme").label("code"),
            build_text_extract(items.c.body, "fullStatement").label("statement"),
            func.count().over().label("total"),
        )
        .where(
            items.c.document_identifier == bindparam(side, type_=Text),
            build_live_condition(items),
            items.c.identifier.not_in(select(pairs.c[side])),
        )
        .order_by(items.c.ordinal, items.c.identifier)
        .limit(LIMIT)
        .offset(OFFSET)
    )
