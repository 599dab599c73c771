"""Building blocks of write statements: upserts of entities, definitions and links.

Each takes a source of rows with the columns ``identifier``, ``body``, ``last_change_date_time``,
``document_identifier`` and ``keywords``. For a PUT this is one row of parameters, for a package the
staging table, so that a single write and an upload of thousands run the same SQL.
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
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, Insert, distinct_on, insert

from ...case.derived_fields import REQUIRED_DEFAULTS
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
from ..schema import tables
from ..schema.expressions import exists_where, json_text, json_value


@dataclass(frozen=True)
class Reference:
    """A field that links entities of a class to definitions, such as ``subjectURI`` of items.

    A definition that is not stored yet is registered: created from the title and URI of the link.
    """

    field: str
    resource: ResourceType
    link_table: Table | None = None
    """The table of links if the field is a list; otherwise a foreign key holds the only one."""
    keeps_old_links: bool = False
    """Whether links that are not sent again stay, as the guide has it for keywords."""

    @property
    def definitions(self) -> Table:
        """The table of the definitions that the field refers to."""
        return tables.get_table(self.resource)


REFERENCES: dict[str, tuple[Reference, ...]] = {
    DOCUMENTS.name: (
        Reference("licenseURI", LICENSES),
        Reference("subjectURI", SUBJECTS, tables.document_subjects),
    ),
    ITEMS.name: (
        Reference("licenseURI", LICENSES),
        Reference("CFItemTypeURI", ITEM_TYPES),
        Reference("subjectURI", SUBJECTS, tables.item_subjects),
        Reference("conceptKeywordsURI", CONCEPTS, tables.item_concepts, keeps_old_links=True),
    ),
    ASSOCIATIONS.name: (Reference("CFAssociationGroupingURI", GROUPINGS),),
}

CONTENT_COLUMNS = {"document_identifier"}
"""Columns other than the body whose change is a change of the entity.

