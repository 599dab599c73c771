"""What a reader sees first: the frameworks that are here, and where any node lies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Integer, Text, bindparam, func, literal_column, select

from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement
from .visibility import live

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database


async def list_frameworks(
    database: Database, contains: str, limit: int, offset: int
) -> list[asyncpg.Record]:
    """The frameworks whose title, creator or publisher contains a text, by title.

    Rows of (identifier, body, items, total): how many items it has, how many frameworks there are.
    """
    return await database.scan(_frameworks(), contains=contains, limit=limit, offset=offset)


async def count_items(database: Database, document: str) -> int:
    """How many live items a document has."""
    found = await database.fetch_one(_number_of_items(), document=document)
    assert found is not None
    return int(found["items"])


@cache
def _frameworks() -> CompiledStatement:
    documents, items = tables.documents, tables.items
    title = json_text(documents.c.body, "title")
    said = func.concat_ws(
        literal_column("' '"),
        title,
        *(json_text(documents.c.body, name) for name in ("creator", "publisher")),
    )
    wanted = func.lower(bindparam("contains", type_=Text))
    page = (
        select(
            documents.c.identifier,
            documents.c.body,
            title.label("title"),
            func.count().over().label("total"),
        )
        .where(live(documents), func.strpos(func.lower(said), wanted) > literal_column("0"))
        .order_by(func.lower(title), documents.c.identifier)
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("page")
    )
    own = (
        select(func.count())
        .select_from(items)
        .where(items.c.document_identifier == page.c.identifier, live(items))
        .scalar_subquery()
    )
    return CompiledStatement(
        select(page.c.identifier, page.c.body, page.c.total, own.label("items")).order_by(
            func.lower(page.c.title), page.c.identifier
        )
    )


@cache
def _number_of_items() -> CompiledStatement:
    table = tables.items
    mine = table.c.document_identifier == bindparam("document", type_=Text)
    return CompiledStatement(select(func.count().label("items")).where(mine, live(table)))
