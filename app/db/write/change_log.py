"""CTEs that log changes and increment revisions in the SQL statement that writes the entities.

Every write consists of these steps of one SQL statement, so that entities, the change feed
(``changes``), the revisions (``revision_marks``) and the numbers of items (``item_counts``) are
committed together:

1. ``classify_writes`` or ``classify_deletes``: which rows were written, by which operation,
2. ``select_changes`` and ``insert_changes``: a row of ``changes`` for each of them,
3. ``select_touched_scopes`` and ``increment_revisions``: an increment for each revision scope
   concerned,
4. ``log_item_counts``, for items only: by how many each document grew.

``log_writes`` does steps 2 to 4 for entities of one kind.
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
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import Insert, array, insert

from ...case.resources import ITEMS, ResourceType
from ..read.visibility import NODE_KINDS
from ..schema import tables
from ..statement import CompiledStatement


def classify_writes(table: Table, *writes: Insert | Update) -> CTE:
    """Build a CTE that runs SQL writes and returns what each of them did to its entity.

    Its columns are (identifier, operation, previous). A SQL statement sees its tables as they were
    before it, so a join with the table itself tells whether a row is new (create), was deleted
    (revive) or existed (update). ``previous`` is the document that the entity belonged to, for
    tables that have one.
    """
    ctes = [
        write.returning(table.c.identifier).cte(f"{table.name}_written_{number}")
        for number, write in enumerate(writes)
    ]
    written = (
        union_all(*(select(cte.c.identifier) for cte in ctes)).subquery(f"{table.name}_written")
        if len(ctes) > 1
        else ctes[0]
    )
    before = table.alias(f"{table.name}_before")
    operations: list[tuple[ColumnElement[bool], ColumnElement[str]]] = [
        (before.c.identifier.is_(None), literal_column(f"'{tables.CREATE}'"))
    ]
    if "deleted_at" in table.c:
        operations.append((before.c.deleted_at.is_not(None), literal_column(f"'{tables.REVIVE}'")))
    operation = case(*operations, else_=literal_column(f"'{tables.UPDATE}'"))
    columns = [written.c.identifier, operation.label("operation")]
    if "document_identifier" in table.c:
        columns.append(before.c.document_identifier.label("previous"))
    joined = written.outerjoin(before, before.c.identifier == written.c.identifier)
    return select(*columns).select_from(joined).cte(f"{table.name}_operations")


def classify_deletes(change: Delete | Update, table: Table) -> CTE:
    """Build a CTE that runs a hard or soft deletion, with the columns of ``classify_writes``.

    These are (identifier, operation, previous); ``previous`` is the document that the entity
    belonged to.
    """
    columns = [table.c.identifier, literal_column(f"'{tables.DELETE}'").label("operation")]
    if "document_identifier" in table.c:
        columns.append(table.c.document_identifier.label("previous"))
    return change.returning(*columns).cte(f"{table.name}_deleted")


def select_changes(
    classified: FromClause, kind: str, document: ColumnElement[Any] | None
) -> Select[Any]:
    """Select the rows to add to the change feed for the writes in a CTE of ``classify_writes``.

    ``kind`` is the class of the entities, such as CFItem; ``document`` is the SQL for their
    document, None for definitions.
    """
    document_identifier = null() if document is None else document
    return select(
        document_identifier,
        literal_column(f"'{kind}'"),
        classified.c.identifier,
        classified.c.operation,
    )


def insert_changes(*changes: Select[Any]) -> CTE:
    """Build a CTE that adds the rows of ``select_changes`` to the change feed."""
    columns = ["document_identifier", "kind", "identifier", "operation"]
    rows = union_all(*changes) if len(changes) > 1 else changes[0]
    return insert(tables.changes).from_select(columns, rows).cte("recorded")


def select_touched_scopes(
    classified: FromClause, kind: str, document: ColumnElement[Any] | None
) -> Select[Any]:
    """Select the revision scopes, such as documents, whose packages the writes have changed.

    The writes are those in a CTE of ``classify_writes``. The scopes are the document of the entity,
    and its previous document if it was moved. If an item or document was created, deleted or
    undeleted, a further scope stands for the existence of nodes; definitions have a scope of their
    own. A row may have NULL for no scope.
    """
    operation = classified.c.operation
    if document is None:
        # No package contains a definition that is new, so its creation concerns none.
        is_not_new = operation != literal_column(f"'{tables.CREATE}'")
        return (
            select(literal(tables.DEFINITIONS_SCOPE).label("scope"))
            .select_from(classified)
            .where(is_not_new)
        )
    scopes: list[ColumnElement[Any]] = [document]
    if "previous" in classified.c:
        scopes.append(func.nullif(classified.c.previous, document))
    if kind in NODE_KINDS:
        is_existence_changed = operation != literal_column(f"'{tables.UPDATE}'")
        scopes.append(case((is_existence_changed, literal_column(f"'{tables.NODES_SCOPE}'"))))
    unnested = func.unnest(array(scopes)).table_valued("scope").render_derived("scopes").lateral()
    return select(unnested.c.scope).select_from(classified.join(unnested, true()))


def increment_revisions(*touched: Select[Any], distinct: bool = True) -> CTE:
    """Build a CTE that changes the revisions, and so the ETags, of packages that were written.

    ``touched`` are the results of ``select_touched_scopes``. A single-entity write passes
    ``distinct=False``: several increments of one scope are harmless there, and sorting out
    duplicates costs more.
    """
    scopes = (union_all(*touched) if len(touched) > 1 else touched[0]).subquery("touched")
    rows = select(scopes.c.scope).where(scopes.c.scope.is_not(None))
    increments = insert(tables.revision_marks)
    return increments.from_select(["scope"], rows.distinct() if distinct else rows).cte("marked")


def log_item_counts(classified: CTE, document: ColumnElement[Any]) -> CTE:
    """Build a CTE that stores how many more or fewer live items each document has after a write.

    ``classified`` is the CTE of the writes to items.
    """

    def has_operation(*names: str) -> ColumnElement[bool]:
        return classified.c.operation.in_([literal_column(f"'{name}'") for name in names])

    # Only the items of a new framework have no previous document.
    previous = classified.c.get("previous", document)
    is_moved = and_(has_operation(tables.UPDATE), previous != document)
    is_added = or_(has_operation(tables.CREATE, tables.REVIVE), is_moved)
    is_removed = or_(has_operation(tables.DELETE), is_moved)
    added: ColumnElement[int] = literal_column("1").label("difference")
    removed: ColumnElement[int] = literal_column("-1").label("difference")
    rows = union_all(
        select(document.label("document"), added).select_from(classified).where(is_added),
        select(previous.label("document"), removed).select_from(classified).where(is_removed),
    ).subquery("differences")
    total = func.sum(rows.c.difference)
    sums = select(rows.c.document, total).group_by(rows.c.document).having(total != 0)
    table = tables.item_counts
    return insert(table).from_select(["document_identifier", "live_items"], sums).cte("counted")


def log_writes(
    classified: CTE, resource: ResourceType, document: ColumnElement[Any] | None
) -> list[CTE]:
    """Build the CTEs that log writes to entities of one class in change feed and revisions.

    For items, they also update the number of items of each document.
    """
    kind = resource.name
    ctes = [
        insert_changes(select_changes(classified, kind, document)),
        increment_revisions(select_touched_scopes(classified, kind, document)),
    ]
    if resource is ITEMS and document is not None:
        ctes.append(log_item_counts(classified, document))
    return ctes


def count_by_operation(classified: CTE, kind: str, *ctes: CTE) -> CompiledStatement:
    """Compile a SQL statement that runs writes, and returns rows (kind, operation, changed).

    ``classified`` is the CTE of the writes to entities of the class ``kind``; ``ctes`` are others
    to run.
    """
    columns = (literal(kind).label("kind"), classified.c.operation, func.count().label("changed"))
    return CompiledStatement(select(*columns).group_by(classified.c.operation).add_cte(*ctes))


def has_rows(cte: CTE) -> ColumnElement[bool]:
    """Build the SQL condition that a CTE returned at least one row."""
    return exists(literal_column("1")).select_from(cte)


def wait_for_ctes(*ctes: CTE) -> ColumnElement[bool]:
    """Build a condition that is always true, but makes Postgres run these CTEs first.

    Postgres runs data-modifying CTEs in no fixed order, except that it completes a CTE before it
    counts its rows. It cannot know in advance that a count is never negative.
    """
    return and_(*(select(func.count()).select_from(cte).scalar_subquery() >= 0 for cte in ctes))
