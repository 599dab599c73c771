"""Deletion for operators: documents and items softly, back again, and for good.

What the REST API offers stays as the guide has it; this is behind the command line.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    union,
    union_all,
    update,
)

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ...exceptions import Conflict, NotFound
from ..locks import advisory_lock
from ..pool import Database
from ..read.visibility import visible
from ..schema import tables
from ..schema.json_sql import json_text
from ..statement import CompiledStatement
from . import change_log, package_identifiers

if TYPE_CHECKING:
    from ..connector import Connection

Changes = Counter[tuple[str, str]]
"""How many entities of a kind were created, updated, revived or deleted."""

IDENTIFIER = bindparam("identifier", type_=Text)
CASCADE = (ITEMS, RUBRICS)
"""What goes with its document, and comes back with it."""


async def delete(
    database: Database, resource: Resource, identifier: str, *, dry_run: bool = False
) -> Changes:
    """Delete a live document with all that is in it, or a live item; return how many entities.

    A dry run deletes nothing. Raises ``NotFound``.
    """
    steps = _deletions(resource)
    found = await _alone(database, resource, identifier, steps, dry_run=dry_run)
    if not found:
        raise NotFound(resource.name, identifier)
    return found


class UndeleteResult(NamedTuple):
    """What came back, and in words what did not, with the reason."""

    changes: Changes
    not_restored: list[str]


async def undelete(database: Database, resource: Resource, identifier: str) -> UndeleteResult:
    """Bring back a deleted item, or a document with what was deleted with it.

    Raises ``NotFound`` when nothing deleted has this identifier, ``Conflict`` for an item whose
    document is deleted.
    """
    home = await database.fetch_one(_state(resource), identifier=identifier)
    if home is None or not home["deleted"]:
        advice = "it is not deleted" if home else ""
        raise NotFound(f"deleted {resource.name}", identifier, advice)
    if home["document_deleted"]:
        document = home["document_identifier"]
        raise Conflict(
            f"its document is deleted too; run: case-server undelete document {document}"
        )
    if resource is DOCUMENTS and (
        owner := await database.fetch_one(_namesake(), identifier=identifier)
    ):
        raise Conflict(
            f"its identifier is that of the package of document {owner['document_identifier']} now"
        )
    lost = []
    if resource is DOCUMENTS:
        # Read before the document gets its own identifier as that of its package.
        lost = await database.fetch_all(_lost_package_identifier(), identifier=identifier)
    changes = await _alone(database, resource, identifier, _revivals(resource))
    rows = await database.fetch_all(_not_restored(resource), identifier=identifier)
    return UndeleteResult(changes, [row["reason"] for row in (*lost, *rows)])


class _DryRunEnd(Exception):
    """Rolls a transaction back once its outcome is known."""


async def _alone(
    database: Database,
    resource: Resource,
    identifier: str,
    steps: list[CompiledStatement],
    *,
    dry_run: bool = False,
) -> Changes:
    """Run the steps while nobody uploads the document, each seeing all that is committed."""
    home = await database.fetch_one(_state(resource), identifier=identifier)
    document = home["document_identifier"] if home else identifier

    async def work(connection: Connection) -> Changes:
        lock = _lock_document()
        values = {"identifier": identifier, "document_identifier": document}
        found: Changes = Counter()
        with suppress(_DryRunEnd):
            async with (
                advisory_lock(connection, document),
                connection.transaction(isolation="read_committed"),
            ):
                await lock.execute(connection, **values)
                for statement in steps:
                    for row in await statement.fetch_all(connection, **values):
                        found[row["kind"], row["operation"]] += row["changed"]
                if dry_run:
                    raise _DryRunEnd
        return found

    return await database.run_write(work, lock_name="removal")


@cache
def _state(resource: Resource) -> CompiledStatement:
    """The document of an entity, and which of the two are deleted."""
    table, documents = tables.table_of(resource), tables.documents
    home = _home(table)
    columns = (
        home.label("document_identifier"),
        table.c.deleted_at.is_not(None).label("deleted"),
        (
            documents.c.deleted_at.is_not(None)
            if table is not documents
            else literal_column("false")
        ).label("document_deleted"),
    )
    source = table if table is documents else table.join(documents)
    return CompiledStatement(
        select(*columns).select_from(source).where(table.c.identifier == IDENTIFIER)
    )


def _home(table: Table) -> ColumnElement[Any]:
    return table.c.identifier if table is tables.documents else table.c.document_identifier


@cache
def _lock_document() -> CompiledStatement:
    """Wait for those who are adding to the document, and keep others from it.

    Whatever refers to a document shares its row while it is written.
    """
    table, mine = tables.documents, bindparam("document_identifier", type_=Text)
    return CompiledStatement(
        select(table.c.identifier).where(table.c.identifier == mine).with_for_update()
    )


def _document_deleted_at() -> ColumnElement[Any]:
    table = tables.documents
    return select(table.c.deleted_at).where(table.c.identifier == IDENTIFIER).scalar_subquery()


@cache
def _deletions(resource: Resource) -> list[CompiledStatement]:
    """The entity, then what goes with it; one moment marks them all."""
    table = tables.table_of(resource)
    mine = and_(table.c.identifier == IDENTIFIER, table.c.deleted_at.is_(None))
    steps = [_set(resource, mine, func.now())]
    if resource is DOCUMENTS:
        # Of a document that was deleted before, nothing is deleted now.
        just_now = _document_deleted_at() == func.now()
        for part in CASCADE:
            rows = tables.table_of(part)
            inside = rows.c.document_identifier == IDENTIFIER
            steps.append(
                _set(part, and_(inside, rows.c.deleted_at.is_(None), just_now), func.now())
            )
        steps.append(_hidden_with_document(tables.DELETE, just_now))
    return steps


@cache
def _revivals(resource: Resource) -> list[CompiledStatement]:
    """What was deleted with a document, then the document itself."""
    table = tables.table_of(resource)
    steps = []
    if resource is DOCUMENTS:
        for part in CASCADE:
            rows = tables.table_of(part)
            inside = rows.c.document_identifier == IDENTIFIER
            together = rows.c.deleted_at == _document_deleted_at()
            steps.append(_set(part, and_(inside, together), None))
    mine = and_(table.c.identifier == IDENTIFIER, table.c.deleted_at.is_not(None))
    steps.append(_set(resource, mine, None))
    if resource is DOCUMENTS:
        steps.append(_take_package_identifier_back())
        steps.append(_replace_lost_package_identifier())
        steps.append(_hidden_with_document(tables.REVIVE))
    return steps


@cache
def _namesake() -> CompiledStatement:
    """The live document whose package is called as a deleted document is."""
    table = tables.packages
    return CompiledStatement(
        select(table.c.document_identifier).where(
            table.c.identifier == IDENTIFIER,
            table.c.document_identifier != IDENTIFIER,
            ~package_identifiers.has_deleted_document(table),
        )
    )


def _take_package_identifier_back() -> CompiledStatement:
    """Give a document its package's identifier back, if no other live document has it now."""
    packages, others = tables.packages, tables.packages.alias("others")
    wanted = _wanted_package_identifier()
    is_taken = exists(literal_column("1")).where(
        others.c.document_identifier != IDENTIFIER,
        or_(others.c.identifier == wanted, others.c.document_identifier == wanted),
        ~package_identifiers.has_deleted_document(others),
    )
    gave_up = package_identifiers.release_identifiers(wanted, new_owner=IDENTIFIER)
    took_back = (
        update(packages)
        .where(packages.c.document_identifier == IDENTIFIER, packages.c.identifier != wanted)
        .where(~is_taken, change_log.run_after(gave_up))
        .values(identifier=wanted)
        .cte("took_back")
    )
    return CompiledStatement(select(literal_column("1")).where(false()).add_cte(took_back))


