"""The SQL statements of an upload, which make a stored framework equal to the staged package.

Each statement writes all entities of one class. Its rows are (kind, operation, changed), where
``changed`` is a number of entities.
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
from ..schema.expressions import build_exists
from ..statement import CompiledStatement
from . import change_log, dml, package_identifiers
from .staging import (
    DOCUMENT,
    STAGED,
    StagingSummary,
    build_changed_rows_cte,
    build_staged_identifiers_query,
)
from .upload_transaction import DEFINITIONS_STAGE, NamedStatements

UPDATED: ColumnElement[str] = literal(tables.UPDATE).label("operation")


@cache
def build_upload_statements(summary: StagingSummary) -> NamedStatements:
    """Return an upload's SQL statements in execution order, with names for progress reports.

    ``summary`` describes the staged rows. Each element is (name of the stage, such as "items", SQL
    statement). Deletions come first, because a new association may have the origin, destination and
    type of a deleted association.
    """
    upsert = partial(_compile_upserts, summary)
    deletions = [
        ("removing", _compile_association_deletion()),
        ("removing", _compile_soft_deletion(ITEMS)),
        ("removing", _compile_soft_deletion(RUBRICS)),
    ]
    columns = ("ordinal", "document_identifier")
    return [
        *build_prerequisite_statements(summary),
        *(deletions if summary.is_document_stored else ()),
        *(("items", statement) for statement in upsert(ITEMS, *columns)),
        *(("associations", statement) for statement in upsert(ASSOCIATIONS, *columns)),
        ("rubrics", compile_rubric_upsert()),
        *(
            ("rubrics", _compile_ordinal_update(resource))
            for resource in (ITEMS, ASSOCIATIONS, RUBRICS)
            if resource.name in summary.reordered_kinds
        ),
    ]


@cache
def build_prerequisite_statements(summary: StagingSummary) -> NamedStatements:
    """Return an upload's SQL statements for definitions, document and package, in that order.

    ``summary`` describes the staged package. These statements run first, because items,
    associations and rubrics refer to the definitions and the document.
    """
    upsert = partial(_compile_upserts, summary)
    return [
        *(
            (DEFINITIONS_STAGE, statement)
            for resource in DEFINITIONS
            for statement in upsert(resource)
        ),
        *(("document", statement) for statement in (*upsert(DOCUMENTS), _compile_package_upsert())),
        *(("document", _compile_definition_list_write(resource)) for resource in DEFINITIONS),
    ]


def _compile_upserts(
    summary: StagingSummary, resource: ResourceType, *columns: str
) -> list[CompiledStatement]:
    """Compile the SQL statements that write the entities of one class from the staging table.

    They create missing linked definitions, write new and changed entities, then write the links.
    ``columns`` are the columns to write besides the body and the time of the change.
    """
    table, source = tables.get_table(resource), build_changed_rows_cte(resource.name)
    references = dml.REFERENCES.get(resource.name, ())
    # A field that no row has needs no statement, unless links may have to be deleted.
    present = [reference for reference in references if reference.field in summary.fields]
    registrations = [compile_missing_definition_insert(source, reference) for reference in present]
    links: list[CompiledStatement] = []
    for reference in references:
        if reference.link_table is None:
            continue
        if summary.is_document_stored:
            links.append(
                CompiledStatement(
                    dml.build_stale_link_deletion(source, reference, reference.link_table)
                )
            )
        if reference in present:
            links.append(compile_link_insert(source, reference, reference.link_table))
    # Documents and definitions keep their ordinal, because it is not a position in the package.
    insert_only = () if "ordinal" in columns else ("ordinal",)
    names = ("last_change_date_time", *columns)
    written = change_log.build_write_cte(
        table, dml.build_upsert(source, table, *names, insert_only=insert_only)
    )
    document = None if resource in DEFINITIONS else DOCUMENT
    return [*registrations, change_log.compile_logged_write(written, resource, document), *links]


def compile_missing_definition_insert(
    source: FromClause, reference: dml.DefinitionReference
) -> CompiledStatement:
    """Compile a SQL statement that creates missing definitions to which links refer.

    ``source`` selects the entities with the links, and ``reference`` is the field with the links.
    """
    definition_write = change_log.build_write_cte(
        reference.definitions_table, dml.build_missing_definition_insert(source, reference)
    )
    return change_log.compile_logged_write(definition_write, reference.resource, None)


def compile_link_insert(
    source: FromClause, reference: dml.DefinitionReference, table: Table
) -> CompiledStatement:
    """Compile a SQL statement that inserts links of the bodies in ``source`` into ``table``.

    The links are those in the field of ``reference``. A statement that inserts a link also
    increments the package's revision, because the package may have a new definition.
    """
    insertion = dml.build_link_insert(source, reference, table)
    return _compile_revision_increment(insertion.returning(literal_column("1")).cte("linked"))


def _compile_revision_increment(cte: CTE) -> CompiledStatement:
    scope = select(DOCUMENT.label("scope")).where(change_log.build_has_rows_condition(cte))
    bumped = change_log.build_revision_increment_cte(scope)
    return CompiledStatement(select(literal_column("1")).where(false()).add_cte(bumped))


def _compile_ordinal_update(resource: ResourceType) -> CompiledStatement:
    # The order is not part of an entity, so this increments the revision but logs no change.
    table = tables.get_table(resource)
    renumbered = (
        update(table)
        .where(STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier)
        .where(table.c.document_identifier == DOCUMENT, table.c.ordinal != STAGED.c.place)
        .values(ordinal=STAGED.c.place)
        .returning(literal_column("1"))
        .cte("renumbered")
    )
    return _compile_revision_increment(renumbered)


def _compile_package_upsert() -> CompiledStatement:
    """Compile a SQL statement that writes the uploaded package's row in the table of packages.

    If the row has changed, the statement logs an update of the document, unless this transaction
    has already logged one.
    """
    table = tables.packages
    names = ("identifier", "extensions", "definition_extensions")
    identifier = bindparam("package_identifier", type_=Text)
    released = package_identifiers.build_identifier_release_cte(
        identifier, DOCUMENT, new_owner=DOCUMENT
    )
    row = (
        DOCUMENT,
        identifier,
        bindparam("extensions", type_=JSON),
        bindparam("definition_extensions", type_=JSON),
    )
    insertion = insert(table).from_select(
        ["document_identifier", *names],
        select(*row).where(change_log.build_wait_condition(released)),
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
        .where(written.c.was_updated, ~_build_document_logged_condition())
        .cte("changed")
    )
    return change_log.compile_logged_write(changed, DOCUMENTS, DOCUMENT)


def _compile_definition_list_write(resource: ResourceType) -> CompiledStatement:
    """Compile a SQL statement that stores which definitions of a class the package lists.

    The list is stored because a package may list definitions to which no entity refers. If such a
    definition is added or removed, the statement logs an update of the document.
    """
    table = tables.package_definitions[resource.name]
    removed = (
        delete(table)
        .where(
            table.c.document_identifier == DOCUMENT,
            table.c.definition_identifier.not_in(build_staged_identifiers_query(resource.name)),
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
        .where(bindparam("replaced", type_=Boolean), ~_build_document_logged_condition())
        .where(or_(*(_build_unreferenced_condition(cte, resource) for cte in (removed, added))))
        .cte("changed")
    )
    return change_log.compile_logged_write(changed, DOCUMENTS, DOCUMENT)


def _build_unreferenced_condition(change: CTE, resource: ResourceType) -> ColumnElement[bool]:
    """Build the SQL condition that the CTE ``change`` has a definition to which no entity links."""
    referenced = union_all(*DEFINITION_REFERENCES[resource.name])
    return build_exists(change.c.definition_identifier.not_in(referenced))


def _build_document_logged_condition() -> ColumnElement[bool]:
    table = tables.changes
    transaction = cast(cast(func.pg_current_xact_id(), Text), BigInteger)
    return build_exists(
        table.c.transaction_id == transaction,
        table.c.kind == literal(DOCUMENTS.name),
        table.c.identifier == DOCUMENT,
    )


def _build_not_in_package_conditions(
    table: Table, resource: ResourceType
) -> tuple[ColumnElement[bool], ...]:
    is_staged = build_exists(
        STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier
    )
    return table.c.document_identifier == DOCUMENT, ~is_staged


def _compile_association_deletion() -> CompiledStatement:
    table = tables.associations
    deletion = delete(table).where(*_build_not_in_package_conditions(table, ASSOCIATIONS))
    return change_log.compile_logged_write(
        change_log.build_delete_cte(deletion, table), ASSOCIATIONS, DOCUMENT
    )


def _compile_soft_deletion(resource: ResourceType) -> CompiledStatement:
    table = tables.get_table(resource)
    missing = (*_build_not_in_package_conditions(table, resource), table.c.deleted_at.is_(None))
    deletion = update(table).where(*missing).values(deleted_at=func.now())
    return change_log.compile_logged_write(
        change_log.build_delete_cte(deletion, table), resource, DOCUMENT
    )


@cache
def compile_rubric_upsert() -> CompiledStatement:
    """Compile a SQL statement that writes rubrics with their criteria and levels.

    It deletes criteria and levels that are missing from the package. A change to a criterion or
    level is logged as an update of its rubric.
    """
    rubrics, criteria, levels = (
        tables.rubrics,
        tables.rubric_criteria,
        tables.rubric_criterion_levels,
    )
    columns = ("ordinal", "last_change_date_time", "document_identifier")
    source = build_changed_rows_cte(RUBRICS.name)
    written = change_log.build_write_cte(rubrics, dml.build_upsert(source, rubrics, *columns))
    criteria_written, criteria_deleted = _build_rubric_part_write_ctes(
        "CFRubricCriterion", criteria, RUBRICS.name
    )
    levels_written, levels_deleted = _build_rubric_part_write_ctes(
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
    return change_log.compile_logged_write(changed.cte("rubrics_changed"), RUBRICS, DOCUMENT)


def _build_rubric_part_write_ctes(kind: str, table: Table, parent_kind: str) -> tuple[CTE, CTE]:
    """Build a CTE that writes the staged criteria or levels, and one that deletes all others.

    The others are those of the same rubrics or criteria. Both CTEs return the column ``parent``:
    the identifier of the rubric or criterion that a row belongs to.
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
        table.c[parent_column].in_(build_staged_identifiers_query(parent_kind)),
        table.c.identifier.not_in(build_staged_identifiers_query(kind)),
    )
    parent = table.c[parent_column].label("parent")
    return (
        upsert.returning(parent).cte(f"{table.name}_written"),
        deletion.returning(parent).cte(f"{table.name}_deleted"),
    )
