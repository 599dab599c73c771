"""The SQL statements of an upload: they make a stored framework equal to the staged package.

Each is one set-based statement for all rows of a kind, and returns rows (kind, operation, changed).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from sqlalchemy import (
    CTE,
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Table,
    Text,
    bindparam,
    cast,
    delete,
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

from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ..read.package import DEFINITION_REFERENCES
from ..schema import tables
from ..schema.expressions import exists_where
from ..statement import CompiledStatement
from . import change_log, dml, package_identifiers
from .staging import DOCUMENT, STAGED, Staging, select_staged_identifiers, select_staged_rows
from .upload_run import DEFINITIONS_STAGE, NamedStatements

UPDATED: ColumnElement[str] = literal(tables.UPDATE).label("operation")


@cache
def build_upload_statements(staging: Staging) -> NamedStatements:
    """Return the SQL statements of an upload, in the order to run them, each with its stage.

    Stages such as "items" are names for progress reports. Deletions come before items and
    associations, because a new association may have the origin, destination and type of a deleted
    one.
    """
    upsert = partial(_compile_upserts, staging)
    deletions = [
        ("removing", _compile_association_deletion()),
        ("removing", _compile_soft_deletion(ITEMS)),
        ("removing", _compile_soft_deletion(RUBRICS)),
    ]
    columns = ("ordinal", "document_identifier")
    return [
        *build_head_statements(staging),
        *(deletions if staging.is_known else ()),
        *(("items", statement) for statement in upsert(ITEMS, *columns)),
        *(("associations", statement) for statement in upsert(ASSOCIATIONS, *columns)),
        ("rubrics", compile_rubric_write()),
        *(
            ("rubrics", _compile_renumbering(resource))
            for resource in (ITEMS, ASSOCIATIONS, RUBRICS)
            if resource.name in staging.reordered
        ),
    ]


@cache
def build_head_statements(staging: Staging) -> NamedStatements:
    """Return an upload's SQL statements for definitions, document and package, in this order.

    They run first, because other rows refer to these.
    """
    upsert = partial(_compile_upserts, staging)
    return [
        *(
            (DEFINITIONS_STAGE, statement)
            for resource in DEFINITIONS
            for statement in upsert(resource)
        ),
        *(("document", statement) for statement in (*upsert(DOCUMENTS), _compile_package_write())),
        *(("document", _compile_definition_list(resource)) for resource in DEFINITIONS),
    ]


def _compile_upserts(
    staging: Staging, resource: ResourceType, *columns: str
) -> list[CompiledStatement]:
    """Compile the SQL statements that write the entities of one class from the staging table.

    They create missing definitions, write the rows that differ, then write their links.
    """
    table, source = tables.get_table(resource), select_staged_rows(resource.name)
    references = dml.REFERENCES.get(resource.name, ())
    # A field that no row has needs no statement, unless links may have to be deleted.
    present = [reference for reference in references if reference.field in staging.fields]
    registrations = [compile_registration(source, reference) for reference in present]
    links: list[CompiledStatement] = []
    for reference in references:
        if reference.link_table is None:
            continue
        if staging.is_known:
            links.append(
                CompiledStatement(dml.delete_stale_links(source, reference, reference.link_table))
            )
        if reference in present:
            links.append(compile_link_insertion(source, reference, reference.link_table))
    # Documents and definitions keep their ordinal, because it is no position in this package.
    insert_only = () if "ordinal" in columns else ("ordinal",)
    names = ("last_change_date_time", *columns)
    written = change_log.classify_writes(
        table, dml.upsert_rows(source, table, *names, insert_only=insert_only)
    )
    document = None if resource in DEFINITIONS else DOCUMENT
    return [*registrations, _compile_log(written, resource, document), *links]


def _compile_log(
    classified: CTE, resource: ResourceType, document: ColumnElement[Any] | None = DOCUMENT
) -> CompiledStatement:
    """Compile a SQL statement that logs writes, increments revisions and returns the counts.

    ``classified`` is the CTE of the writes.
    """
    logged = change_log.log_writes(classified, resource, document)
    return change_log.count_by_operation(classified, resource.name, *logged)


def compile_registration(source: FromClause, reference: dml.Reference) -> CompiledStatement:
    """Compile a SQL statement that creates the definitions to which a field links, if missing.

    ``source`` are the rows that have the field.
    """
    registered = change_log.classify_writes(
        reference.definitions, dml.register_definitions(source, reference)
    )
    return _compile_log(registered, reference.resource, None)


def compile_link_insertion(
    source: FromClause, reference: dml.Reference, table: Table
) -> CompiledStatement:
    """Compile a SQL statement that inserts links to definitions and increments the revision.

    A new link may add a definition to the package even if no entity changed.
    """
    insertion = dml.insert_links(source, reference, table)
    return _compile_increment_if_any(insertion.returning(literal_column("1")).cte("linked"))


def _compile_increment_if_any(cte: CTE) -> CompiledStatement:
    """Compile a SQL statement that runs a CTE, and increments the revision if it returns rows."""
    scope = select(DOCUMENT.label("scope")).where(change_log.has_rows(cte))
    bumped = change_log.increment_revisions(scope)
    return CompiledStatement(select(literal_column("1")).where(false()).add_cte(bumped))


def _compile_renumbering(resource: ResourceType) -> CompiledStatement:
    """Compile a SQL statement that stores the entities' positions in the package as ordinals.

    The order is not part of an entity, so this increments the revision but logs no change.
    """
    table = tables.get_table(resource)
    renumbered = (
        update(table)
        .where(STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier)
        .where(table.c.document_identifier == DOCUMENT, table.c.ordinal != STAGED.c.place)
        .values(ordinal=STAGED.c.place)
        .returning(literal_column("1"))
        .cte("renumbered")
    )
    return _compile_increment_if_any(renumbered)


def _compile_package_write() -> CompiledStatement:
    """Compile a SQL statement that writes the row of the package.

    If the package was changed, it logs an update of the document, unless one is logged already.
    """
    table = tables.packages
    names = ("identifier", "extensions", "definition_extensions")
    identifier = bindparam("package_identifier", type_=Text)
    released = package_identifiers.release_identifiers(identifier, DOCUMENT, new_owner=DOCUMENT)
    row = (
        DOCUMENT,
        identifier,
        bindparam("extensions", type_=JSON),
        bindparam("definition_extensions", type_=JSON),
    )
    insertion = insert(table).from_select(
        ["document_identifier", *names], select(*row).where(change_log.wait_for_ctes(released))
    )
    values: dict[str, Any] = {name: insertion.excluded[name] for name in names}
    differences = [
        cast(table.c[name], Text).is_distinct_from(cast(values[name], Text)) for name in names
    ]
    upsert = insertion.on_conflict_do_update(
        index_elements=[table.c.document_identifier], set_=values, where=or_(*differences)
    )
    # xmax is 0 in a row that was inserted, but not in one that ON CONFLICT updated.
    was_updated: ColumnElement[bool] = literal_column("packages.xmax <> 0").label("was_updated")
    written = upsert.returning(table.c.document_identifier.label("identifier"), was_updated).cte(
        "package_written"
    )
    changed = (
        select(written.c.identifier, UPDATED)
        .where(written.c.was_updated, ~_is_document_logged())
        .cte("changed")
    )
    return _compile_log(changed, DOCUMENTS)


def _compile_definition_list(resource: ResourceType) -> CompiledStatement:
    """Compile a SQL statement that stores which definitions the package was sent with.

    So the package can be returned as it was sent. If a stored package is replaced, a change of this
    list is logged as an update of the document. It is not logged if entities refer to the
    definitions, because these are then in the package anyway.
    """
    table = tables.package_definitions[resource.name]
    removed = (
        delete(table)
        .where(
            table.c.document_identifier == DOCUMENT,
            table.c.definition_identifier.not_in(select_staged_identifiers(resource.name)),
        )
        .returning(table.c.definition_identifier)
        .cte("removed")
    )
    pairs = select(DOCUMENT, STAGED.c.identifier).where(STAGED.c.kind == literal(resource.name))
    names = [column.name for column in table.c]
    insertion = insert(table).from_select(names, pairs).on_conflict_do_nothing()
    added = insertion.returning(table.c.definition_identifier).cte("added")
    changed = (
        select(DOCUMENT.label("identifier"), UPDATED)
        .where(bindparam("replaced", type_=Boolean), ~_is_document_logged())
        .where(or_(*(_has_unreferenced(cte, resource) for cte in (removed, added))))
        .cte("changed")
    )
    return _compile_log(changed, DOCUMENTS)


def _has_unreferenced(change: CTE, resource: ResourceType) -> ColumnElement[bool]:
    """Build the condition that ``change`` has a definition to which no entity refers."""
    referenced = union_all(*DEFINITION_REFERENCES[resource.name])
    return exists_where(change.c.definition_identifier.not_in(referenced))


def _is_document_logged() -> ColumnElement[bool]:
    """Build the condition that this transaction has logged a change of the document."""
    table = tables.changes
    transaction = cast(cast(func.pg_current_xact_id(), Text), BigInteger)
    return exists_where(
        table.c.transaction_id == transaction,
        table.c.kind == literal(DOCUMENTS.name),
        table.c.identifier == DOCUMENT,
    )


def _build_missing_conditions(
    table: Table, resource: ResourceType
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for stored rows of the document that the uploaded package lacks."""
    is_staged = exists_where(
        STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier
    )
    return table.c.document_identifier == DOCUMENT, ~is_staged


