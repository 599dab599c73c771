"""Build the INSERT, UPDATE and DELETE statements for entities, definitions and links.

The parameter ``source`` is a table, CTE or subquery with the columns ``identifier``, ``body``,
``last_change_date_time``, ``document_identifier`` and ``keywords``. For a PUT this is one row of
parameters, for a package the staging table, so that both run the same SQL. ``body`` is the JSON of
an entity, and ``keywords`` the JSON array of an item's links to concepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Delete,
    FromClause,
    Select,
    Table,
    Text,
    Update,
    and_,
    cast,
    column,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, Insert, distinct_on, insert

from ...case.resources import (
    ASSOCIATIONS,
    CONCEPTS,
    DEFINITIONS,
    DOCUMENTS,
    GROUPINGS,
    ITEM_TYPES,
    ITEMS,
    LICENSES,
    SUBJECTS,
    ResourceType,
)
from ...case.response_fields import REQUIRED_DEFAULTS
from ..schema import tables
from ..schema.expressions import build_exists, build_json_extract, build_text_extract


@dataclass(frozen=True)
class DefinitionReference:
    """A field that links entities of a class to definitions, such as ``subjectURI`` of items.

    If a linked definition is not stored, it is created from the title and URI of the link.
    """

    field: str
    resource: ResourceType
    link_table: Table | None = None
    """The table of links if the field is a list, or None if a foreign key holds the only link."""
    keeps_old_links: bool = False
    """True if a write keeps the links that it does not contain, as the guide says for keywords."""

    @property
    def definitions_table(self) -> Table:
        """The table of the definitions to which this field links, such as ``subjects``."""
        return tables.get_table(self.resource)


REFERENCES: dict[str, tuple[DefinitionReference, ...]] = {
    DOCUMENTS.name: (
        DefinitionReference("licenseURI", LICENSES),
        DefinitionReference("subjectURI", SUBJECTS, tables.document_subjects),
    ),
    ITEMS.name: (
        DefinitionReference("licenseURI", LICENSES),
        DefinitionReference("CFItemTypeURI", ITEM_TYPES),
        DefinitionReference("subjectURI", SUBJECTS, tables.item_subjects),
        DefinitionReference(
            "conceptKeywordsURI", CONCEPTS, tables.item_concepts, keeps_old_links=True
        ),
    ),
    ASSOCIATIONS.name: (DefinitionReference("CFAssociationGroupingURI", GROUPINGS),),
}


def build_upsert(
    source: FromClause, table: Table, *columns: str, insert_only: tuple[str, ...] = ()
) -> Insert:
    """Build a SQL statement that inserts or updates rows of ``table`` from ``source``.

    ``source`` is a table or CTE. ``columns`` are the columns to write besides ``body``;
    ``insert_only`` are written to new rows only. Unchanged rows are not written. Soft-deleted rows
    are undeleted.
    """
    column_names = ("body", *columns, *insert_only)
    # All writers lock rows in the order of identifiers, because other orders could deadlock.
    rows = select(*(source.c[name] for name in column_names)).order_by(source.c.identifier)
    statement = insert(table).from_select([*column_names], rows)
    values, is_changed = _build_update_clauses(table, statement.excluded, *columns)
    return statement.on_conflict_do_update(
        index_elements=[table.c.identifier], set_=values, where=is_changed
    )


def build_update_if_changed(source: FromClause, table: Table, *columns: str) -> Update:
    """Build an UPDATE of the rows of ``table`` that differ from the row in ``source``.

    Rows are matched by identifier. ``source`` is a table or CTE; ``columns`` are the columns to
    write besides ``body``. For a single row that probably exists, running this and then
    ``build_insert_if_missing`` is faster than ``build_upsert``.
    """
    # ON CONFLICT would first build a new row with all its generated columns: a PUT of an item would
    # take 40 to 60 us more of 365 us of CPU in Postgres 18.
    values, is_changed = _build_update_clauses(table, source.c, *columns)
    is_same = table.c.identifier == source.c.identifier
    return update(table).where(is_same, is_changed).values(values)


def build_insert_if_missing(source: FromClause, table: Table, *columns: str) -> Insert:
    """Build an INSERT for the rows of ``source`` whose identifier ``table`` does not have.

    ``source`` is a table or CTE. ``columns`` are the columns to write besides ``body``. Running it
    raises ``UniqueViolationError`` if another transaction has inserted an identifier meanwhile.
    """
    column_names = ("body", *columns)
    existing_row = table.alias("existing")
    row_exists = build_exists(existing_row.c.identifier == source.c.identifier)
    rows = select(*(source.c[name] for name in column_names)).where(~row_exists)
    return insert(table).from_select([*column_names], rows)


def _build_update_clauses(
    table: Table, source: Any, *columns: str
) -> tuple[dict[str, ColumnElement[Any]], ColumnElement[bool]]:
    """Return the SET values of an UPDATE, and the condition that a stored row differs.

    The values are ``source``'s ``body`` and ``columns`` by name, and NULL for ``deleted_at``. Rows
    differ if the body or the document differs or the row is soft-deleted; another ordinal alone is
    not a difference.
    """
    values: dict[str, ColumnElement[Any]] = {name: source[name] for name in ("body", *columns)}
    differences = [build_body_changed_condition(table, values["body"])]
    # Another ordinal is no change of the entity, and the time of the change is also in the body.
    if "document_identifier" in columns:
        document = values["document_identifier"]
        differences.append(table.c.document_identifier.is_distinct_from(document))
    if "deleted_at" in table.c:
        values["deleted_at"] = null()
        differences.append(table.c.deleted_at.is_not(None))
    return values, or_(*differences)


def build_body_changed_condition(table: Table, body: ColumnElement[Any]) -> ColumnElement[bool]:
    """Build the SQL condition that ``body``, a JSON expression, differs from that in ``table``.

    Responses add defaults for required fields to a definition that was created from a link. A
    client may send them back, so a definition that differs only in these defaults counts as equal.
    """
    differs = cast(table.c.body, Text) != cast(body, Text)
    resource = next(
        (definition_type for definition_type in DEFINITIONS if definition_type.table == table.name),
        None,
    )
    if resource is None:
        return differs
    fields = resource.schema.model_fields
    defaults: list[ColumnElement[Any]] = []
    for name, source in REQUIRED_DEFAULTS.items():
        if name in fields and fields[name].is_required():
            value = build_text_extract(table.c.body, source) if source else literal_column("''")
            defaults += [literal_column(f"'{name}'"), value]
    completed = func.jsonb_build_object(*defaults).op("||")(cast(table.c.body, JSONB))
    return and_(differs, completed != cast(body, JSONB))


def build_links_query(source: FromClause, reference: DefinitionReference) -> Select[Any]:
    """Build the query for the links to definitions in one field of the entities in ``source``.

    ``source`` is a table or CTE with ``body`` and ``keywords``; ``reference`` is the field. Each
    row is (owner, link): the entity's identifier, and the link as JSON, such as ``{"title": …,
    "identifier": …, "uri": …}``.
    """
    owner: ColumnElement[Any] = source.c.identifier.label("owner")
    value: ColumnElement[Any] = build_json_extract(source.c.body, reference.field)
    if reference.link_table is None:
        return select(owner, value.label("link")).where(value.is_not(None))
    # The body has only the last keyword link; ``keywords`` has all of them.
    links = source.c.keywords if reference.keeps_old_links else value
    elements = func.json_array_elements(links).table_valued(column("value", JSON)).alias("each")
    return select(owner, elements.c.value.label("link")).select_from(source, elements)


def build_missing_definition_insert(source: FromClause, reference: DefinitionReference) -> Insert:
    """Build an INSERT for the missing definitions to which the entities in ``source`` link.

    The links are those in the field of ``reference``. A soft-deleted definition is undeleted. A
    live one is neither changed nor locked: a lock would make uploads wait for each other, because
    all items may link to the same item type.
    """
    links = build_links_query(source, reference).subquery("linked")
    table = reference.definitions_table
    identifier = build_text_extract(links.c.link, "identifier")
    existing_row = table.alias("existing")
    is_live = build_exists(
        existing_row.c.identifier == identifier, existing_row.c.deleted_at.is_(None)
    )
    form: ColumnElement[str] = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'""")
    body = func.json_build_object(
        *("identifier", identifier, "uri", build_text_extract(links.c.link, "uri")),
        *("lastChangeDateTime", func.to_char(func.timezone("UTC", func.now()), form)),
        *("title", build_text_extract(links.c.link, "title")),
        type_=JSON,
    )
    # All writers lock rows in the order of identifiers, because other orders could deadlock.
    rows = select(body, func.now()).ext(distinct_on(identifier)).order_by(identifier)
    statement = insert(table).from_select(["body", "last_change_date_time"], rows.where(~is_live))
    return statement.on_conflict_do_update(
        index_elements=[table.c.identifier],
        set_={"deleted_at": null()},
        where=table.c.deleted_at.is_not(None),
    )


def build_link_insert(source: FromClause, reference: DefinitionReference, table: Table) -> Insert:
    """Build an INSERT into the link table ``table`` for new links of the entities in ``source``.

    ``source`` is a table or CTE with ``body`` and ``keywords``; the links are those in the field of
    ``reference``. Links that the table already has are skipped.
    """
    links = build_links_query(source, reference).subquery("linked")
    pairs = select(links.c.owner, build_text_extract(links.c.link, "identifier")).distinct()
    columns = [column.name for column in table.c]
    return insert(table).from_select(columns, pairs).on_conflict_do_nothing()


def build_stale_link_deletion(
    source: FromClause, reference: DefinitionReference, table: Table
) -> Delete:
    """Build a DELETE for links that entities in ``source`` no longer have in one field.

    ``reference`` is the field, ``table`` its link table. A row of this table is deleted if its
    entity is in ``source``, but the field of this entity has no link to the definition.
    """
    links = build_links_query(source, reference).subquery("linked")
    owner, target = table.c
    linked_identifier = build_text_extract(links.c.link, "identifier")
    is_linked = build_exists(links.c.owner == owner, linked_identifier == target)
    return delete(table).where(owner.in_(select(source.c.identifier)), ~is_linked)
