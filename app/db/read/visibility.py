"""What a reader may see: live entities, and associations whose nodes and document are live."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Table,
    Text,
    and_,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from ...case.resources import DOCUMENTS, ITEMS, RUBRICS, Resource
from ..schema import tables
from ..schema.tables import table_of
from ..statement import CompiledStatement

NODE_KINDS = (DOCUMENTS.name, ITEMS.name)
"""The kinds of entities that an association can relate."""


def live(table: Table) -> ColumnElement[bool]:
    """Whether a row has not been deleted."""
    return table.c.deleted_at.is_(None) if "deleted_at" in table.c else true()


def visible(table: Table) -> ColumnElement[bool]:
    """Whether a reader may see a row."""
    if table is not tables.associations:
        return live(table)
    ends = (table.c.origin_identifier, table.c.destination_identifier)
    documents, home = tables.documents, table.c.document_identifier
    gone = _exists(documents, home, documents.c.deleted_at, deleted=True)
    return and_(*(~_is_deleted(end) for end in ends), ~gone)


def _is_deleted(node: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a node was deleted here, and is not here as anything else."""
    kinds = (tables.items, tables.documents)
    gone, there = (
        [_exists(table, node, table.c.deleted_at, deleted=deleted) for table in kinds]
        for deleted in (True, False)
    )
    return and_(or_(*gone), ~or_(*there))


def _exists(
    table: Table, identifier: ColumnElement[Any], deleted_at: ColumnElement[Any], *, deleted: bool
) -> ColumnElement[bool]:
    is_so = deleted_at.is_not(None) if deleted else deleted_at.is_(None)
    return exists(literal_column("1")).where(table.c.identifier == identifier, is_so)


def body_of(resource: Resource) -> ColumnElement[Any]:
    """The body as an expression; that of a rubric contains its criteria and their levels."""
    return _whole_rubric() if resource is RUBRICS else table_of(resource).c.body


def _whole_rubric() -> ColumnElement[Any]:
    criteria, levels = tables.rubric_criteria, tables.rubric_criterion_levels
    own_levels = (
        select(_list(levels))
        .where(levels.c.criterion_identifier == criteria.c.identifier)
        .scalar_subquery()
    )
    criterion = _with(criteria.c.body, "CFRubricCriterionLevels", own_levels)
    own_criteria = (
        select(_list(criteria, criterion))
        .where(criteria.c.rubric_identifier == tables.rubrics.c.identifier)
        .correlate(tables.rubrics)
        .scalar_subquery()
    )
    return _with(tables.rubrics.c.body, "CFRubricCriteria", own_criteria)


def _list(table: Table, value: ColumnElement[Any] | None = None) -> ColumnElement[Any]:
    part = table.c.body if value is None else value
    return func.json_agg(aggregate_order_by(part, table.c.ordinal))


def _with(body: ColumnElement[Any], name: str, parts: ColumnElement[Any]) -> ColumnElement[Any]:
    """A body with a list put before its closing brace; unchanged when there is no list."""
    opened = func.left(body.cast(Text), literal_column("-1"))
    return func.coalesce(
        opened.op("||")(literal_column(f"',\"{name}\":'"))
        .op("||")(parts.cast(Text))
        .op("||")(literal_column("'}'")),
        body.cast(Text),
    ).cast(JSON)


@cache
def select_entity(resource: Resource) -> CompiledStatement:
    """The entity with an ``identifier``; for a set, followed by its children in code order.

    A child's hierarchyCode continues its parent's with a dot: ELA, ELA.1, ELA.1.V.
    """
    table = table_of(resource)
    identifier = bindparam("identifier", type_=Text)
    body = body_of(resource).label("body")
    if resource.answers == "one":
        return CompiledStatement(
            select(body).where(table.c.identifier == identifier, visible(table))
        )
    asked = table.alias("asked")
    continues = and_(
        asked.c.hierarchy_code != literal_column("''"),
        func.starts_with(
            table.c.hierarchy_code, asked.c.hierarchy_code.op("||")(literal_column("'.'"))
        ),
    )
    return CompiledStatement(
        select(body)
        .select_from(asked, table)
        .where(asked.c.identifier == identifier, asked.c.deleted_at.is_(None), live(table))
        .where(or_(table.c.identifier == identifier, continues))
        .order_by(
            table.c.identifier != identifier,
            table.c.hierarchy_code.collate("C"),
            table.c.identifier,
        )
    )


@cache
def select_associations_of_item() -> CompiledStatement:
    """Select the bodies of an item's visible associations, at most ``limit`` unless it is null."""
    table = tables.associations
    return CompiledStatement(
        select(table.c.body)
        .where(_touches_item(), visible(table))
        .order_by(table.c.ordinal, table.c.identifier)
        .limit(bindparam("limit", type_=BigInteger))
    )


@cache
def select_association_keys_of_item() -> CompiledStatement:
    """Select the identifiers of all visible associations of an item, as lines of one text."""
    table = tables.associations
    in_order: ColumnElement[Any] = aggregate_order_by(
        literal_column("E'\\n'"), table.c.ordinal, table.c.identifier
    )
    keys = func.string_agg(table.c.identifier, in_order).label("keys")
    return CompiledStatement(select(keys).where(_touches_item(), visible(table)))


@cache
def select_associations_by_key() -> CompiledStatement:
    """Select the bodies of the visible associations with some identifiers, in order."""
    table = tables.associations
    keys = bindparam("keys", type_=ARRAY(Text))
    return CompiledStatement(
        select(table.c.body)
        .where(table.c.identifier == func.any(keys), visible(table))
        .order_by(table.c.ordinal, table.c.identifier)
    )


def _touches_item() -> ColumnElement[bool]:
    """Whether an association has the item ``identifier`` as its origin or destination."""
    table = tables.associations
    identifier = bindparam("identifier", type_=Text)
    ends = (table.c.origin_identifier, table.c.destination_identifier)
    # A union rather than an OR: each half is one look-up in an index.
    return table.c.identifier.in_(
        union(*(select(table.c.identifier).where(end == identifier) for end in ends))
    )


@cache
def select_nodes() -> CompiledStatement:
    """Which of some identifiers are live items or documents: rows (identifier, plural)."""
    asked = bindparam("identifiers", type_=ARRAY(Text))
    tables_of_nodes = [(table_of(resource), resource.plural) for resource in (ITEMS, DOCUMENTS)]
    found = [
        select(table.c.identifier, literal(plural).label("plural")).where(
            table.c.identifier == func.any(asked), live(table)
        )
        for table, plural in tables_of_nodes
    ]
    return CompiledStatement(union_all(*found))
