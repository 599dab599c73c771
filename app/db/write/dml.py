"""The pieces that every write is made of, as SQLAlchemy Core expressions over a source of rows.

A source is anything with the columns ``identifier``, ``body``, ``last_change_date_time``,
``document_identifier`` and ``keywords``: one row of parameters for a PUT, a staging table for a
whole package. So a single write and an upload of thousands run the same SQL.
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
    Resource,
)
from ..schema import tables
from ..schema.json_sql import json_get, json_text


@dataclass(frozen=True)
class Reference:
    """A field by which an entity refers to definitions, which are registered from the link."""

    field: str
    resource: Resource
    link_table: Table | None = None
    """Where the pairs are kept when there can be several; else a foreign key holds the one."""
    keeps_old_links: bool = False
    """Whether links sent before stay when they are not sent again (guide: keywords)."""

    @property
    def definitions(self) -> Table:
        """Where they are stored."""
        return tables.table_of(self.resource)


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


def now() -> ColumnElement[str]:
    """This moment as the server answers it: UTC, milliseconds, ``Z``."""
    return func.to_char(
        func.timezone("UTC", func.now()), literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'""")
    )


def upsert_rows(
    source: FromClause, table: Table, *columns: str, once: tuple[str, ...] = ()
) -> Insert:
    """Insert or replace; what is there already unchanged is not written again.

    The columns ``once`` are written on insertion only.
    """
    filled = ("body", *columns, *once)
    # Locked in one order by all writers, so that two of them never wait for each other.
    rows = select(*(source.c[name] for name in filled)).order_by(source.c.identifier)
    fresh = insert(table).from_select([*filled], rows)
    given, differs = _replaced(table, fresh.excluded, *columns)
    return fresh.on_conflict_do_update(
        index_elements=[table.c.identifier], set_=given, where=differs
    )


def update_changed(source: FromClause, table: Table, *columns: str) -> Update:
    """What is there, replaced unless it is unchanged.

    For one row that is likely to be there, this and ``create`` cost less than ``upsert``, which
    first makes a new row in any case, with all that is computed from its body.
    """
    given, differs = _replaced(table, source.c, *columns)
    here = table.c.identifier == source.c.identifier
    return update(table).where(here, differs).values(given)


def insert_missing(source: FromClause, table: Table, *columns: str) -> Insert:
    """What is not there, inserted; who loses a race for a name gets a unique violation."""
    names = ("body", *columns)
    there = table.alias("there")
    known = exists(literal_column("1")).where(there.c.identifier == source.c.identifier)
    rows = select(*(source.c[name] for name in names)).where(~known)
    return insert(table).from_select([*names], rows)


def _replaced(
    table: Table, given: Any, *columns: str
) -> tuple[dict[str, ColumnElement[Any]], ColumnElement[bool]]:
    """What a row becomes, and whether that is anything else than it is."""
    values: dict[str, ColumnElement[Any]] = {name: given[name] for name in ("body", *columns)}
    differs: list[ColumnElement[bool]] = [
        body_differs(table, values["body"]),
        *(table.c[name].is_distinct_from(values[name]) for name in columns if name in COMPARED),
    ]
    if "deleted_at" in table.c:
        values["deleted_at"] = null()
        differs.append(table.c.deleted_at.is_not(None))
    return values, or_(*differs)


COMPARED = {"document_identifier"}
"""Columns that belong to the content of an entity beside its body. Its position in a package does
not, and its body has the time of its change, to the millisecond as it is answered."""


def body_differs(table: Table, body: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return whether a body says something else than the stored one.

    A definition that was registered from a link is answered with what a definition must have, and
    is the same as one that was sent with just that.
    """
    differs = cast(table.c.body, Text) != cast(body, Text)
    resource = next((each for each in DEFINITIONS if each.table == table.name), None)
    if resource is None:
        return differs
    fields = resource.schema.model_fields
    derived: list[ColumnElement[Any]] = []
    for name, source in REQUIRED_DEFAULTS.items():
        if name in fields and fields[name].is_required():
            value = json_text(table.c.body, source) if source else literal_column("''")
            derived += [literal_column(f"'{name}'"), value]
    completed = func.jsonb_build_object(*derived).op("||")(cast(table.c.body, JSONB))
    return and_(differs, completed != cast(body, JSONB))


def select_links(source: FromClause, reference: Reference) -> Select[Any]:
    """The links that the rows of a source hold: (owner's identifier, link)."""
    owner: ColumnElement[Any] = source.c.identifier.label("owner")
    value: ColumnElement[Any] = json_get(source.c.body, reference.field)
    if reference.link_table is None:
        return select(owner, value.label("link")).where(value.is_not(None))
    several = source.c.keywords if reference.keeps_old_links else value
    each = func.json_array_elements(several).table_valued(column("value", JSON)).alias("each")
    return select(owner, each.c.value.label("link")).select_from(source, each)


def register_definitions(source: FromClause, reference: Reference) -> Insert:
    """Definitions not known yet, made from the links to them; known ones stay as they are.

    One that was deleted is back. Those that are known are left alone, not even locked: all the
    items of a framework may be of one type.
    """
    linked = select_links(source, reference).subquery("linked")
    table = reference.definitions
    identifier = json_text(linked.c.link, "identifier")
    known = table.alias("known")
    is_known = exists(literal_column("1")).where(
        known.c.identifier == identifier, known.c.deleted_at.is_(None)
    )
    body = func.json_build_object(
        *("identifier", identifier, "uri", json_text(linked.c.link, "uri")),
        *("lastChangeDateTime", now(), "title", json_text(linked.c.link, "title")),
        type_=JSON,
    )
    # In one order for all writers, so that two of them never wait for each other.
    rows = select(body, func.now()).ext(distinct_on(identifier)).order_by(identifier)
    fresh = insert(table).from_select(["body", "last_change_date_time"], rows.where(~is_known))
    return fresh.on_conflict_do_update(
        index_elements=[table.c.identifier],
        set_={"deleted_at": null()},
        where=table.c.deleted_at.is_not(None),
    )


def insert_links(source: FromClause, reference: Reference, table: Table) -> Insert:
    """The pairs that are not there yet."""
    linked = select_links(source, reference).subquery("linked")
    pairs = select(linked.c.owner, json_text(linked.c.link, "identifier")).distinct()
    names = [column.name for column in table.c]
    return insert(table).from_select(names, pairs).on_conflict_do_nothing()


def delete_all_links(written: FromClause, owner: ColumnElement[str], table: Table) -> Delete:
    """The pairs of the one owner that was written, which links to nothing any more."""
    there = exists(literal_column("1")).select_from(written)
    return delete(table).where(next(iter(table.c)) == owner, there)


def delete_stale_links(source: FromClause, reference: Reference, table: Table) -> Delete:
    """The pairs that the rows of the source no longer hold."""
    linked = select_links(source, reference).subquery("linked")
    owner, target = table.c
    kept = exists(literal_column("1")).where(
        linked.c.owner == owner, json_text(linked.c.link, "identifier") == target
    )
    return delete(table).where(owner.in_(select(source.c.identifier)), ~kept)
