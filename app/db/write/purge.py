"""What was deleted long ago, removed for good, with what only it made sense of."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

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
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateTable

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ..pool import Database
from ..schema import tables
from ..statement import DIALECT, CompiledStatement
from . import change_log

if TYPE_CHECKING:
    from ..connector import Connection

BEFORE = bindparam("before", type_=tables.TimestampTZ)

OLD = Table(
    "old",
    MetaData(),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""What is about to be removed; gone when the transaction ends."""


async def purge(database: Database, before: datetime, *, dry_run: bool = False) -> Counter[str]:
    """Remove what was deleted before a moment, and say how much of each kind.

    A document goes with all that is in it, an item or document with the associations it is an
    end of. Of the changes before that moment, those are dropped that a later one of the same
    entity made unimportant. With ``dry_run`` nothing is removed.
    """

    async def work(connection: Connection) -> Counter[str]:
        transaction = connection.transaction()
        await transaction.start()
        try:
            found = await _purge(connection, before)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
        return found

    return await database.run_write(work, lock_name="purge")


async def _purge(connection: Connection, before: datetime) -> Counter[str]:
    found: Counter[str] = Counter()
    await connection.execute(str(CreateTable(OLD).compile(dialect=DIALECT)))
    for statement in _steps():
        for row in await statement.fetch_all(connection, before=before):
            found[row["kind"]] += row["changed"]
    return found


@cache
def _steps() -> list[CompiledStatement]:
    """What is old is listed, then removed, what refers to it first."""
    return [
        *(CompiledStatement(_list(resource)) for resource in (DOCUMENTS, ITEMS, RUBRICS)),
        _remove_associations(),
        *(_remove_links(table) for table in tables.metadata.sorted_tables if _is_link(table)),
        CompiledStatement(_of(tables.rubric_criteria, "rubric_identifier", RUBRICS)),
        *(_remove(resource) for resource in (RUBRICS, ITEMS)),
        CompiledStatement(_of(tables.packages, "document_identifier", DOCUMENTS)),
        _remove(DOCUMENTS),
        _forget(),
    ]


def _list(resource: Resource) -> Any:
    table = tables.table_of(resource)
    old: ColumnElement[bool] = table.c.deleted_at < BEFORE
    if resource is not DOCUMENTS:
        old = or_(old, table.c.document_identifier.in_(_old(DOCUMENTS)))
    rows = select(literal(resource.name), table.c.identifier).where(old)
    return insert(OLD).from_select(["kind", "identifier"], rows)


def _old(*resources: Resource) -> Select[Any]:
    return select(OLD.c.identifier).where(or_(*(OLD.c.kind == each.name for each in resources)))


def _is_link(table: Table) -> bool:
    """Whether its rows are pairs of identifiers, of which the first owns the second."""
    return len(table.primary_key.columns) > 1


def _of(table: Table, column: str, resource: Resource) -> Any:
    return delete(table).where(table.c[column].in_(_old(resource)))


def _remove_links(table: Table) -> CompiledStatement:
    owner = next(iter(table.c))
    kind = ITEMS if owner.name == "item_identifier" else DOCUMENTS
    return CompiledStatement(_of(table, owner.name, kind))


def _remove_associations() -> CompiledStatement:
    """Those of old documents, and those of others that nobody could see any more."""
    table = tables.associations
    nodes = _old(DOCUMENTS, ITEMS)
    change = delete(table).where(
        or_(
            table.c.document_identifier.in_(_old(DOCUMENTS)),
            table.c.origin_identifier.in_(nodes),
            table.c.destination_identifier.in_(nodes),
        )
    )
    gone = change_log.classify_deletes(change, table)
    kept = change_log.log_and_bump(gone, ASSOCIATIONS, gone.c.previous)
    return change_log.count_by_operation(gone, ASSOCIATIONS.name, *kept)


def _remove(resource: Resource) -> CompiledStatement:
    """Rows whose deletion was recorded when they were deleted; what is known here is another."""
    table = tables.table_of(resource)
    change = _of(table, "identifier", resource)
    gone = change.returning(literal(tables.DELETE).label("operation")).cte("gone")
    moved = change_log.bump_revisions(
        select(literal(tables.NODES_SCOPE).label("scope"))
        .select_from(gone)
        .where(change_log.any_row(gone))
    )
    return change_log.count_by_operation(gone, resource.name, moved)


def _forget() -> CompiledStatement:
    """Changes that a later one of the same entity made unimportant to whoever follows them."""
    table = tables.changes
    # All of them are gone through at once, which needs no index that every write would pay for.
    last = func.max(table.c.sequence).over(partition_by=(table.c.kind, table.c.identifier))
    told = select(table.c.sequence, table.c.changed_at, last.label("last")).subquery("told")
    old = select(told.c.sequence).where(told.c.changed_at < BEFORE, told.c.sequence < told.c.last)
    gone = (
        delete(table)
        .where(table.c.sequence.in_(old))
        .returning(literal("changes").label("kind"))
        .cte("gone")
    )
    return CompiledStatement(
        select(gone.c.kind, func.count().label("changed")).group_by(gone.c.kind)
    )
