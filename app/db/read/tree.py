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
    Numeric,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    except_,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from ..pool import Database
from ..schema import tables
from ..schema.expressions import IDENTIFIERS, LIMIT, OFFSET, build_text_extract
from ..statement import CompiledStatement
from .visibility import build_live_condition

MAX_DEPTH = 100
"""Number of ancestors to follow, which also ends cycles."""

MAX_STATEMENT_CHARS = 400
"""Number of characters of a statement in the rows of a tree."""

DOCUMENT = bindparam("document", type_=Text)


async def fetch_children(
    database: Database, document: str, parents: Sequence[str], limit: int, offset: int = 0
) -> list[Record]:
    """Return the children of some items, sorted by parent, then sequenceNumber, then code.

    For each parent, returns ``limit`` children after the first ``offset`` ones. A child that is
    itself one of ``parents`` is always returned. Each row is (parent, identifier, code, statement,
    item_type, child_count, position, total). ``position`` counts the children of the parent from 1;
    ``total`` is their number.
    """
    values = {"parents": list(parents), "always_include": list(parents)}
    page = {"document": document, "limit": limit + offset, "offset": offset}
    return await database.run_heavy_read(_compile_children_query(), **values, **page)


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
    """Return the ancestors of each item, from its root down, as lists by the item's identifier.

    The list of a root is empty. Each ancestor is a row (start, identifier, code, statement,
    item_type), where ``start`` is the item's identifier. If an item has several parents, the first
    one in the order of the package is used.
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


def _build_child_counts(page: CTE) -> FromClause:
    """Build the subquery that counts the children of each item on a page.

    Its rows are (parent, child_count); items without children have none. One query counts the
    children of all items, because Postgres may scan all associations for it, and would do so for
    each item of a framework with many roots.
    """
    link = tables.associations.alias("child_link")
    parents = func.any(func.array(select(page.c.identifier).scalar_subquery()))
    return (
        select(link.c.destination_identifier.label("parent"), func.count().label("child_count"))
        .where(
            link.c.destination_identifier == parents,
            link.c.document_identifier == DOCUMENT,
            _build_parent_link_condition(link),
            _build_own_item_condition(link.c.origin_identifier, DOCUMENT),
        )
        .group_by(link.c.destination_identifier)
        .subquery("child_counts")
    )


def _build_link_subquery(condition: ColumnElement[bool]) -> FromClause:
    """Build a subquery for the associations that meet a condition, found by an index.

    OFFSET 0 keeps Postgres from moving conditions of the outer query into the subquery. It would
    then read all rows of the document for each item until a new framework has been analyzed.
    """
    links = tables.associations
    query = select(links).where(condition)
    return query.correlate_except(links).offset(literal_column("0")).lateral("link")


def _build_own_item_condition(
    identifier: ColumnElement[str], document: ColumnElement[str]
) -> ColumnElement[bool]:
    """Build the SQL condition that an identifier belongs to a live item of a document.

    OFFSET 0 makes Postgres look the item up by its primary key, as in ``_build_link_subquery``.
    """
    item = tables.items.alias("own_item")
    return (
        select(literal_column("1"))
        .where(
            item.c.identifier == identifier,
            item.c.document_identifier == document,
            build_live_condition(item),
        )
        .correlate_except(item)
        .offset(literal_column("0"))
        .exists()
    )


def _build_page_condition(rows: FromClause) -> ColumnElement[bool]:
    """Build the SQL condition that a row is on the page or its item is always to be included.

    The SQL parameters are ``offset``, ``limit`` (the position of the last row on the page) and
    ``always_include`` (identifiers of items).
    """
    # Not Integer, which cannot hold the last position of a page at the largest offset.
    is_on_page = and_(rows.c.position > OFFSET, rows.c.position <= LIMIT)
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
        link.c.identifier,
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
    page = select(rows).where(_build_page_condition(rows)).cte("page").prefix_with("MATERIALIZED")
    return _compile_page_with_child_counts(page, page.c.parent, page.c.position)


@cache
def _compile_roots_query() -> CompiledStatement:
    """Compile the query for a page of the roots of a document's tree.

    1. The CTE ``own_items`` has the identifiers of all live items of the document.
    2. The subquery ``root`` has those of them that are not the origin of a link to another one.
    3. The subquery ``roots`` numbers them in order. An item that is linked to the document as its
       child is sorted by the sequenceNumber of this association.
    4. The rows of the page have the text of the items and the number of their children.
    """
    items = tables.items
    own_items = (
        select(items.c.identifier)
        .where(items.c.document_identifier == DOCUMENT, build_live_condition(items))
        .cte("own_items")
        .prefix_with("MATERIALIZED")
    )
    root = except_(select(own_items), _build_non_roots_query(own_items)).subquery("root")
    item = items.alias("item")
    document_link = _build_link_subquery(
        tables.associations.c.origin_identifier == root.c.identifier
    )
    is_document_link = and_(
        document_link.c.destination_identifier == DOCUMENT,
        document_link.c.association_type == literal_column("'isChildOf'"),
    )
    order = (_build_sequence_number(document_link), item.c.ordinal, item.c.identifier)
    roots = (
        select(
            root.c.identifier,
            func.row_number().over(order_by=order).label("position"),
            func.count().over().label("total"),
        )
        .select_from(root)
        .join(item, item.c.identifier == root.c.identifier)
        .outerjoin(document_link, is_document_link)
        .subquery("roots")
    )
    page = (
        select(
            DOCUMENT.label("parent"), *_build_item_columns(item), roots.c.position, roots.c.total
        )
        .select_from(roots)
        .join(item, item.c.identifier == roots.c.identifier)
        .where(_build_page_condition(roots))
        .cte("page")
        .prefix_with("MATERIALIZED")
    )
    return _compile_page_with_child_counts(page, page.c.position)


def _compile_page_with_child_counts(page: CTE, *order: ColumnElement[Any]) -> CompiledStatement:
    """Compile the query for the rows of a page, in order, each with its number of children."""
    counts = _build_child_counts(page)
    count = func.coalesce(counts.c.child_count, literal_column("0")).label("child_count")
    return CompiledStatement(
        select(page, count).outerjoin(counts, counts.c.parent == page.c.identifier).order_by(*order)
    )


def _build_non_roots_query(own_items: CTE) -> Select[Any]:
    """Build the query for the identifiers of the items whose parent is in the CTE ``own_items``.

    It groups items and links by the parent. A join would read all items for each link if Postgres
    underestimated the size of the CTE, as it does before a new framework has been analyzed. Looking
    up each parent takes 1.6 times as long.
    """
    link = tables.associations
    nodes = union_all(
        select(own_items.c.identifier.label("node"), null().label("child")),
        select(link.c.destination_identifier, link.c.origin_identifier).where(
            link.c.document_identifier == DOCUMENT, _build_parent_link_condition(link)
        ),
    ).subquery("nodes")
    children = func.array_agg(nodes.c.child).filter(nodes.c.child.is_not(None))
    # Only an item of the document itself has a row without a child.
    return (
        select(func.unnest(children))
        .group_by(nodes.c.node)
        .having(func.bool_or(nodes.c.child.is_(None)))
    )


@cache
def _compile_ancestors_query() -> CompiledStatement:
    """Compile the recursive query for the ancestors of items, which follows first parents.

    The first parent of an item is the first in package order. Each row of the CTE ``path`` is a
    node on the way from an item, ``start``, to its root. The array ``trail`` lists the nodes from
    ``start`` to this node: a node that is already in it would be a cycle, and its length is the
    depth.
    """
    items = tables.items
    path = (
        select(
            items.c.identifier.label("start"),
            items.c.identifier.label("identifier"),
            items.c.document_identifier.label("document"),
            array([items.c.identifier]).label("trail"),
        )
        .where(items.c.identifier == func.any(IDENTIFIERS))
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
    """Build the subquery for the parent of each item in the CTE ``path``.

    If an item has several parents, this is the first one in the order of the package.
    """
    link = _build_link_subquery(tables.associations.c.origin_identifier == path.c.identifier)
    return (
        select(link.c.destination_identifier.label("identifier"))
        .where(
            link.c.document_identifier == path.c.document,
            _build_parent_link_condition(link),
            _build_own_item_condition(link.c.destination_identifier, path.c.document),
        )
        .order_by(link.c.ordinal, link.c.identifier)
        .limit(literal_column("1"))
        .lateral("parent")
    )
