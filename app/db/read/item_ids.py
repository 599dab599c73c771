"""Find the identifiers of items by their beginning."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Integer, Text, bindparam, func, select

from ..pool import Database
from ..schema import tables
from ..statement import CompiledStatement
from .visibility import build_live_condition


async def find_item_ids(
    database: Database, prefix: str, limit: int, *, only_deleted: bool = False
) -> list[str]:
    """Return the first ``limit`` item identifiers that begin with ``prefix``, sorted.

    This allows commands to accept abbreviated identifiers. With ``only_deleted``, only identifiers
    of soft-deleted items are returned.
    """
    rows = await database.fetch_all(
        _compile_query(only_deleted=only_deleted), prefix=prefix, limit=limit
    )
    return [row["identifier"] for row in rows]


@cache
def _compile_query(*, only_deleted: bool) -> CompiledStatement:
    items = tables.items
    return CompiledStatement(
        select(items.c.identifier)
        .where(
            items.c.deleted_at.is_not(None) if only_deleted else build_live_condition(items),
            func.starts_with(items.c.identifier, bindparam("prefix", type_=Text)),
        )
        .order_by(items.c.identifier)
        .limit(bindparam("limit", type_=Integer))
    )
