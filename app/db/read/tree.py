"""Read frameworks as trees: roots, children, and the path from an item up to its root.

As in ``CFPackages/{id}/groups``, a child is the origin of an isChildOf association of the framework
whose destination is another node of the same framework. An item without such a parent is a root.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from asyncpg import Record
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
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from ..pool import Database
from ..schema import tables
from ..schema.expressions import build_exists, build_text_extract
from ..statement import CompiledStatement
from .visibility import build_live_condition

MAX_DEPTH = 100
"""Number of ancestors to follow, which also ends cycles."""

MAX_STATEMENT_CHARS = 400
"""Number of characters of a statement in the rows of a tree."""

DOCUMENT = bindparam("document", type_=Text)


async def fetch_children(
    database: Database,
    document: str,
    parents: Sequence[str],
    always_include: Sequence[str],
    limit: int,
) -> list[Record]:
    """Return the children of some items, sorted by parent, then sequenceNumber, then code.

    For each parent, returns the first ``limit`` children, and the children whose identifiers are in
    ``always_include``. Each row is (parent, identifier, code, statement, item_type, child_count,
    position, total). ``position`` counts the children of the parent from 1; ``total`` is their
    number.
    """
    query = _compile_children_query()
    values = {"parents": list(parents), "always_include": list(always_include), "limit": limit}
    return await database.run_heavy_read(query, document=document, **values, offset=0)


async def fetch_children_page(
    database: Database, document: str, parent: str, limit: int, offset: int
) -> list[Record]:
    """Return a page of the children of an item, in the same form as ``fetch_children``."""
    query = _compile_children_query()
    values = {"parents": [parent], "always_include": [], "limit": limit + offset}
    return await database.run_heavy_read(query, document=document, **values, offset=offset)


async def fetch_roots(
    database: Database, document: str, always_include: Sequence[str], limit: int, offset: int = 0
) -> list[Record]:
    """Return a page of the roots of a document's tree: its items without a parent item.

    They are sorted by the sequenceNumber of their isChildOf association to the document, then by
    their order in the package. Items in ``always_include`` are returned even if they are not on the
    page. The rows have the same columns as those of ``fetch_children``.
    """
    values = {"always_include": list(always_include), "limit": limit + offset, "offset": offset}
    return await database.run_heavy_read(_compile_roots_query(), document=document, **values)


async def fetch_ancestors(
    database: Database, identifiers: Sequence[str]
) -> dict[str, list[Record]]:
    """Return the ancestors of each item, from its root down, without the item itself.

    The result maps the identifier of each item to its ancestors. Each row is (start, identifier,
    code, statement, item_type), where ``start`` is the item's identifier. If an item has several
    parents, the first one in the order of the package is used.
    """
    paths: dict[str, list[Record]] = {identifier: [] for identifier in identifiers}
    for row in await database.fetch_all(_compile_ancestors_query(), identifiers=list(identifiers)):
        paths[row["start"]].append(row)
    return paths


def _build_parent_link_condition(link: FromClause) -> ColumnElement[bool]:
    """Build the SQL condition that an association links an item to a parent other than itself."""
    return and_(
        link.c.association_type == literal_column("'isChildOf'"),
        link.c.origin_identifier != link.c.destination_identifier,
    )


def _build_item_columns(item: FromClause) -> tuple[ColumnElement[Any], ...]:
    statement = func.left(
        build_text_extract(item.c.body, "fullStatement"), literal_column(str(MAX_STATEMENT_CHARS))
    )
    return (
        item.c.identifier,
        build_text_extract(item.c.body, "humanCodingScheme").label("code"),
        statement.label("statement"),
        build_text_extract(item.c.body, "CFItemType").label("item_type"),
    )


def _build_sequence_number(link: FromClause) -> ColumnElement[Any]:
    return cast(build_text_extract(link.c.body, "sequenceNumber"), Numeric).nulls_last()


def _build_child_count(parent: ColumnElement[str]) -> ColumnElement[int]:
    child, link = tables.items.alias("grandchild"), tables.associations.alias("grandchild_link")
    return (
        select(func.count())
        .select_from(link)
        .join(child, child.c.identifier == link.c.origin_identifier)
        .where(
            link.c.destination_identifier == parent,
            link.c.document_identifier == DOCUMENT,
            child.c.document_identifier == DOCUMENT,
            build_live_condition(child),
            _build_parent_link_condition(link),
        )
        .scalar_subquery()
    )


def _build_page_condition(rows: FromClause) -> ColumnElement[bool]:
    """Build the SQL condition that a row is on the page or its item must be included anyway.

    The SQL parameters are ``offset``, ``limit`` (the last position) and ``always_include``.
    """
    limit, offset = bindparam("limit", type_=Integer), bindparam("offset", type_=Integer)
    is_on_page = and_(rows.c.position > offset, rows.c.position <= limit)
    always_include = bindparam("always_include", type_=ARRAY(Text))
    return or_(is_on_page, rows.c.identifier == func.any(always_include))


@cache
def _compile_children_query() -> CompiledStatement:
    item, link = tables.items.alias("child"), tables.associations.alias("link")
    parents = bindparam("parents", type_=ARRAY(Text))
    parent = link.c.destination_identifier
    order = (
        _build_sequence_number(link),
        build_text_extract(item.c.body, "humanCodingScheme"),
        link.c.ordinal,
    )
    rows = (
        select(
            parent.label("parent"),
            *_build_item_columns(item),
            func.row_number().over(partition_by=parent, order_by=order).label("position"),
            func.count().over(partition_by=parent).label("total"),
        )
        .select_from(link)
        .join(item, item.c.identifier == link.c.origin_identifier)
        .where(
            parent == func.any(parents),
            link.c.document_identifier == DOCUMENT,
            item.c.document_identifier == DOCUMENT,
            build_live_condition(item),
            _build_parent_link_condition(link),
        )
        .subquery("rows")
    )
    page = select(rows, _build_child_count(rows.c.identifier).label("child_count"))
    return CompiledStatement(
        page.where(_build_page_condition(rows)).order_by(rows.c.parent, rows.c.position)
    )


@cache
def _compile_roots_query() -> CompiledStatement:
    """Compile the query for a page of the roots of a document's tree.

    1. The CTE ``own_items`` has the identifier and ordinal of all live items of the document.
    2. The subquery ``roots`` numbers, in order, those of them that have no parent among them. An
       item whose only parent is the document is sorted by the sequenceNumber of this isChildOf
       association.
    3. The rows of the page have the text of the items and the number of their children.
    """
    items = tables.items
    # Materialized and without bodies: with them, a hash table of thousands of items would not fit
    # into memory.
    own_items = (
        select(items.c.identifier, items.c.ordinal)
        .where(items.c.document_identifier == DOCUMENT, build_live_condition(items))
        .cte("own_items")
        .prefix_with("MATERIALIZED")
    )
    root, parent = own_items.alias("root"), items.alias("parent")
    parent_link = tables.associations.alias("parent_link")
    has_parent = build_exists(
        parent_link.c.origin_identifier == root.c.identifier,
        parent_link.c.document_identifier == DOCUMENT,
        _build_parent_link_condition(parent_link),
        # Not the CTE, which Postgres reads once for each item if it takes it for small, as it does
        # before a new framework has been analyzed.
        parent.c.identifier == parent_link.c.destination_identifier,
        parent.c.document_identifier == DOCUMENT,
        build_live_condition(parent),
    )
    document_link = tables.associations
    is_document_link = and_(
        document_link.c.origin_identifier == root.c.identifier,
        document_link.c.destination_identifier == DOCUMENT,
        document_link.c.association_type == literal_column("'isChildOf'"),
    )
    order = (_build_sequence_number(document_link), root.c.ordinal)
    roots = (
        select(
            root.c.identifier,
            func.row_number().over(order_by=order).label("position"),
            func.count().over().label("total"),
        )
        .select_from(root)
        .outerjoin(document_link, is_document_link)
        .where(~has_parent)
        .subquery("roots")
    )
    item = items.alias("item")
    return CompiledStatement(
        select(
            DOCUMENT.label("parent"),
            *_build_item_columns(item),
            roots.c.position,
            roots.c.total,
            _build_child_count(roots.c.identifier).label("child_count"),
        )
        .select_from(roots)
        .join(item, item.c.identifier == roots.c.identifier)
        .where(_build_page_condition(roots))
        .order_by(roots.c.position)
    )


@cache
def _compile_ancestors_query() -> CompiledStatement:
    """Compile a recursive CTE that follows the first parent of each item up to its root.

    The first parent is the first in package order. Each row of ``path`` is a node on the way from
    ``start`` to its root. ``trail`` lists the nodes up to that node, which stops the recursion at a
    cycle and gives the depth.
    """
    items = tables.items
    path = (
        select(
            items.c.identifier.label("start"),
            items.c.identifier.label("identifier"),
            items.c.document_identifier.label("document"),
            array([items.c.identifier]).label("trail"),
        )
        .where(items.c.identifier == func.any(bindparam("identifiers", type_=ARRAY(Text))))
        .cte("path", recursive=True)
    )
    parent = _build_first_parent_subquery(path)
    ancestors = path.union_all(
        select(
            path.c.start,
            parent.c.identifier,
            path.c.document,
            func.array_append(path.c.trail, parent.c.identifier),
        )
        .select_from(path)
        .join(parent, true())
        .where(
            parent.c.identifier != func.all(path.c.trail),
            func.cardinality(path.c.trail) <= literal_column(str(MAX_DEPTH)),
        )
    )
    item = items.alias("item")
    depth = func.cardinality(ancestors.c.trail)
    return CompiledStatement(
        select(ancestors.c.start, *_build_item_columns(item))
        .select_from(ancestors)
        .join(item, item.c.identifier == ancestors.c.identifier)
        .where(depth > literal_column("1"))
        .order_by(ancestors.c.start, depth.desc())
    )


def _build_first_parent_subquery(path: CTE) -> FromClause:
    """Build the subquery for the first parent, in package order, of a row of the CTE ``path``."""
    link, parent = tables.associations.alias("parent_link"), tables.items.alias("parent_item")
    return (
        select(parent.c.identifier)
        .select_from(link)
        .join(parent, parent.c.identifier == link.c.destination_identifier)
        .where(
            link.c.origin_identifier == path.c.identifier,
            link.c.document_identifier == path.c.document,
            parent.c.document_identifier == path.c.document,
            build_live_condition(parent),
            _build_parent_link_condition(link),
        )
        .order_by(link.c.ordinal)
        .limit(literal_column("1"))
        .lateral("parent")
    )