def _compile_association_deletion() -> CompiledStatement:
    table = tables.associations
    deletion = delete(table).where(*_build_missing_conditions(table, ASSOCIATIONS))
    return _compile_log(change_log.classify_deletes(deletion, table), ASSOCIATIONS)


def _compile_soft_deletion(resource: ResourceType) -> CompiledStatement:
    table = tables.get_table(resource)
    missing = (*_build_missing_conditions(table, resource), table.c.deleted_at.is_(None))
    deletion = update(table).where(*missing).values(deleted_at=func.now())
    return _compile_log(change_log.classify_deletes(deletion, table), resource)


@cache
def compile_rubric_write() -> CompiledStatement:
    """Compile a SQL statement that writes rubrics with their parts and deletes missing parts.

    Parts are criteria and levels. A change of a part is logged as an update of its rubric:
    ``touched`` are the rubrics of all parts that were written or deleted; ``rubrics_changed`` are
    these and the rubrics that were written themselves, each once.
    """
    rubrics, criteria, levels = (
        tables.rubrics,
        tables.rubric_criteria,
        tables.rubric_criterion_levels,
    )
    columns = ("ordinal", "last_change_date_time", "document_identifier")
    source = select_staged_rows(RUBRICS.name)
    written = change_log.classify_writes(rubrics, dml.upsert_rows(source, rubrics, *columns))
    criteria_written, criteria_deleted = _build_part_writes(
        "CFRubricCriterion", criteria, RUBRICS.name
    )
    levels_written, levels_deleted = _build_part_writes(
        "CFRubricCriterionLevel", levels, "CFRubricCriterion"
    )
    rubrics_of_levels = select(STAGED.c.parent).where(
        STAGED.c.kind == literal("CFRubricCriterion"),
        STAGED.c.identifier.in_(
            select(levels_written.c.parent).union_all(select(levels_deleted.c.parent))
        ),
    )
    touched = union_all(
        select(criteria_written.c.parent), select(criteria_deleted.c.parent), rubrics_of_levels
    ).cte("touched")
    only_touched = select(touched.c.parent, literal(tables.UPDATE)).where(
        touched.c.parent.not_in(select(written.c.identifier))
    )
    changed = select(written.c.identifier, written.c.operation).union(only_touched)
    return _compile_log(changed.cte("rubrics_changed"), RUBRICS)


