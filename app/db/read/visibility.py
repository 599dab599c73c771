"""SQL conditions and statements for the rows that readers may see.

An entity is *live* unless it was soft-deleted. An association is *visible* unless its document or
one of its nodes was deleted; associations themselves are deleted permanently. A node that is stored
on another server counts as live.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    FromClause,
    Table,
    Text,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array

from ...case.resources import DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ..schema import tables
from ..schema.expressions import IDENTIFIER, IDENTIFIERS, build_exists
from ..schema.tables import get_table
from ..statement import CompiledStatement

NODE_KINDS = (DOCUMENTS.name, ITEMS.name)
"""The kinds of entities that an association can relate."""


def build_live_condition(table: FromClause) -> ColumnElement[bool]:
    """Build the SQL condition that a row of a table is not soft-deleted."""
    return table.c.deleted_at.is_(None) if "deleted_at" in table.c else true()


def build_visible_condition(table: Table) -> ColumnElement[bool]:
    """Build the SQL condition that a row of an entity table appears in responses.

    A soft-deleted entity does not. An association does not either if its document, origin or
    destination is soft-deleted. ``build_visible_association_condition`` is faster for associations
    that an index finds.
    """
    if table is not tables.associations:
        return build_live_condition(table)
    documents = tables.documents
    is_own_document = documents.c.identifier == table.c.document_identifier
    return and_(
        ~_build_deleted_node_condition(table.c.origin_identifier),
        ~_build_deleted_node_condition(table.c.destination_identifier),
        ~build_exists(is_own_document, ~build_live_condition(documents)),
    )


def build_visible_association_condition() -> ColumnElement[bool]:
    """Build the visibility condition of associations that an index finds, some hundred at most.

    Postgres looks each node up in the indexes of deleted entities, whatever its statistics say. For
    the associations of an item, this and ``build_association_end_condition`` take 0.77 times the
    CPU time of Postgres [0.65, 0.91] that joining all deleted entities takes; after a deletion of
    8,000 items, which are not in the statistics yet, 0.2 instead of 50 ms. For a package of 15,000
    associations, ``build_visible_condition`` is faster.
    """
    table, items, documents = tables.associations, tables.items, tables.documents
    nodes = array([table.c.origin_identifier, table.c.destination_identifier])
    is_own_document = documents.c.identifier == table.c.document_identifier
    conditions: list[tuple[ColumnElement[bool], ...]] = [
        (is_own_document, ~build_live_condition(documents))
    ]
    for node, other in ((items, documents), (documents, items)):
        is_node = node.c.identifier == func.any(nodes)
        # An item and a document may have the same identifier.
        has_same_identifier = other.c.identifier == node.c.identifier
        is_other_live = build_exists(has_same_identifier, build_live_condition(other))
        conditions.append((is_node, ~build_live_condition(node), ~is_other_live))
    # OFFSET 0, because Postgres would otherwise turn the subqueries into joins or hash tables.
    rows = (select(true()).where(*where).offset(literal_column("0")) for where in conditions)
    return and_(*(~exists(query) for query in rows))


def _build_deleted_node_condition(node: ColumnElement[Any]) -> ColumnElement[bool]:
    """Build the SQL condition that an item or document is soft-deleted.

    ``node`` is the SQL for its identifier. The condition is false if a live item or document has
    this identifier as well.
    """
    rows = [
        (table.c.identifier == node, build_live_condition(table))
        for table in (tables.items, tables.documents)
    ]
    is_deleted = or_(*(build_exists(is_node, ~is_live) for is_node, is_live in rows))
    return and_(is_deleted, ~or_(*(build_exists(*conditions) for conditions in rows)))


def build_body_expression(resource: ResourceType) -> ColumnElement[Any]:
    """Build the SQL for an entity's JSON body as it appears in responses.

    It is the column ``body``, but rubrics include criteria and levels, which other tables store.
    """
    return _build_rubric_with_criteria() if resource is RUBRICS else get_table(resource).c.body


def _build_rubric_with_criteria() -> ColumnElement[Any]:
    criteria, levels = tables.rubric_criteria, tables.rubric_criterion_levels
    own_levels = (
        select(_build_json_list(levels))
        .where(levels.c.criterion_identifier == criteria.c.identifier)
        .scalar_subquery()
    )
    criterion = _build_body_with_list(criteria.c.body, "CFRubricCriterionLevels", own_levels)
    own_criteria = (
        select(_build_json_list(criteria, criterion))
        .where(criteria.c.rubric_identifier == tables.rubrics.c.identifier)
        .correlate(tables.rubrics)
        .scalar_subquery()
    )
    return _build_body_with_list(tables.rubrics.c.body, "CFRubricCriteria", own_criteria)


def _build_json_list(table: Table, value: ColumnElement[Any] | None = None) -> ColumnElement[Any]:
    part = table.c.body if value is None else value
    return func.json_agg(aggregate_order_by(part, table.c.ordinal))


def _build_body_with_list(
    body: ColumnElement[Any], name: str, parts: ColumnElement[Any]
) -> ColumnElement[Any]:
    """Build the SQL for a JSON body with an added field ``name``, whose value is a list.

    ``parts`` is the SQL for the JSON array. If it is NULL, the body is not changed.
    """
    without_brace = func.left(body.cast(Text), literal_column("-1"))
    body_start = without_brace.op("||")(literal_column(f"',\"{name}\":'"))
    body_with_list = body_start.op("||")(parts.cast(Text)).op("||")(literal_column("'}'"))
    return func.coalesce(body_with_list, body.cast(Text)).cast(JSON)


@cache
def compile_entity_query(resource: ResourceType) -> CompiledStatement:
    """Compile the query for the JSON body of the live entity with the parameter ``identifier``.

    For resource types with a hierarchy, such as CFConcept, further rows are the bodies of the
    entity's descendants, sorted by code. The hierarchyCode of a descendant starts with that of its
    ancestor and a dot: ELA, ELA.1, ELA.1.V.
    """
    table = get_table(resource)
    body = build_body_expression(resource).label("body")
    if not resource.with_descendants:
        is_association = table is tables.associations
        is_visible = (
            build_visible_association_condition() if is_association else build_live_condition(table)
        )
        return CompiledStatement(
            select(body).where(table.c.identifier == IDENTIFIER, is_visible),
            # The others are lookups in one primary key, which Postgres never plans for the values:
            # both plans cost the same. Hiding the value would make them 7 % slower.
            has_generic_plan=is_association,
        )
    ancestor, code = table.alias("ancestor"), table.c.hierarchy_code
    prefix = ancestor.c.hierarchy_code.op("||")(literal_column("'.'"))
    has_code = ancestor.c.hierarchy_code != literal_column("''")
    is_descendant = and_(has_code, func.starts_with(code, prefix))
    order = (table.c.identifier != IDENTIFIER, code.collate("C"), table.c.identifier)
    return CompiledStatement(
        select(body)
        .select_from(ancestor, table)
        .where(ancestor.c.identifier == IDENTIFIER, build_live_condition(ancestor))
        .where(build_live_condition(table), or_(table.c.identifier == IDENTIFIER, is_descendant))
        .order_by(*order),
        has_generic_plan=True,
    )


def build_association_end_condition(node: ColumnElement[Any]) -> ColumnElement[bool]:
    """Build the SQL condition that an association starts or ends at a node.

    ``node`` is the SQL for the node's identifier, or for any of several identifiers.
    """
    table = tables.associations
    # Postgres looks both ends up before it reads any association (BitmapOr).
    return or_(table.c.origin_identifier == node, table.c.destination_identifier == node)


@cache
def compile_live_nodes_query() -> CompiledStatement:
    """Compile the query for the live items and documents among the given identifiers.

    Each row is (identifier, collection), where ``collection`` is "CFItems" or "CFDocuments".
    """
    selects = []
    for resource in (ITEMS, DOCUMENTS):
        table = get_table(resource)
        rows = select(table.c.identifier, literal(resource.collection).label("collection"))
        is_requested = table.c.identifier == func.any(IDENTIFIERS)
        selects.append(rows.where(is_requested, build_live_condition(table)))
    return CompiledStatement(union_all(*selects), has_generic_plan=True)
