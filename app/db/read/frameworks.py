"""List the frameworks by title and count their items."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Integer, Text, bindparam, func, literal_column, select

from ..schema import tables
from ..schema.expressions import json_text
from ..statement import CompiledStatement
from .visibility import live

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database


async def list_frameworks(
    database: Database, contains: str, limit: int, offset: int
) -> list[asyncpg.Record]:
    """Return the frameworks whose title, creator or publisher contains a text, by title.

    Rows of (identifier, body, total, items): ``body`` is that of the document, ``total`` the number
    of frameworks found, ``items`` the number of items of each. Raises ``ReadTimeout``.
    """
    return await database.scan(_frameworks(), contains=contains, limit=limit, offset=offset)


async def count_items(database: Database, document: str) -> int:
    """Return the number of live items of a document."""
    row = await database.fetch_one(_item_count(), document=document)
    assert row is not None
    return int(row["items"])


@cache
def _frameworks() -> CompiledStatement:
    documents, items = tables.documents, tables.items
    title = json_text(documents.c.body, "title")
    searched_text = func.concat_ws(
        literal_column("' '"),
        title,
        *(json_text(documents.c.body, name) for name in ("creator", "publisher")),
    )
    contained = func.lower(bindparam("contains", type_=Text))
    page = (
        select(
            documents.c.identifier,
            documents.c.body,
            title.label("title"),
            func.count().over().label("total"),
        )
        .where(
            live(documents),
            func.strpos(func.lower(searched_text), contained) > literal_column("0"),
        )
        .order_by(func.lower(title), documents.c.identifier)
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("page")
    )
    item_count = (
        select(func.count())
        .select_from(items)
        .where(items.c.document_identifier == page.c.identifier, live(items))
        .scalar_subquery()
    )
    return CompiledStatement(
        select(page.c.identifier, page.c.body, page.c.total, item_count.label("items")).order_by(
            func.lower(page.c.title), page.c.identifier
        )
    )


@cache
def _item_count() -> CompiledStatement:
    items = tables.items
    in_document = items.c.document_identifier == bindparam("document", type_=Text)
    return CompiledStatement(select(func.count().label("items")).where(in_document, live(items)))