def _replace_lost_package_identifier() -> CompiledStatement:
    """Give a package that lost its identifier that of its document, and remove the link to it.

    With the link, answers and exports would name the package of the other document, and importing
    such an export again would be refused as a conflict.
    """
    documents, packages = tables.documents, tables.packages
    body = cast(documents.c.body, Text)
    link = literal(',"CFPackageURI":').op("||")(cast(documents.c.body["CFPackageURI"], Text))
    # The link is the last field of a stored body. The text is cut, because a function of Postgres
    # that removes a field would also change the order of the others or the spaces between them.
    without_link = func.left(body, func.length(body) - func.length(link) - 1).op("||")("}")
    is_lost = exists(literal_column("1")).where(
        packages.c.document_identifier == IDENTIFIER,
        packages.c.identifier != _wanted_package_identifier(),
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
        .cte("renamed")
    )
    return CompiledStatement(select(literal_column("1")).where(false()).add_cte(renamed))


def _wanted_package_identifier() -> ColumnElement[str]:
    """The identifier that the body of a document gives its package, else the document's."""
    table = tables.documents.alias("named")
    named = func.coalesce(json_text(table.c.body, "CFPackageURI", "identifier"), IDENTIFIER)
    return select(named).where(table.c.identifier == IDENTIFIER).scalar_subquery()


