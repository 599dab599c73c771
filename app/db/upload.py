"""A whole package, written in one transaction: staged by COPY, then a few set-based statements.

Afterwards the document, its items, its associations and its rubrics are exactly what was sent:
what is missing is deleted (items and rubrics softly, associations for good), what is unchanged
is not written again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from ..case.package import Package
from ..case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ..errors import Conflict, NotFound, Problem
from . import parts, tables
from .conflicts import conflicts, problems
from .database import Database
from .rubrics import write_rubrics
from .staging import DOCUMENT, STAGED, count_changed, identifiers_of, source_of, stage
from .statement import Statement
from .visible import live

if TYPE_CHECKING:
    from .database import Connection

Mode = Literal["create", "replace", "either"]
Progress = Callable[[str], None]


class Written(NamedTuple):
    """What an upload did."""

    created: bool
    """Whether no live document had this identifier before."""
    changed: int
    """How many entities were created, updated or deleted."""


async def write_package(
    database: Database,
    package: Package,
    mode: Mode = "either",
    progress: Progress = lambda _: None,
) -> Written:
    """Store a package as the whole truth about its document.

    Raises ``Conflict`` listing everything that belongs to other documents or, when creating, a
    document that exists; ``NotFound`` when replacing one that was never here.
    """
    return await database.write(partial(_write, package=package, mode=mode, progress=progress))


async def _write(
    connection: Connection, package: Package, mode: Mode, progress: Progress
) -> Written:
    values = {
        "document_identifier": package.document_identifier,
        "package_identifier": package.package_identifier,
        "extensions": package.extensions,
        "definition_extensions": package.definition_extensions,
    }
    # Two uploads of one document come one after the other. The lock is taken before the
    # transaction, whose view of the data is as old as its first statement.
    await _run(connection, _lock(), values)
    try:
        return await _write_locked(connection, package, mode, progress, values)
    finally:
        await _run(connection, _unlock(), values)


async def _write_locked(
    connection: Connection,
    package: Package,
    mode: Mode,
    progress: Progress,
    values: dict[str, Any],
) -> Written:
    async with connection.transaction():
        created = _may_write(package, mode, await _run(connection, _known(), values))
        progress("staging")
        await stage(connection, package)
        _refuse(problems(await _run(connection, conflicts(), values)))
        changed = 0
        for name, statement in _steps():
            progress(name)
            changed += sum(row["changed"] for row in await _run(connection, statement, values))
    return Written(created, changed)


async def _run(connection: Connection, statement: Statement, values: dict[str, Any]) -> list[Any]:
    return await connection.fetch(statement.sql, *statement.arguments(values))


def _may_write(package: Package, mode: Mode, known: list[Any]) -> bool:
    """Whether the document is new; raises when the mode does not allow what would happen."""
    identifier = package.document_identifier
    if mode == "replace" and not known:
        raise NotFound("CFDocument", identifier, "POST its package first")
    created = not (known and known[0]["live"])
    if mode == "create" and not created:
        raise Conflict(f"the document {identifier!r} exists: PUT its package to replace it")
    return created


def _refuse(found: list[Problem]) -> None:
    if found:
        first, more = found[0]["message"], len(found) - 1
        others = f", and {more} more" if more else ""
        raise Conflict(f"the package takes what is not its own: {first}{others}", problems=found)


def _key() -> ColumnElement[int]:
    return func.hashtextextended(DOCUMENT, literal_column("0"))


@cache
def _lock() -> Statement:
    return Statement(select(func.pg_advisory_lock(_key())))


@cache
def _unlock() -> Statement:
    return Statement(select(func.pg_advisory_unlock(_key())))


@cache
def _known() -> Statement:
    table = tables.documents
    return Statement(select(live(table).label("live")).where(table.c.identifier == DOCUMENT))


@cache
def _steps() -> list[tuple[str, Statement]]:
    """The statements of an upload, in order, and what each is about."""
    return [
        *(("definitions", one) for resource in DEFINITIONS for one in _upsert(resource)),
        *(("document", one) for one in (*_upsert(DOCUMENTS), _package())),
        *(("definitions", _list_definitions(resource)) for resource in DEFINITIONS),
        ("associations", _remove_associations()),
        ("items", _remove_softly(ITEMS)),
        *(("items", one) for one in _upsert(ITEMS, "ordinal", "document_identifier")),
        *(("associations", one) for one in _upsert(ASSOCIATIONS, "ordinal", "document_identifier")),
        ("rubrics", _remove_softly(RUBRICS)),
        ("rubrics", write_rubrics()),
    ]


def _upsert(resource: Resource, *columns: str) -> list[Statement]:
    """Register what the rows refer to, write them, and make their links what was sent."""
    table, source = parts.table_of(resource), source_of(resource.name)
    references = parts.REFERENCES.get(resource.name, ())
    before = [_silent(parts.register(source, reference)) for reference in references]
    after = [
        _silent(change)
        for reference in references
        if reference.links is not None
        for change in (
            parts.unlink(source, reference, reference.links),
            parts.link(source, reference, reference.links),
        )
    ]
    # Documents and definitions are not the parts of one framework: they keep their place.
    once = () if "ordinal" in columns else ("ordinal",)
    write = parts.upsert(source, table, "last_change_date_time", *columns, once=once)
    done = parts.returning_operation(write, table)
    document = None if resource in DEFINITIONS else DOCUMENT
    recorded = parts.record(done, resource.name, document).cte("recorded")
    return [*before, count_changed(recorded, of=done), *after]


def _silent(change: Any) -> Statement:
    """A change that is counted with the entity it belongs to."""
    return Statement(change.returning(literal_column("0").label("changed")))


def _package() -> Statement:
    """The package itself; a change of its extensions is a change of its document."""
    table = tables.packages
    names = ("identifier", "extensions", "definition_extensions")
    born = insert(table).values(
        document_identifier=DOCUMENT,
        identifier=bindparam("package_identifier", type_=Text),
        extensions=bindparam("extensions", type_=JSON),
        definition_extensions=bindparam("definition_extensions", type_=JSON),
    )
    given: dict[str, Any] = {name: born.excluded[name] for name in names}
    differs = [
        cast(table.c[name], Text).is_distinct_from(cast(given[name], Text)) for name in names
    ]
    write = born.on_conflict_do_update(
        index_elements=[table.c.document_identifier], set_=given, where=or_(*differs)
    )
    replaced: ColumnElement[bool] = literal_column("packages.xmax <> 0").label("replaced")
    done = write.returning(table.c.document_identifier.label("identifier"), replaced).cte("done")
    changed = (
        select(done.c.identifier, literal("update").label("operation"))
        .where(done.c.replaced)
        .cte("changed")
    )
    recorded = parts.record(changed, DOCUMENTS.name, DOCUMENT).cte("recorded")
    return count_changed(recorded, of=changed)


def _list_definitions(resource: Resource) -> Statement:
    """Remember which definitions the package brought, and forget those it no longer brings."""
    table = tables.package_definitions[resource.name]
    brought = identifiers_of(resource.name)
    forgotten = (
        delete(table)
        .where(
            table.c.document_identifier == DOCUMENT, table.c.definition_identifier.not_in(brought)
        )
        .cte("forgotten")
    )
    pairs = select(DOCUMENT, STAGED.c.identifier).where(STAGED.c.kind == literal(resource.name))
    names = [column.name for column in table.c]
    kept = insert(table).from_select(names, pairs).on_conflict_do_nothing()
    return _silent(kept.add_cte(forgotten))


def _gone(change: Any, table: Table, resource: Resource) -> Statement:
    """A deletion, recorded."""
    operation = literal("delete").label("operation")
    gone = change.returning(table.c.identifier, operation).cte("gone")
    return count_changed(parts.record(gone, resource.name, DOCUMENT).cte("recorded"), of=gone)


def _not_staged(table: Table, resource: Resource) -> tuple[ColumnElement[bool], ...]:
    staged = exists(literal_column("1")).where(
        STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier
    )
    return table.c.document_identifier == DOCUMENT, ~staged


def _remove_associations() -> Statement:
    table = tables.associations
    return _gone(delete(table).where(*_not_staged(table, ASSOCIATIONS)), table, ASSOCIATIONS)


def _remove_softly(resource: Resource) -> Statement:
    table = parts.table_of(resource)
    missing = (*_not_staged(table, resource), table.c.deleted_at.is_(None))
    return _gone(update(table).where(*missing).values(deleted_at=func.now()), table, resource)
