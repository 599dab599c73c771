"""Building blocks of the tables: their metadata, and columns that several tables have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Computed,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.sql.schema import SchemaItem

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TimestampTZ = TIMESTAMP(timezone=True)

ORDINAL_START = 1_000_000_000_000
"""First ordinal of entities written one at a time; uploads number their rows from 0."""


def build_column(
    name: str,
    type_: Any,
    comment: str,
    *schema_items: SchemaItem,
    nullable: bool = False,
    **options: Any,
) -> Column[Any]:
    """Build a column with a comment, which is NOT NULL by default.

    ``schema_items``, such as a foreign key, and ``options`` are further arguments of
    ``sqlalchemy.Column``.
    """
    return Column(name, type_, *schema_items, nullable=nullable, comment=comment, **options)


def build_timestamp_column(name: str, comment: str) -> Column[Any]:
    """Build the column that records when a row was inserted."""
    return build_column(name, TimestampTZ, comment, server_default=text("clock_timestamp()"))


def build_reference_column(
    name: str, target: str, comment: str, *, ondelete: str | None = None, **options: Any
) -> Column[str]:
    """Build a text column with a foreign key to ``target``, such as ``documents.identifier``."""
    return build_column(name, Text, comment, ForeignKey(target, ondelete=ondelete), **options)


def build_generated_column(
    name: str, *path: str, references: str | None = None, nullable: bool = True, **options: Any
) -> Column[str]:
    """Build a text column that Postgres generates from a field of the entity's JSON body.

    ``path`` is the name of the field, or the names of nested fields in order, such as
    ``"licenseURI", "identifier"``. ``references`` names the table of a foreign key. Postgres checks
    the key after each SQL statement, or at the end of a transaction that defers this.
    """
    steps = "".join(f" -> '{name}'" for name in path[:-1]) + f" ->> '{path[-1]}'"
    keys = [ForeignKey(f"{references}.identifier", deferrable=True)] if references else []
    return build_column(
        name,
        Text,
        f"Generated from the body: {'.'.join(path)}.",
        Computed(f"body{steps}", persisted=True),
        *keys,
        nullable=nullable,
        **options,
    )


def build_body_columns() -> tuple[Column[Any], ...]:
    """Build the columns ``identifier``, ``ordinal`` and ``body`` of an entity table.

    ``body`` is the entity's JSON. ``ordinal`` is its position in the package, which keeps the order
    of the package in exports.
    """
    return (
        build_generated_column("identifier", "identifier", nullable=False, primary_key=True),
        build_column(
            "ordinal",
            BigInteger,
            "Position within the package: 0, 1, … as uploaded; entities written one at a time"
            f" follow from {ORDINAL_START:,}.",
            Identity(start=ORDINAL_START),
        ),
        build_column(
            "body", JSON, "The entity as validated JSON, in the form and field order of CASE 1.1."
        ),
    )


def build_entity_table(name: str, *columns: SchemaItem, comment: str) -> Table:
    """Build a table with the columns that all entities have, followed by ``columns``."""
    changed_at = build_column(
        "last_change_date_time",
        TimestampTZ,
        "lastChangeDateTime of the entity, to the microsecond.",
    )
    return Table(name, metadata, *build_body_columns(), changed_at, *columns, comment=comment)


def build_soft_delete_column_and_index(name: str) -> tuple[SchemaItem, ...]:
    """Build the column ``deleted_at`` of the table ``name``, and an index of its deleted rows.

    Queries for associations use the index, because they hide an association if its origin,
    destination or document is deleted.
    """
    comment = "When the entity was deleted (soft delete); NULL if live."
    is_deleted = text("deleted_at IS NOT NULL")
    return (
        build_column("deleted_at", TimestampTZ, comment, nullable=True),
        Index(f"ix_{name}_deleted", "identifier", postgresql_where=is_deleted),
    )


def build_link_table(name: str, targets: dict[str, str], *, comment: str) -> Table:
    """Build a many-to-many table, whose rows link one entity, the owner, to another.

    ``targets`` maps the names of its two columns to the columns that they reference, for example
    ``{"item_identifier": "items.identifier", …}``. The owner's column comes first.
    """
    keys = [
        build_reference_column(column, target, f"Refers to {target}.", primary_key=True)
        for column, target in targets.items()
    ]
    return Table(name, metadata, *keys, comment=comment)


def build_document_id_column(*, nullable: bool = False) -> Column[str]:
    """Build the column with the identifier of the document that an entity belongs to."""
    comment = "The document that the entity belongs to."
    target = "documents.identifier"
    return build_reference_column("document_identifier", target, comment, nullable=nullable)


def build_position_index(name: str) -> Index:
    """Build the index of the table ``name`` that returns the entities of a document in order.

    Entities that were moved or undeleted may have the same ordinal; the identifier puts these in an
    order. Without it there, Postgres would sort them: 18 of 81 ms for a package of 15,000 items.
    """
    return Index(f"ix_{name}_document", "document_identifier", "ordinal", "identifier")


def build_definition_table(name: str, content: str, *, has_hierarchy: bool = False) -> Table:
    """Build the table of one class of definitions, such as CFSubject, with soft deletion.

    ``content`` describes the rows in the table's comment. With ``has_hierarchy``, definitions have
    a hierarchyCode, which continues that of the parent: ELA.1 is a child of ELA.
    """
    code = [build_generated_column("hierarchy_code", "hierarchyCode")] if has_hierarchy else []
    deletion = build_soft_delete_column_and_index(name)
    comment = f"{content}, shared by all frameworks."
    return build_entity_table(name, *code, *deletion, comment=comment)