def _build_part_writes(kind: str, table: Table, parent_kind: str) -> tuple[CTE, CTE]:
    """Return two CTEs for criteria or levels: one writes those sent, one deletes missing ones.

    Both return the column ``parent``: the rubric or criterion of each row.
    """
    parent_column = next(column.name for column in table.c if column.foreign_keys)
    names = ("ordinal", "body", parent_column)
    rows = select(STAGED.c.ordinal, STAGED.c.body, STAGED.c.parent).where(
        STAGED.c.kind == literal(kind)
    )
    insertion = insert(table).from_select([*names], rows.order_by(STAGED.c.identifier))
    values: dict[str, Any] = {name: insertion.excluded[name] for name in names}
    is_changed = or_(
        cast(table.c.body, Text) != cast(insertion.excluded.body, Text),
        table.c[parent_column] != insertion.excluded[parent_column],
        table.c.ordinal != insertion.excluded.ordinal,
    )
    upsert = insertion.on_conflict_do_update(
        index_elements=[table.c.identifier], set_=values, where=is_changed
    )
    deletion = delete(table).where(
        table.c[parent_column].in_(select_staged_identifiers(parent_kind)),
        table.c.identifier.not_in(select_staged_identifiers(kind)),
    )
    parent = table.c[parent_column].label("parent")
    return (
        upsert.returning(parent).cte(f"{table.name}_written"),
        deletion.returning(parent).cte(f"{table.name}_deleted"),
    )
