"""The SQL statements of an upload, which make a framework equal to the staged package.

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
    Select,
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

from ....case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ...read.package import DEFINITION_REFERENCES
from ...schema import tables
from ...schema.expressions import DOCUMENT, build_exists
from ...statement import CompiledStatement
from .. import change_log, dml, package_identifiers
from .staging import (
    CRITERION,
    LEVEL,
    STAGED,
    StagingSummary,
    build_changed_rows_cte,
    build_staged_identifiers_query,
)
from .transaction import DEFINITIONS_STAGE, NamedStatements

UPDATED: ColumnElement[str] = literal(tables.UPDATE).label("operation")


@cache
def build_upload_statements(summary: StagingSummary) -> NamedStatements:
    """Return the SQL statements of an upload as pairs (stage, statement), in execution order.

    The stage is a name for progress reports, such as "items". ``summary`` describes the staged
    rows. Deletions come before insertions, because a new association may have the origin,
    destination and type of a deleted one.
    """
    upsert = partial(_compile_upserts, summary)
    deletions = [
        ("removing", _compile_deletion(resource)) for resource in (ASSOCIATIONS, ITEMS, RUBRICS)
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
    """Return the SQL statements that write definitions, document and package, in that order.

    Each element is a pair (stage, statement), as in ``build_upload_statements``. These statements
    run first, because items, associations and rubrics refer to the definitions and the document.
    ``summary`` describes the staged rows.
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
    """Compile the SQL statements that write the staged entities of one class, such as CFItem.

    In this order, they create missing definitions to which the entities link, insert or update new
    and changed entities, delete old links and insert new ones. ``summary`` allows omitting
    statements without effect. ``columns`` are written besides the body and the time of the change.
    """
    table, source = tables.get_table(resource), build_changed_rows_cte(resource.name)
    references = dml.REFERENCES.get(resource.name, ())
    # A field that no row has needs no statement, unless links may have to be deleted.
    present_references = [
        reference for reference in references if reference.field in summary.fields
    ]
    registrations = [
        compile_missing_definition_insert(source, reference) for reference in present_references
    ]
    links: list[CompiledStatement] = []
    for reference in references:
        if (link_table := reference.link_table) is None:
            continue
        if summary.is_document_stored:
            stale_links = dml.build_stale_link_deletion(source, reference, link_table)
            links.append(CompiledStatement(stale_links))
        if reference in present_references:
            links.append(compile_link_insert(source, reference, link_table))
    # Documents and definitions keep their ordinal, because it is not a position in the package.
    insert_only = () if "ordinal" in columns else ("ordinal",)
    names = ("last_change_date_time", *columns)
    upsert = dml.build_upsert(source, table, *names, insert_only=insert_only)
    write_cte = change_log.build_write_cte(table, upsert)
    document = None if resource in DEFINITIONS else DOCUMENT
    return [*registrations, change_log.compile_logged_write(write_cte, resource, document), *links]


def compile_missing_definition_insert(
    source: FromClause, reference: dml.DefinitionReference
) -> CompiledStatement:
    """Compile a SQL statement that creates the missing definitions to which entities link.

    ``source`` is a table or CTE of entities as in the module ``dml``; ``reference`` is the link
    field. The creations are logged. Each row is (kind, operation, changed).
    """
    insertion = dml.build_missing_definition_insert(source, reference)
    write_cte = change_log.build_write_cte(reference.definitions_table, insertion)
    return change_log.compile_logged_write(write_cte, reference.resource, None)


def compile_link_insert(
    source: FromClause, reference: dml.DefinitionReference, table: Table
) -> CompiledStatement:
    """Compile a SQL statement that inserts the links of entities into the link table ``table``.

    ``source`` is a table or CTE of entities as in the module ``dml``; ``reference`` is the link
    field. If a link is new, the statement also increments the revision of the package, because a
    linked definition is part of the package. Returns no rows.
    """
    insertion = dml.build_link_insert(source, reference, table)
    return _compile_revision_increment(insertion.returning(literal_column("1")).cte("linked"))


def _compile_revision_increment(cte: CTE) -> CompiledStatement:
    scope = select(DOCUMENT.label("scope")).where(change_log.build_has_rows_condition(cte))
    increment_cte = change_log.build_revision_increment_cte(scope)
    return CompiledStatement(select(literal_column("1")).where(false()).add_cte(increment_cte))