@cache
def _not_restored(resource: Resource) -> CompiledStatement:
    """Rows (reason): what an undeleted entity lacks that it had before."""
    reasons = [_hidden_associations(resource)]
    if resource is DOCUMENTS:
        reasons += [_still_deleted(part) for part in CASCADE]
    return CompiledStatement(union_all(*reasons))


@cache
def _lost_package_identifier() -> CompiledStatement:
    packages, others = tables.packages, tables.packages.alias("others")
    wanted = _wanted_package_identifier()
    message = (
        "its package identifier %s belongs to document %s now; the package has the identifier of "
        "its document, %s, instead"
    )
    reason = func.format(literal(message), wanted, others.c.document_identifier, IDENTIFIER)
    return CompiledStatement(
        select(reason.label("reason"))
        .select_from(packages)
        .join(others, or_(others.c.identifier == wanted, others.c.document_identifier == wanted))
        .where(packages.c.document_identifier == IDENTIFIER, packages.c.identifier != wanted)
        .where(
            others.c.document_identifier != IDENTIFIER,
            ~package_identifiers.has_deleted_document(others),
        )
    )


def _still_deleted(part: Resource) -> Select[Any]:
    table = tables.table_of(part)
    remedy = "case-server undelete item brings it back" if part is ITEMS else "upload it again"
    message = f"{part.name}: %s deleted before the document, for example %s; {remedy}"
    example = func.min(table.c.identifier)
    return (
        select(func.format(literal(message), func.count(), example).label("reason"))
        .where(table.c.document_identifier == IDENTIFIER, table.c.deleted_at.is_not(None))
        .having(func.count() > 0)
    )


def _hidden_associations(resource: Resource) -> Select[Any]:
    """The associations of an entity of which another node, or the document, is deleted."""
    table = tables.associations
    ends = (table.c.origin_identifier, table.c.destination_identifier)
    conditions = [end == IDENTIFIER for end in ends]
    if resource is DOCUMENTS:
        conditions.append(table.c.document_identifier == IDENTIFIER)
    # A union rather than an OR: each part is one look-up in an index.
    mine = union(*(select(table.c.identifier).where(condition) for condition in conditions))
    message = (
        "CFAssociation: %s hidden, because another node or the document is deleted; for example "
        "%s, from %s to %s"
    )
    example = (
        select(table.c.identifier, *ends, func.count().over().label("count"))
        .where(table.c.identifier.in_(mine), ~visible(table))
        .order_by(table.c.identifier)
        .limit(1)
        .subquery("example")
    )
    names = (example.c[name] for name in ("identifier", "origin_identifier"))
    return select(
        func.format(
            literal(message), example.c["count"], *names, example.c.destination_identifier
        ).label("reason")
    )


def _set(resource: Resource, where: ColumnElement[bool], deleted_at: Any) -> CompiledStatement:
    """Delete or revive some rows of a kind, and record it."""
    table = tables.table_of(resource)
    operation = tables.REVIVE if deleted_at is None else tables.DELETE
    home = _home(table).label("previous")
    columns = (table.c.identifier, literal(operation).label("operation"), home)
    change = update(table).where(where).values(deleted_at=deleted_at)
    done = change.returning(*columns).cte("done")
    kept = change_log.log_and_bump(done, resource, done.c.previous)
    return change_log.count_by_operation(done, resource.name, *kept)


def _hidden_with_document(operation: str, *conditions: ColumnElement[bool]) -> CompiledStatement:
    """Record what became of the associations of a document, which are visible only while it is."""
    table = tables.associations
    done = (
        select(table.c.identifier, literal(operation).label("operation"))
        .where(table.c.document_identifier == IDENTIFIER, *conditions)
        .cte("done")
    )
    kept = change_log.log_and_bump(done, ASSOCIATIONS, IDENTIFIER)
    return change_log.count_by_operation(done, ASSOCIATIONS.name, *kept)
