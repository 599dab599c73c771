"""Purge entities deleted before a given time, and superseded entries of the change feed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateTable

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ..connector import Connection
from ..pool import Database
from ..read.visibility import build_live_condition
from ..schema import tables
from ..statement import DIALECT, CompiledStatement
from . import change_log
from .dry_run import write_transaction

BEFORE = bindparam("before", type_=tables.TimestampTZ)

PURGED = Table(
    "purged",
    MetaData(),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""A temporary table of the transaction that lists the entities to purge."""


OWNERS = {"document_identifier": DOCUMENTS, "item_identifier": ITEMS, "rubric_identifier": RUBRICS}
"""The types of the entities that own rows, by the column that names the owner."""


async def purge(database: Database, before: datetime, *, dry_run: bool = False) -> Counter[str]:
    """Permanently delete entities that were soft-deleted before a time, to free space.

    A document is deleted with its items, rubrics and associations; a document or item is deleted
    with every association that starts or ends at it. A change logged before that time is deleted if
    the feed has a later change of the same entity. Returns the number of deleted rows by kind, such
    as "CFItem" or "changes". With ``dry_run``, nothing is deleted.
    """

    async def run_transaction(connection: Connection) -> Counter[str]:
        counts: Counter[str] = Counter()
        async with write_transaction(connection, dry_run=dry_run):
            await connection.execute(str(CreateTable(PURGED).compile(dialect=DIALECT)))
            for statement in _build_purge_statements():
                for row in await statement.fetch_all(connection, before=before):
                    counts[row["kind"]] += row["changed"]
        return counts

    return await database.run_write_with_retry(run_transaction, lock_name="purge")


@cache
def _build_purge_statements() -> list[CompiledStatement]:
    """Return the SQL statements that purge deleted entities and old changes, in execution order.

    Rows are deleted before the rows to which their foreign keys refer. ``before`` is a parameter of
    each statement that compares times. Those that count return rows (kind, changed).
    """
    # Without statistics, the planner would scan whole tables for the identifiers in ``PURGED``.
    analyze = CompiledStatement(text(f"ANALYZE {PURGED.name}"))
    entities = [_compile_purged_entity_insert(resource) for resource in (DOCUMENTS, ITEMS, RUBRICS)]
    lists = [*entities, _compile_purged_association_insert()]
    # The primary key of a link is a pair of identifiers.
    link_tables = [table for table in tables.metadata.sorted_tables if len(table.primary_key) > 1]
    return [
        *(statement for deletion in lists for statement in (deletion, analyze)),
        _compile_association_deletion(),
        *(_compile_child_row_deletion(table) for table in (*link_tables, tables.rubric_criteria)),
        *(_compile_entity_deletion(resource) for resource in (RUBRICS, ITEMS)),
        _compile_child_row_deletion(tables.packages),
        _compile_entity_deletion(DOCUMENTS),
        _compile_item_recount(),
        _compile_superseded_change_deletion(),
    ]


def _compile_purged_entity_insert(resource: ResourceType) -> CompiledStatement:
    """Compile the INSERT that lists entities of one type in the temporary table ``PURGED``.

    These are the entities that were soft-deleted before the parameter ``before``, and all items or
    rubrics of documents that the table lists already.
    """
    table = tables.get_table(resource)
    conditions: list[ColumnElement[bool]] = [table.c.deleted_at < BEFORE]
    if resource is not DOCUMENTS:
        conditions.append(table.c.document_identifier.in_(_build_purged_query(DOCUMENTS)))
    row = select(literal(resource.name), table.c.identifier)
    rows = union(*(row.where(condition) for condition in conditions))
    return CompiledStatement(insert(PURGED).from_select(["kind", "identifier"], rows))


def _compile_purged_association_insert() -> CompiledStatement:
    table = tables.associations
    ends = {
        table.c.document_identifier: (DOCUMENTS,),
        table.c.origin_identifier: (DOCUMENTS, ITEMS),
        table.c.destination_identifier: (DOCUMENTS, ITEMS),
    }
    matches = []
    for column, resources in ends.items():
        end = _build_purged_query(*resources).subquery("end")
        matching = select(table.c.identifier).where(column == end.c.identifier)
        # OFFSET 0, because without it the planner scans the table: it expects 400,000 instead of
        # 45,000 rows, as Postgres estimates the number of different nodes far too low.
        result = matching.offset(literal_column("0")).lateral("found")
        row = select(literal(ASSOCIATIONS.name), result.c.identifier)
        matches.append(row.select_from(end.join(result, true())))
    return CompiledStatement(insert(PURGED).from_select(["kind", "identifier"], union(*matches)))