def _compile_ordinal_update(resource: ResourceType) -> CompiledStatement:
    # The order is not part of an entity, so this increments the revision but logs no change.
    table = tables.get_table(resource)
    renumbered = (
        update(table)
        .where(STAGED.c.kind == literal(resource.name), STAGED.c.identifier == table.c.identifier)
        .where(table.c.document_identifier == DOCUMENT, table.c.ordinal != STAGED.c.position)
        .values(ordinal=STAGED.c.position)
        .returning(literal_column("1"))
        .cte("renumbered")
    )
    return _compile_revision_increment(renumbered)


def _compile_package_upsert() -> CompiledStatement:
    """Compile a SQL statement that inserts or updates the row of the uploaded package.

    The row, in ``packages``, has the package identifier and the extensions. If the row existed and
    has changed, the statement logs an update of the document.
    """
    table = tables.packages
    names = ("identifier", "extensions", "definition_extensions")
    identifier = bindparam("package_identifier", type_=Text)
    key_values = (identifier, DOCUMENT)
    released = package_identifiers.build_identifier_release_cte(*key_values, new_owner=DOCUMENT)
    extensions = (bindparam(name, type_=JSON) for name in names[1:])
    row = select(DOCUMENT, identifier, *extensions)
    insertion = insert(table).from_select(
        ["document_identifier", *names],
        row.where(change_log.build_ctes_finished_condition(released)),
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
    returned_columns = (table.c.document_identifier.label("identifier"), was_updated)
    write_cte = upsert.returning(*returned_columns).cte("package_written")
    changed_rows = select(write_cte.c.identifier, UPDATED).where(write_cte.c.was_updated)
    return _compile_document_update_log(changed_rows)


def _compile_definition_list_write(resource: ResourceType) -> CompiledStatement:
    """Compile a SQL statement that replaces the stored list of a package's definitions.

    The list has the definitions of one class that the package contains. It is stored because a
    package may contain definitions to which no entity links. If such a definition is added or
    removed, the statement logs an update of the document.
    """
    table = tables.package_definitions[resource.name]
    definition = table.c.definition_identifier
    is_missing = definition.not_in(build_staged_identifiers_query(resource.name))
    deletion = delete(table).where(table.c.document_identifier == DOCUMENT, is_missing)
    removed = deletion.returning(definition).cte("removed")
    pairs = select(DOCUMENT, STAGED.c.identifier).where(STAGED.c.kind == literal(resource.name))
    names = [column.name for column in table.c]
    insertion = insert(table).from_select(names, pairs).on_conflict_do_nothing()
    added = insertion.returning(definition).cte("added")
    referenced = union_all(*DEFINITION_REFERENCES[resource.name])
    has_unreferenced = or_(
        *(build_exists(cte.c.definition_identifier.not_in(referenced)) for cte in (removed, added))
    )
    replaced = bindparam("replaced", type_=Boolean)
    changed_rows = select(DOCUMENT.label("identifier"), UPDATED).where(replaced)
    return _compile_document_update_log(changed_rows, has_unreferenced)


def _compile_document_update_log(
    changed_rows: Select[str, str], *conditions: ColumnElement[bool]
) -> CompiledStatement:
    """Compile a SQL statement that logs an update of the document, once per transaction.

    ``changed_rows`` is a query for (identifier, operation) of the document, without rows if it has
    not changed; ``conditions`` are added to its WHERE. If the transaction has logged a change of
    the document already, the statement does nothing, and Postgres does not evaluate ``conditions``.
    """
    table = tables.changes
    transaction = cast(cast(func.pg_current_xact_id(), Text), BigInteger)
    is_logged = build_exists(
        table.c.transaction_id == transaction,
        table.c.kind == literal(DOCUMENTS.name),
        table.c.identifier == DOCUMENT,
    )
    unlogged = changed_rows.where(~is_logged, *conditions).cte("changed")
    return change_log.compile_logged_write(unlogged, DOCUMENTS, DOCUMENT)


def _compile_deletion(resource: ResourceType) -> CompiledStatement:
    """Compile a SQL statement that deletes a document's entities of a class that are not staged.

    Associations are deleted permanently, items and rubrics softly. Each row is (kind, operation,
    changed), where ``changed`` is a number of entities.
    """
    table = tables.get_table(resource)
    is_same = STAGED.c.identifier == table.c.identifier
    is_staged = build_exists(STAGED.c.kind == literal(resource.name), is_same)
    missing = (table.c.document_identifier == DOCUMENT, ~is_staged)
    if resource is ASSOCIATIONS:
        delete_cte = change_log.build_delete_cte(delete(table).where(*missing), table)
    else:
        deletion = update(table).where(*missing, table.c.deleted_at.is_(None))
        delete_cte = change_log.build_delete_cte(deletion.values(deleted_at=func.now()), table)
    return change_log.compile_logged_write(delete_cte, resource, DOCUMENT)


@cache
def compile_rubric_upsert() -> CompiledStatement:
    """Compile a SQL statement that inserts and updates staged rubrics, criteria and levels.

    It deletes stored criteria and levels of these rubrics that are not staged. A change to a
    criterion or level is logged as an update of its rubric. Each row is (kind, operation, changed).
    """
    columns = ("ordinal", "last_change_date_time", "document_identifier")
    source, rubrics = build_changed_rows_cte(RUBRICS.name), tables.rubrics
    write_cte = change_log.build_write_cte(rubrics, dml.build_upsert(source, rubrics, *columns))
    criteria = _build_rubric_part_write_ctes(CRITERION, tables.rubric_criteria, RUBRICS.name)
    levels = _build_rubric_part_write_ctes(LEVEL, tables.rubric_criterion_levels, CRITERION)
    has_level = STAGED.c.identifier.in_(union_all(*(select(cte.c.parent) for cte in levels)))
    is_criterion = STAGED.c.kind == literal(CRITERION)
    rubrics_of_levels = select(STAGED.c.parent).where(is_criterion, has_level)
    rubrics_of_criteria = (select(cte.c.parent) for cte in criteria)
    touched_rubrics = union_all(*rubrics_of_criteria, rubrics_of_levels).cte("touched")
    is_unwritten = touched_rubrics.c.parent.not_in(select(write_cte.c.identifier))
    only_touched = select(touched_rubrics.c.parent, literal(tables.UPDATE)).where(is_unwritten)
    changed_rows = select(write_cte.c.identifier, write_cte.c.operation).union(only_touched)
    return change_log.compile_logged_write(changed_rows.cte("rubrics_changed"), RUBRICS, DOCUMENT)


def _build_rubric_part_write_ctes(kind: str, table: Table, parent_kind: str) -> tuple[CTE, CTE]:
    """Build a CTE that upserts staged rows of rubrics, and one that deletes the missing ones.

    ``kind`` is ``CRITERION`` or ``LEVEL``, ``table`` its table, ``parent_kind`` the kind of the
    rubrics or criteria that contain the rows. Stored rows of a staged parent are deleted if they
    are not staged. Both CTEs return one column, ``parent``: the parent's identifier of each changed
    row.
    """
    parent_column = next(column for column in table.c if column.foreign_keys)
    names = ("ordinal", "body", parent_column.name)
    rows = select(STAGED.c.ordinal, STAGED.c.body, STAGED.c.parent)
    ordered = rows.where(STAGED.c.kind == literal(kind)).order_by(STAGED.c.identifier)
    insertion = insert(table).from_select([*names], ordered)
    values: dict[str, Any] = {name: insertion.excluded[name] for name in names}
    is_changed = or_(
        cast(table.c.body, Text) != cast(values["body"], Text),
        parent_column != values[parent_column.name],
        table.c.ordinal != values["ordinal"],
    )
    upsert = insertion.on_conflict_do_update(
        index_elements=[table.c.identifier], set_=values, where=is_changed
    )
    deletion = delete(table).where(
        parent_column.in_(build_staged_identifiers_query(parent_kind)),
        table.c.identifier.not_in(build_staged_identifiers_query(kind)),
    )
    parent = parent_column.label("parent")
    return (
        upsert.returning(parent).cte(f"{table.name}_written"),
        deletion.returning(parent).cte(f"{table.name}_deleted"),
    )