The position in the package is none, and the body contains the time of the change."""


def upsert_rows(
    source: FromClause, table: Table, *columns: str, insert_only: tuple[str, ...] = ()
) -> Insert:
    """Build a SQL statement that inserts rows, or replaces existing ones that differ.

    ``columns`` are written in addition to the body, ``insert_only`` only to new rows. Soft-deleted
    rows are undeleted; unchanged rows are not written.
    """
    inserted = ("body", *columns, *insert_only)
    # All writers lock rows in the order of identifiers, because other orders could deadlock.
    rows = select(*(source.c[name] for name in inserted)).order_by(source.c.identifier)
    statement = insert(table).from_select([*inserted], rows)
    values, is_changed = _build_replacement(table, statement.excluded, *columns)
    return statement.on_conflict_do_update(
        index_elements=[table.c.identifier], set_=values, where=is_changed
    )


def update_changed(source: FromClause, table: Table, *columns: str) -> Update:
    """Build a SQL statement that replaces existing rows that differ from those of ``source``.

    ``columns`` are written in addition to the body. For a single row that probably exists, this and
    ``insert_missing`` cost less than ``upsert_rows``, because ON CONFLICT first builds a new row
    with all its generated columns.
    """
    values, is_changed = _build_replacement(table, source.c, *columns)
    is_same = table.c.identifier == source.c.identifier
    return update(table).where(is_same, is_changed).values(values)


def insert_missing(source: FromClause, table: Table, *columns: str) -> Insert:
    """Build a SQL statement that inserts the rows whose identifier is not in the table yet.

    ``columns`` are written in addition to the body. The statement raises ``UniqueViolationError``
    if another transaction inserted the identifier first.
    """
    inserted = ("body", *columns)
    existing = table.alias("existing")
    row_exists = exists_where(existing.c.identifier == source.c.identifier)
    rows = select(*(source.c[name] for name in inserted)).where(~row_exists)
    return insert(table).from_select([*inserted], rows)


def _build_replacement(
    table: Table, source: Any, *columns: str
) -> tuple[dict[str, ColumnElement[Any]], ColumnElement[bool]]:
    """Return the new values of an existing row, and the condition that they differ from the old."""
    values: dict[str, ColumnElement[Any]] = {name: source[name] for name in ("body", *columns)}
    differences: list[ColumnElement[bool]] = [
        is_body_changed(table, values["body"]),
        *(
            table.c[name].is_distinct_from(values[name])
            for name in columns
            if name in CONTENT_COLUMNS
        ),
    ]
    if "deleted_at" in table.c:
        values["deleted_at"] = null()
        differences.append(table.c.deleted_at.is_not(None))
    return values, or_(*differences)


def is_body_changed(table: Table, body: ColumnElement[Any]) -> ColumnElement[bool]:
    """Build the SQL condition that a JSON body differs from the one stored in ``table``.

    A definition that was created from a link lacks fields that the standard requires, and responses
    add defaults for them. A body that only adds these defaults does not differ.
    """
    differs = cast(table.c.body, Text) != cast(body, Text)
    resource = next((each for each in DEFINITIONS if each.table == table.name), None)
    if resource is None:
        return differs
    fields = resource.schema.model_fields
    defaults: list[ColumnElement[Any]] = []
    for name, source in REQUIRED_DEFAULTS.items():
        if name in fields and fields[name].is_required():
            value = json_text(table.c.body, source) if source else literal_column("''")
            defaults += [literal_column(f"'{name}'"), value]
    completed = func.jsonb_build_object(*defaults).op("||")(cast(table.c.body, JSONB))
    return and_(differs, completed != cast(body, JSONB))


def select_links(source: FromClause, reference: Reference) -> Select[Any]:
    """Select the links in one field of JSON bodies, as rows (owner, link).

    ``owner`` is the identifier of the entity that contains the link.
    """
    owner: ColumnElement[Any] = source.c.identifier.label("owner")
    value: ColumnElement[Any] = json_value(source.c.body, reference.field)
    if reference.link_table is None:
        return select(owner, value.label("link")).where(value.is_not(None))
    # The body has only the last keyword link; ``keywords`` has all of them.
    links = source.c.keywords if reference.keeps_old_links else value
    elements = func.json_array_elements(links).table_valued(column("value", JSON)).alias("each")
    return select(owner, elements.c.value.label("link")).select_from(source, elements)


def register_definitions(source: FromClause, reference: Reference) -> Insert:
    """Build a SQL statement that creates missing definitions, to which links refer.

    Deleted ones are undeleted. Existing definitions are neither changed nor locked, because all
    items of a framework may have the same item type.
    """
    links = select_links(source, reference).subquery("linked")
    table = reference.definitions
    identifier = json_text(links.c.link, "identifier")
    existing = table.alias("existing")
    is_live = exists_where(existing.c.identifier == identifier, existing.c.deleted_at.is_(None))
    body = func.json_build_object(
        *("identifier", identifier, "uri", json_text(links.c.link, "uri")),
        *(
            "lastChangeDateTime",
            _build_current_timestamp(),
            "title",
            json_text(links.c.link, "title"),
        ),
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


def _build_current_timestamp() -> ColumnElement[str]:
    """Build the SQL for the transaction's time as responses show it: UTC, milliseconds, ``Z``."""
    return func.to_char(
        func.timezone("UTC", func.now()), literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'""")
    )


def insert_links(source: FromClause, reference: Reference, table: Table) -> Insert:
    """Build a SQL statement that adds the links in the bodies of ``source`` to a link table.

    Links that exist already are left unchanged.
    """
    links = select_links(source, reference).subquery("linked")
    pairs = select(links.c.owner, json_text(links.c.link, "identifier")).distinct()
    columns = [column.name for column in table.c]
    return insert(table).from_select(columns, pairs).on_conflict_do_nothing()


def delete_all_links(written: FromClause, owner: ColumnElement[str], table: Table) -> Delete:
    """Build a SQL statement that deletes all links of the entity ``owner`` from a link table.

    It deletes nothing unless the CTE ``written`` has written the entity.
    """
    is_written = exists(literal_column("1")).select_from(written)
    return delete(table).where(next(iter(table.c)) == owner, is_written)


def delete_stale_links(source: FromClause, reference: Reference, table: Table) -> Delete:
    """Build a SQL statement that deletes links that the bodies of ``source`` no longer contain."""
    links = select_links(source, reference).subquery("linked")
    owner, target = table.c
    is_linked = exists_where(
        links.c.owner == owner, json_text(links.c.link, "identifier") == target
    )
    return delete(table).where(owner.in_(select(source.c.identifier)), ~is_linked)
