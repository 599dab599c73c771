"""What an upload does in the database with what is staged: its statements, in their order."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from sqlalchemy import (
    CTE,
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    Delete,
    FromClause,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    delete,
    exists,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, Resource
from ..read.package import DEFINITION_REFERENCES
from ..schema import tables
from ..statement import CompiledStatement
from . import change_log, dml, package_identifiers
from .rubrics import write_rubrics
from .staging import DOCUMENT, STAGED, Staging, identifiers_of, source_of
from .upload_run import DEFINITIONS_STAGE, NamedStatements

UPDATED: ColumnElement[str] = literal(tables.UPDATE).label("operation")


@cache
def all_steps(staged: Staging) -> NamedStatements:
    """Everything that makes a document what was staged."""
    upsert = partial(_upsert, staged)
    removed = [
        ("removing", _remove_associations()),
        ("removing", _remove_softly(ITEMS)),
        ("removing", _remove_softly(RUBRICS)),
    ]
    return [
        *head_steps(staged),
        *(removed if staged.known else ()),
        *(("items", one) for one in upsert(ITEMS, "ordinal", "document_identifier")),
        *(("associations", one) for one in upsert(ASSOCIATIONS, "ordinal", "document_identifier")),
        ("rubrics", write_rubrics()),
        *(
            ("rubrics", _renumber(resource))
            for resource in (ITEMS, ASSOCIATIONS, RUBRICS)
            if resource.name in staged.reordered
        ),
    ]


def _renumber(resource: Resource) -> CompiledStatement:
    """Number the rows of a kind by their places, which moves the revision of the package alone."""
    table = tables.table_of(resource)
    renumbered = (
        update(table)
        .where(STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier)
        .where(table.c.document_identifier == DOCUMENT, table.c.ordinal != STAGED.c.place)
        .values(ordinal=STAGED.c.place)
        .returning(literal_column("1"))
        .cte("renumbered")
    )
    return _moving_revision(renumbered)


@cache
def head_steps(staged: Staging) -> NamedStatements:
    """What comes before the parts of a document: definitions, and the document itself."""
    upsert = partial(_upsert, staged)
    return [
        *((DEFINITIONS_STAGE, one) for resource in DEFINITIONS for one in upsert(resource)),
        *(("document", one) for one in (*upsert(DOCUMENTS), _package())),
        *(("document", _list_definitions(resource)) for resource in DEFINITIONS),
    ]


def _upsert(staged: Staging, resource: Resource, *columns: str) -> list[CompiledStatement]:
    """Register what the rows refer to, write them, and make their links what was sent."""
    table, source = tables.table_of(resource), source_of(resource.name)
    references = dml.REFERENCES.get(resource.name, ())
    # What no row has needs no looking for, unless it was there before.
    present = [each for each in references if each.field in staged.fields]
    before = [register(source, each) for each in present]
    after: list[CompiledStatement] = []
    for each in references:
        if each.link_table is None:
            continue
        if staged.known:
            after.append(CompiledStatement(dml.delete_stale_links(source, each, each.link_table)))
        if each in present:
            after.append(link(source, each, each.link_table))
    # Documents and definitions are not the parts of one framework: they keep their place.
    names, once = ("last_change_date_time", *columns), () if "ordinal" in columns else ("ordinal",)
    done = change_log.classify_writes(table, dml.upsert_rows(source, table, *names, once=once))
    document = None if resource in DEFINITIONS else DOCUMENT
    kept = change_log.log_and_bump(done, resource, document)
    return [*before, change_log.count_by_operation(done, resource.name, *kept), *after]


def register(source: FromClause, reference: dml.Reference) -> CompiledStatement:
    """Register the definitions that the rows of a source refer to."""
    done = change_log.classify_writes(
        reference.definitions, dml.register_definitions(source, reference)
    )
    kept = change_log.log_and_bump(done, reference.resource, None)
    return change_log.count_by_operation(done, reference.resource.name, *kept)


def link(source: FromClause, reference: dml.Reference, pairs: Table) -> CompiledStatement:
    """Add links; they may be more than the bodies say, so they move the revision."""
    linked = dml.insert_links(source, reference, pairs).returning(literal_column("1")).cte("linked")
    return _moving_revision(linked)


def _moving_revision(change: CTE) -> CompiledStatement:
    """Return a statement that moves the revision of the document if a change touches any row."""
    moved = change_log.bump_revisions(
        select(DOCUMENT.label("scope")).where(change_log.any_row(change))
    )
    return CompiledStatement(select(literal_column("1")).where(false()).add_cte(moved))


def _package() -> CompiledStatement:
    """The package itself; a change of its extensions is a change of its document."""
    table = tables.packages
    names = ("identifier", "extensions", "definition_extensions")
    identifier = bindparam("package_identifier", type_=Text)
    gave_up = package_identifiers.release_identifiers(identifier, DOCUMENT, keeper=DOCUMENT)
    values = (
        DOCUMENT,
        identifier,
        bindparam("extensions", type_=JSON),
        bindparam("definition_extensions", type_=JSON),
    )
    born = insert(table).from_select(
        ["document_identifier", *names], select(*values).where(change_log.run_after(gave_up))
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
        select(done.c.identifier, UPDATED).where(done.c.replaced, ~_is_recorded()).cte("changed")
    )
    kept = change_log.log_and_bump(changed, DOCUMENTS, DOCUMENT)
    return change_log.count_by_operation(changed, DOCUMENTS.name, *kept)


def _list_definitions(resource: Resource) -> CompiledStatement:
    """Remember which definitions the package brought, and forget those it no longer brings.

    In a package that was there before, that is a change of its document, unless its entities refer
    to those definitions, which shows them all the same.
    """
    table = tables.package_definitions[resource.name]
    brought = identifiers_of(resource.name)
    forgotten = (
        delete(table)
        .where(
            table.c.document_identifier == DOCUMENT, table.c.definition_identifier.not_in(brought)
        )
        .returning(table.c.definition_identifier)
        .cte("forgotten")
    )
    pairs = select(DOCUMENT, STAGED.c.identifier).where(STAGED.c.kind == literal(resource.name))
    names = [column.name for column in table.c]
    fresh = insert(table).from_select(names, pairs).on_conflict_do_nothing()
    added = fresh.returning(table.c.definition_identifier).cte("added")
    changed = (
        select(DOCUMENT.label("identifier"), UPDATED)
        .where(bindparam("replaced", type_=Boolean), ~_is_recorded())
        .where(or_(*(_is_unreferred(each, resource) for each in (forgotten, added))))
        .cte("changed")
    )
    kept = change_log.log_and_bump(changed, DOCUMENTS, DOCUMENT)
    return change_log.count_by_operation(changed, DOCUMENTS.name, *kept)


def _is_unreferred(change: CTE, resource: Resource) -> ColumnElement[bool]:
    """Return whether a change touches definitions that no entity of the document refers to."""
    referred = union_all(*DEFINITION_REFERENCES[resource.name])
    return exists(literal_column("1")).where(change.c.definition_identifier.not_in(referred))


def _is_recorded() -> ColumnElement[bool]:
    """Return whether a change of the document is recorded in this transaction already."""
    table = tables.changes
    transaction = cast(cast(func.pg_current_xact_id(), Text), BigInteger)
    return exists(literal_column("1")).where(
        table.c.transaction_id == transaction,
        table.c.kind == literal(DOCUMENTS.name),
        table.c.identifier == DOCUMENT,
    )


def _gone(change: Delete | Update, table: Table, resource: Resource) -> CompiledStatement:
    """A deletion, recorded."""
    gone = change_log.classify_deletes(change, table)
    return change_log.count_by_operation(
        gone, resource.name, *change_log.log_and_bump(gone, resource, DOCUMENT)
    )


def _not_staged(table: Table, resource: Resource) -> tuple[ColumnElement[bool], ...]:
    staged = exists(literal_column("1")).where(
        STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier
    )
    return table.c.document_identifier == DOCUMENT, ~staged


def _remove_associations() -> CompiledStatement:
    table = tables.associations
    return _gone(delete(table).where(*_not_staged(table, ASSOCIATIONS)), table, ASSOCIATIONS)


def _remove_softly(resource: Resource) -> CompiledStatement:
    table = tables.table_of(resource)
    missing = (*_not_staged(table, resource), table.c.deleted_at.is_(None))
    return _gone(update(table).where(*missing).values(deleted_at=func.now()), table, resource)
