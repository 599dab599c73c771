"""What every write leaves behind: rows of ``changes``, and marks on the revisions it moves.

Both are written by the statement that writes the entity, so that they are there when it is.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Delete,
    FromClause,
    Select,
    Table,
    Update,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import Insert, array, insert

from ...case.resources import Resource
from ..read.visibility import NODE_KINDS
from ..schema import tables
from ..statement import CompiledStatement


def classify_writes(table: Table, *writes: Insert | Update) -> CTE:
    """What an upsert did, or several writes: rows (identifier, operation, previous document)."""
    each = [
        write.returning(table.c.identifier).cte(f"{table.name}_written_{number}")
        for number, write in enumerate(writes)
    ]
    done = (
        union_all(*(select(one.c.identifier) for one in each)).subquery(f"{table.name}_written")
        if len(each) > 1
        else each[0]
    )
    # A statement sees its tables as they were before it.
    before = table.alias(f"{table.name}_before")
    operation = case(
        (before.c.identifier.is_(None), literal_column(f"'{tables.CREATE}'")),
        *(
            [(before.c.deleted_at.is_not(None), literal_column(f"'{tables.REVIVE}'"))]
            if "deleted_at" in table.c
            else []
        ),
        else_=literal_column(f"'{tables.UPDATE}'"),
    )
    columns = [done.c.identifier, operation.label("operation")]
    if "document_identifier" in table.c:
        columns.append(before.c.document_identifier.label("previous"))
    joined = done.outerjoin(before, before.c.identifier == done.c.identifier)
    return select(*columns).select_from(joined).cte(f"{table.name}_operations")


def classify_deletes(change: Delete | Update, table: Table) -> CTE:
    """What a deletion did: rows (identifier, operation, previous document)."""
    columns = [table.c.identifier, literal_column(f"'{tables.DELETE}'").label("operation")]
    if "document_identifier" in table.c:
        columns.append(table.c.document_identifier.label("previous"))
    return change.returning(*columns).cte(f"{table.name}_deleted")


def select_changes(done: FromClause, kind: str, document: ColumnElement[Any] | None) -> Select[Any]:
    """The rows of ``changes`` that say what was done to entities of a kind."""
    home = null() if document is None else document
    return select(home, literal_column(f"'{kind}'"), done.c.identifier, done.c.operation)


def insert_changes(*what: Select[Any]) -> CTE:
    """The entries, written."""
    names = ["document_identifier", "kind", "identifier", "operation"]
    rows = union_all(*what) if len(what) > 1 else what[0]
    return insert(tables.changes).from_select(names, rows).cte("recorded")


def select_touched_scopes(
    done: FromClause, kind: str, document: ColumnElement[Any] | None
) -> Select[Any]:
    """The scopes whose revision moves when this was done to entities of a kind."""
    if document is None:
        # Nothing can refer yet to a definition that is new.
        moved = done.c.operation != literal_column(f"'{tables.CREATE}'")
        return (
            select(literal(tables.DEFINITIONS_SCOPE).label("scope")).select_from(done).where(moved)
        )
    each: list[ColumnElement[Any]] = [document]
    if "previous" in done.c:
        each.append(func.nullif(done.c.previous, document))
    if kind in NODE_KINDS:
        came_or_went = done.c.operation != literal_column(f"'{tables.UPDATE}'")
        each.append(case((came_or_went, literal_column(f"'{tables.NODES_SCOPE}'"))))
    several = func.unnest(array(each)).table_valued("scope").render_derived("moved").lateral()
    return select(several.c.scope).select_from(done.join(several, true()))


def bump_revisions(*moved: Select[Any], once: bool = True) -> CTE:
    """The revisions of these scopes, moved on: by one, or, where that is cheaper, by more."""
    every = (union_all(*moved) if len(moved) > 1 else moved[0]).subquery("every")
    rows = select(every.c.scope).where(every.c.scope.is_not(None))
    fresh = insert(tables.revision_marks)
    return fresh.from_select(["scope"], rows.distinct() if once else rows).cte("marked")


def log_and_bump(
    done: CTE, resource: Resource, document: ColumnElement[Any] | None
) -> tuple[CTE, CTE]:
    """Record what was done to entities of one kind, and move the revisions it touches."""
    kind = resource.name
    return insert_changes(select_changes(done, kind, document)), bump_revisions(
        select_touched_scopes(done, kind, document)
    )


def count_by_operation(done: CTE, kind: str, *ctes: CTE) -> CompiledStatement:
    """A statement that does what the CTEs do: rows (kind, operation, changed)."""
    columns = (literal(kind).label("kind"), done.c.operation, func.count().label("changed"))
    return CompiledStatement(select(*columns).group_by(done.c.operation).add_cte(*ctes))


def any_row(change: CTE) -> ColumnElement[bool]:
    """Whether a change touched any row."""
    return exists(literal_column("1")).select_from(change)


def run_after(*changes: CTE) -> ColumnElement[bool]:
    """Always true, and not known before these changes were made: what asks for it follows them."""
    return and_(*(select(func.count()).select_from(one).scalar_subquery() >= 0 for one in changes))
