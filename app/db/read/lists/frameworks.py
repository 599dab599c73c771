"""List the frameworks by title and count their items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from asyncpg import Record
from sqlalchemy import Text, bindparam, func, literal_column, or_, select

from ...pool import Database
from ...schema import tables
from ...schema.expressions import LIMIT, OFFSET, build_text_extract
from ...statement import CompiledStatement
from ..visibility import build_live_condition
from . import item_counts


@dataclass(frozen=True)
class FrameworkSummary:
    """A framework in a list: its identifiers, title, creator and number of items."""

    identifier: str
    package_identifier: str
    title: str
    creator: str | None
    item_count: int
    last_change_date_time: datetime
    deleted_at: datetime | None


async def list_frameworks(
    database: Database, text: str, limit: int | None, offset: int
) -> list[Record]:
    """Return a page of frameworks whose title, creator or publisher contains ``text``.

    The frameworks are sorted by title. Each row is (identifier, body, total, items). ``body`` is
    the JSON body of the document, ``total`` the number of matching frameworks, ``items`` the number
    of items in the framework. Raises ``QueryTimeout``.
    """
    values = {"contains": text, "limit": limit, "offset": offset}
    return await database.run_heavy_read(_compile_frameworks(), **values)


async def list_framework_summaries(
    database: Database, identifier_prefix: str = "", *, only_deleted: bool = False
) -> list[FrameworkSummary]:
    """Return summaries of the frameworks whose identifiers start with a prefix, sorted by title.

    The prefix may match the identifier of the document or of the package. Lists live documents and
    counts live items, or with ``only_deleted`` lists and counts soft-deleted ones.
    """
    statement = _compile_summaries(only_deleted=only_deleted)
    rows = await database.fetch_all(statement, prefix=identifier_prefix)
    return [FrameworkSummary(**row) for row in rows]


async def count_items(database: Database, document: str) -> int:
    """Return how many items a document has, not counting deleted ones."""
    row = await database.fetch_one(_compile_item_count(), document=document)
    assert row is not None
    return int(row["items"])


@cache
def _compile_frameworks() -> CompiledStatement:
    documents = tables.documents
    contained = func.lower(bindparam("contains", type_=Text))
    is_match = func.strpos(documents.c.searched_text, contained) > literal_column("0")
    matches = (
        select(documents.c.identifier, documents.c.folded_title)
        .where(build_live_condition(documents), is_match)
        .cte("matches")
    )
    page = (
        select(matches)
        .order_by(matches.c.folded_title, matches.c.identifier)
        .limit(LIMIT)
        .offset(OFFSET)
        .subquery("page")
    )
    total = select(func.count()).select_from(matches).scalar_subquery()
    body = select(documents.c.body).where(documents.c.identifier == page.c.identifier)
    return CompiledStatement(
        select(
            page.c.identifier,
            body.scalar_subquery().label("body"),
            total.label("total"),
            item_counts.build_item_count_subquery(page.c.identifier).label("items"),
        ).order_by(page.c.folded_title, page.c.identifier)
    )


@cache
def _compile_summaries(*, only_deleted: bool) -> CompiledStatement:
    documents, items, packages = tables.documents, tables.items, tables.packages
    prefix = bindparam("prefix", type_=Text)
    is_listed = build_live_condition(documents)
    item_count = item_counts.build_item_count_subquery(documents.c.identifier)
    if only_deleted:
        is_listed, is_counted = ~is_listed, ~build_live_condition(items)
        is_own = items.c.document_identifier == documents.c.identifier
        item_count = select(func.count()).where(is_own, is_counted).scalar_subquery()
    title = build_text_extract(documents.c.body, "title")
    return CompiledStatement(
        select(
            documents.c.identifier,
            packages.c.identifier.label("package_identifier"),
            title.label("title"),
            build_text_extract(documents.c.body, "creator").label("creator"),
            item_count.label("item_count"),
            documents.c.last_change_date_time,
            documents.c.deleted_at,
        )
        .join_from(documents, packages, packages.c.document_identifier == documents.c.identifier)
        .where(
            is_listed,
            or_(
                func.starts_with(documents.c.identifier, prefix),
                func.starts_with(packages.c.identifier, prefix),
            ),
        )
        .order_by(func.lower(title), documents.c.identifier)
    )


@cache
def _compile_item_count() -> CompiledStatement:
    document = bindparam("document", type_=Text)
    return CompiledStatement(select(item_counts.build_item_count_subquery(document).label("items")))
