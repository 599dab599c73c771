"""Soft-delete documents and items, and undelete them, for the commands of operators.

The REST API has only the deletions of the guide.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    literal_column,
    select,
    union,
    union_all,
    update,
)

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ...exceptions import Conflict, NotFound
from ..connector import Connection
from ..locks import advisory_locks
from ..pool import Database
from ..read.visibility import build_visible_condition
from ..schema import tables
from ..schema.expressions import DOCUMENT, IDENTIFIER, build_exists, build_text_extract
from ..statement import CompiledStatement
from . import change_log, package_identifiers
from .dry_run import write_transaction

Changes = Counter[tuple[str, str]]
"""Number of changed entities by (kind, operation)."""

PARTS = (ITEMS, RUBRICS)
"""The resources that are deleted and undeleted together with their document."""


async def delete_entity(
    database: Database, resource: ResourceType, identifier: str, *, dry_run: bool = False
) -> Changes:
    """Soft-delete a live item, or a live document with its items and rubrics.

    ``resource`` is ``ITEMS`` or ``DOCUMENTS``. Returns the number of changed entities by (kind,
    operation). A dry run deletes nothing. Raises ``NotFound`` if no live entity has this
    identifier.
    """
    changes = await _run_locked(database, resource, identifier, dry_run=dry_run)
    if not changes:
        raise resource.create_not_found_error(identifier)
    return changes


class UndeleteResult(NamedTuple):
    """The changes that an undeletion made, and notes on what it could not restore."""

    changes: Changes
    not_restored: list[str]
    """Messages for the operator that say what was not restored, with the reasons."""


async def undelete_entity(
    database: Database, resource: ResourceType, identifier: str
) -> UndeleteResult:
    """Undelete an item, or a document with the items and rubrics that were deleted with it.

    Raises ``NotFound`` if no deleted entity has this identifier. Raises ``Conflict`` if the
    document of an item is deleted, or if the package of another document has taken the document's
    identifier.
    """
    state = await database.fetch_one(_compile_deletion_state_query(resource), identifier=identifier)
    if state is None or not state["deleted"]:
        advice = "it is not deleted" if state else "it was never stored, or was purged; import it"
        raise NotFound(f"deleted {resource.name}", identifier, advice)
    if state["document_deleted"]:
        remedy = f"case-server undelete document {state['document_identifier']}"
        raise Conflict(f"its document is deleted too; run: {remedy}")
    lost_identifiers = []
    if resource is DOCUMENTS:
        # Read before the document gets its own identifier as that of its package.
        lost_identifiers = await database.fetch_all(
            _compile_lost_identifier_query(), identifier=identifier
        )
    changes = await _run_locked(database, resource, identifier, is_undelete=True)
    rows = await database.fetch_all(_compile_not_restored_query(resource), identifier=identifier)
    return UndeleteResult(changes, [row["reason"] for row in (*lost_identifiers, *rows)])


async def _run_locked(
    database: Database,
    resource: ResourceType,
    identifier: str,
    *,
    is_undelete: bool = False,
    dry_run: bool = False,
) -> Changes:
    state = await database.fetch_one(_compile_deletion_state_query(resource), identifier=identifier)
    document = state["document_identifier"] if state else identifier
    # An undeleted document gets its package identifier back.
    package = state["package_identifier"] if state and is_undelete else document
    build_statements = _build_undelete_statements if is_undelete else _build_delete_statements

    # Read committed, so that each statement sees what other writers of the document committed
    # before the lock was granted.
    async def transaction(connection: Connection) -> Changes:
        values = {"identifier": identifier, "document_identifier": document}
        changes: Changes = Counter()
        async with (
            advisory_locks(connection, document, package),
            write_transaction(connection, dry_run=dry_run, isolation="read_committed"),
        ):
            await _compile_document_lock().execute(connection, **values)
            if is_undelete and resource is DOCUMENTS:
                await _check_identifier_is_free(connection, identifier)
            for statement in build_statements(resource):
                for row in await statement.fetch_all(connection, **values):
                    changes[row["kind"], row["operation"]] += row["changed"]
        return changes

    return await database.run_write_with_retry(transaction, "removal", isolation="read_committed")


async def _check_identifier_is_free(connection: Connection, identifier: str) -> None:
    query = _compile_identifier_owner_query()
    if owner := await query.fetch_value(connection, identifier=identifier):
        raise Conflict(
            f"its identifier is that of the package of document {owner} now; delete that document "
            "first"
        )


@cache
def _compile_deletion_state_query(resource: ResourceType) -> CompiledStatement:
    table, documents = tables.get_table(resource), tables.documents
    document = tables.get_document_column(table)
    package = _build_package_identifier_expression() if table is documents else document
    rows = select(
        document.label("document_identifier"),
        package.label("package_identifier"),
        table.c.deleted_at.is_not(None).label("deleted"),
    ).where(table.c.identifier == IDENTIFIER)
    is_deleted: ColumnElement[bool] = literal_column("false")
    if table is not documents:
        rows, is_deleted = rows.join_from(table, documents), documents.c.deleted_at.is_not(None)
    return CompiledStatement(rows.add_columns(is_deleted.label("document_deleted")))


@cache
def _compile_document_lock() -> CompiledStatement:
    # Waits for writers of items and rubrics, whose foreign key share-locks the document's row.
    table = tables.documents
    row = select(table.c.identifier).where(table.c.identifier == DOCUMENT)
    return CompiledStatement(row.with_for_update())


def _build_document_deleted_at() -> ColumnElement[Any]:
    table = tables.documents
    return select(table.c.deleted_at).where(table.c.identifier == IDENTIFIER).scalar_subquery()


@cache
def _build_delete_statements(resource: ResourceType) -> list[CompiledStatement]:
    now, table = func.now(), tables.get_table(resource)
    is_live = (table.c.identifier == IDENTIFIER, table.c.deleted_at.is_(None))
    statements = [_compile_deleted_at_update(resource, now, *is_live)]
    if resource is DOCUMENTS:
        # A document that was deleted earlier has no parts left to delete.
        is_deleted_now = _build_document_deleted_at() == now
        for part in PARTS:
            rows = tables.get_table(part).c
            is_live = (rows.document_identifier == IDENTIFIER, rows.deleted_at.is_(None))
            statements.append(_compile_deleted_at_update(part, now, *is_live, is_deleted_now))
        statements.append(_compile_association_log(tables.DELETE, is_deleted_now))
    return statements


@cache
def _build_undelete_statements(resource: ResourceType) -> list[CompiledStatement]:
    table = tables.get_table(resource)
    is_deleted = (table.c.identifier == IDENTIFIER, table.c.deleted_at.is_not(None))
    own_update = _compile_deleted_at_update(resource, None, *is_deleted)
    if resource is not DOCUMENTS:
        return [own_update]
    parts = []
    for part in PARTS:
        rows = tables.get_table(part).c
        was_deleted_too = rows.deleted_at == _build_document_deleted_at()
        is_part = rows.document_identifier == IDENTIFIER
        parts.append(_compile_deleted_at_update(part, None, is_part, was_deleted_too))
    return [
        *parts,
        own_update,
        _compile_package_identifier_restoration(),
        _compile_package_identifier_replacement(),
        _compile_association_log(tables.REVIVE),
    ]


@cache
def _compile_identifier_owner_query() -> CompiledStatement:
    """Compile the query for another document whose package has a document's identifier.

    The parameter ``identifier`` is that of the soft-deleted document to restore. Returns the
    identifier of the other document, which is live, or no row if the identifier is free.
    """
    table = tables.packages
    is_live = ~package_identifiers.build_deleted_document_condition(table)
    is_other = table.c.document_identifier != IDENTIFIER
    rows = select(table.c.document_identifier)
    return CompiledStatement(rows.where(table.c.identifier == IDENTIFIER, is_other, is_live))


def _compile_package_identifier_restoration() -> CompiledStatement:
    """Compile the UPDATE that restores the package identifier of an undeleted document.

    The package gets the identifier in the document's ``CFPackageURI``, or that of the document if
    it has no such field. Does nothing if another live document or its package uses this identifier.
    """
    packages, other_packages = tables.packages, tables.packages.alias("others")
    expected_identifier = _build_package_identifier_expression()
    is_taken = build_exists(
        *package_identifiers.build_identifier_conflict_conditions(
            other_packages, expected_identifier, document=IDENTIFIER
        )
    )
    released = package_identifiers.build_identifier_release_cte(
        expected_identifier, new_owner=IDENTIFIER
    )
    restored = (
        update(packages)
        .where(
            packages.c.document_identifier == IDENTIFIER,
            packages.c.identifier != expected_identifier,
        )
        .where(~is_taken, change_log.build_ctes_finished_condition(released))
        .values(identifier=expected_identifier)
    )
    return CompiledStatement(restored)


def _compile_package_identifier_replacement() -> CompiledStatement:
    """Compile the UPDATE for an undeleted document whose package identifier is taken.

    Another live document uses the identifier now. So the package gets the identifier of its own
    document, and the field ``CFPackageURI``, which would link to the other package, is removed from
    the document's body. Does nothing if the identifier was restored.
    """
    documents, packages = tables.documents, tables.packages
    body = cast(documents.c.body, Text)
    link = literal(',"CFPackageURI":').op("||")(cast(documents.c.body["CFPackageURI"], Text))
    # The link is the last field of a stored body. The text is cut, because a function of Postgres
    # that removes a field would also change the order of the others or the spaces between them.
    without_link = func.left(body, func.length(body) - func.length(link) - 1).op("||")("}")
    is_lost = build_exists(
        packages.c.document_identifier == IDENTIFIER,
        packages.c.identifier != _build_package_identifier_expression(),
    )
    removed = (
        update(documents)
        .where(documents.c.identifier == IDENTIFIER, is_lost, func.length(link) > 0)
        .values(body=cast(without_link, JSON))
        .returning(documents.c.identifier)
        .cte("removed")
    )
    renamed = (
        update(packages)
        .where(packages.c.document_identifier == removed.c.identifier)
        .values(identifier=packages.c.document_identifier)
    )
    return CompiledStatement(renamed)


def _build_package_identifier_expression() -> ColumnElement[str]:
    """Build a scalar subquery for the identifier that a document's package should have.

    It is the identifier in the document's ``CFPackageURI``, or the document's own identifier if it
    has no such field. The SQL parameter ``identifier`` is that of the document.
    """
    row = tables.documents.alias("named")
    named_identifier = func.coalesce(
        build_text_extract(row.c.body, "CFPackageURI", "identifier"), IDENTIFIER
    )
    return select(named_identifier).where(row.c.identifier == IDENTIFIER).scalar_subquery()


@cache
def _compile_not_restored_query(resource: ResourceType) -> CompiledStatement:
    reasons = [_build_hidden_associations_query(resource)]
    if resource is DOCUMENTS:
        reasons += [_build_still_deleted_query(part) for part in PARTS]
    return CompiledStatement(union_all(*reasons))


@cache
def _compile_lost_identifier_query() -> CompiledStatement:
    packages, other_packages = tables.packages, tables.packages.alias("others")
    expected_identifier = _build_package_identifier_expression()
    message = (
        "its package identifier %s belongs to document %s now; the package has the identifier of "
        "its document, %s, instead"
    )
    reason = func.format(
        literal(message), expected_identifier, other_packages.c.document_identifier, IDENTIFIER
    )
    claims = package_identifiers.build_identifier_conflict_conditions(
        other_packages, expected_identifier, document=IDENTIFIER
    )
    return CompiledStatement(
        select(reason.label("reason"))
        .join_from(packages, other_packages, and_(*claims))
        .where(
            packages.c.document_identifier == IDENTIFIER,
            packages.c.identifier != expected_identifier,
        )
    )


def _build_still_deleted_query(part: ResourceType) -> Select[Any]:
    table = tables.get_table(part)
    remedy = "case-server undelete item brings it back" if part is ITEMS else "upload it again"
    message = f"{part.name}: %s deleted before the document, for example %s; {remedy}"
    example = func.min(table.c.identifier)
    return (
        select(func.format(literal(message), func.count(), example).label("reason"))
        .where(table.c.document_identifier == IDENTIFIER, table.c.deleted_at.is_not(None))
        .having(func.count() > 0)
    )


def _build_hidden_associations_query(resource: ResourceType) -> Select[Any]:
    table = tables.associations
    ends = (table.c.origin_identifier, table.c.destination_identifier)
    conditions = [end == IDENTIFIER for end in ends]
    if resource is DOCUMENTS:
        conditions.append(table.c.document_identifier == IDENTIFIER)
    # A union instead of an OR, because each part is one index lookup.
    own = union(*(select(table.c.identifier).where(condition) for condition in conditions))
    message = (
        "CFAssociation: %s hidden, because another node or the document is deleted; for example "
        "%s, from %s to %s"
    )
    example = (
        select(table.c.identifier, *ends, func.count().over().label("count"))
        .where(table.c.identifier.in_(own), ~build_visible_condition(table))
        .order_by(table.c.identifier)
        .limit(1)
        .subquery("example")
    )
    names = ("count", "identifier", "origin_identifier", "destination_identifier")
    reason = func.format(literal(message), *(example.c[name] for name in names))
    return select(reason.label("reason"))


def _compile_deleted_at_update(
    resource: ResourceType, deleted_at: Any, *where: ColumnElement[bool]
) -> CompiledStatement:
    """Compile a SQL statement that sets ``deleted_at`` of entities and logs these changes.

    ``where`` selects the rows. With ``deleted_at`` None, the entities are undeleted, otherwise
    soft-deleted. Each row is (kind, operation, changed), where ``changed`` is a number of entities.
    """
    table = tables.get_table(resource)
    operation = tables.REVIVE if deleted_at is None else tables.DELETE
    columns = (
        table.c.identifier,
        literal(operation).label("operation"),
        tables.get_document_column(table).label("previous_document"),
    )
    statement = update(table).where(*where).values(deleted_at=deleted_at)
    changed_rows = statement.returning(*columns).cte("changed")
    return change_log.compile_logged_write(changed_rows, resource, changed_rows.c.previous_document)


def _compile_association_log(operation: str, *conditions: ColumnElement[bool]) -> CompiledStatement:
    # Associations are hidden while their document is deleted, so its deletion changes them too.
    table = tables.associations
    affected_rows = (
        select(table.c.identifier, literal(operation).label("operation"))
        .where(table.c.document_identifier == IDENTIFIER, *conditions)
        .cte("affected")
    )
    return change_log.compile_logged_write(affected_rows, ASSOCIATIONS, IDENTIFIER)