def _build_purged_query(*resources: ResourceType) -> Select[Any]:
    kinds = (PURGED.c.kind == resource.name for resource in resources)
    return select(PURGED.c.identifier).where(or_(*kinds))


def _build_purged_row_deletion(table: Table, column: str, resource: ResourceType) -> Any:
    return delete(table).where(table.c[column].in_(_build_purged_query(resource)))


def _compile_child_row_deletion(table: Table) -> CompiledStatement:
    """Compile the DELETE for the rows of ``table`` that belong to entities listed in ``PURGED``.

    ``table`` has a column of ``OWNERS``, such as ``document_identifier``, which names the entity.
    """
    column, owner = next((name, owner) for name, owner in OWNERS.items() if name in table.c)
    return CompiledStatement(_build_purged_row_deletion(table, column, owner))


def _compile_association_deletion() -> CompiledStatement:
    table = tables.associations
    deletion = _build_purged_row_deletion(table, "identifier", ASSOCIATIONS)
    delete_cte = change_log.build_delete_cte(deletion, table)
    return change_log.compile_logged_write(delete_cte, ASSOCIATIONS, delete_cte.c.previous_document)


def _compile_entity_deletion(resource: ResourceType) -> CompiledStatement:
    # The change feed has the deletions since the entities were soft-deleted, so only the revision
    # of the existence of items and documents changes.
    deletion = _build_purged_row_deletion(tables.get_table(resource), "identifier", resource)
    delete_cte = deletion.returning(literal(tables.DELETE).label("operation")).cte("deleted")
    scope = select(literal(tables.NODES_SCOPE).label("scope")).select_from(delete_cte)
    has_rows = change_log.build_has_rows_condition(delete_cte)
    increment_cte = change_log.build_revision_increment_cte(scope.where(has_rows))
    return change_log.compile_write_and_count(delete_cte, resource.name, increment_cte)


def _compile_item_recount() -> CompiledStatement:
    """Compile a SQL statement that recounts all items and replaces the rows of ``item_counts``.

    This corrects the counts after SQL run outside this server has changed items.
    """
    # Rows that other transactions append in the meantime stay, because the snapshot has neither
    # these rows nor their items.
    table, items = tables.item_counts, tables.items
    delete_cte = delete(table).cte("deleted")
    number = func.count().label("number")
    document = items.c.document_identifier.label("document")
    # All items minus deleted items, because each number can be read from an index.
    parts = union_all(
        select(document, number).group_by(document),
        select(document, -number).where(~build_live_condition(items)).group_by(document),
    ).subquery("parts")
    rows = select(parts.c.document, func.sum(parts.c.number), true()).group_by(parts.c.document)
    columns = ["document_identifier", "live_items", "is_sum"]
    return CompiledStatement(insert(table).from_select(columns, rows).add_cte(delete_cte))


def _compile_superseded_change_deletion() -> CompiledStatement:
    """Compile a SQL statement that deletes old changes of entities that have changed again.

    A row of ``changes`` is deleted if it was logged before the parameter ``before`` and the feed
    has a later row of the same entity. Returns one row, ("changes", number of deleted rows), or
    none if nothing was deleted.
    """
    table = tables.changes
    # Scans of the whole table, because an index for this would slow every write down. Only entities
    # that were not only created are sorted: 2.3 million changes of 45,000 such entities then take
    # 3 instead of 13 s.
    entity = (table.c.kind, table.c.identifier)
    is_creation = table.c.operation == literal_column(f"'{tables.CREATE}'")
    last_sequence = func.max(table.c.sequence).over(partition_by=entity)
    changes = (
        select(table.c.sequence, table.c.changed_at, last_sequence.label("last"))
        .where(tuple_(*entity).in_(select(*entity).where(~is_creation)))
        .subquery("logged")
    )
    is_superseded = changes.c.sequence < changes.c.last
    obsolete = select(changes.c.sequence).where(changes.c.changed_at < BEFORE, is_superseded)
    deletion = delete(table).where(table.c.sequence.in_(obsolete))
    delete_cte = deletion.returning(literal("changes").label("kind")).cte("deleted")
    counts = select(delete_cte.c.kind, func.count().label("changed")).group_by(delete_cte.c.kind)
    return CompiledStatement(counts)
