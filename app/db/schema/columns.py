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
from sqlalchemy.dialects.postgresql import TIMESTAMP, TSVECTOR
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


def build_generated_column(
    name: str,
    *path: str,
    references: str | None = None,
    is_primary_key: bool = False,
    nullable: bool = True,
) -> Column[str]:
    """Build a text column that Postgres generates from a field of the entity's JSON body.

    ``path`` is the name of the field, or the names of nested fields in order, such as
    ``"licenseURI", "identifier"``. ``references`` names the table of a foreign key. Postgres checks
    the key after each SQL statement, or at the end of a transaction that defers this.
    """
    steps = "".join(f" -> '{name}'" for name in path[:-1]) + f" ->> '{path[-1]}'"
    keys = [ForeignKey(f"{references}.identifier", deferrable=True)] if references else []
    return Column(
        name,
        Text,
        Computed(f"body{steps}", persisted=True),
        *keys,
        primary_key=is_primary_key,
        nullable=nullable and not is_primary_key,
        comment=f"Generated from the body: {'.'.join(path)}.",
    )


SEARCH_VECTOR = """
to_tsvector(
    'simple'::regconfig,
    left(
        translate(coalesce(body ->> 'humanCodingScheme', ''), './:_-', '     ')
        || ' ' || replace(body ->> 'fullStatement', '/', ' ')
        || ' ' || coalesce(body ->> 'conceptKeywords', ''),
        100000
    )
)
"""
"""The search vector of an item: the words of its code, statement and keywords. Truncated where it
could exceed the maximum size of a tsvector."""


def build_search_column_and_index() -> tuple[SchemaItem, ...]:
    """Build the column with the full-text search vector of an item, and its GIN index."""
    return (
        Column(
            "search",
            TSVECTOR,
            Computed(SEARCH_VECTOR, persisted=True),
            comment="Generated from the body: the words of humanCodingScheme, fullStatement and"
            " conceptKeywords.",
        ),
        Index("ix_items_search", "search", postgresql_using="gin"),
    )


def build_ordinal_column() -> Column[int]:
    """Build the column with an entity's position in its package, so that exports keep the order."""
    return Column(
        "ordinal",
        BigInteger,
        Identity(start=ORDINAL_START),
        nullable=False,
        comment="Position within the package: 0, 1, … as uploaded; entities written one at a time"
        f" follow from {ORDINAL_START:,}.",
    )


def build_body_column() -> Column[Any]:
    """Build the ``json`` column with the body of an entity."""
    return Column(
        "body",
        JSON,
        nullable=False,
        comment="The entity as validated JSON, in the form and field order of CASE 1.1.",
    )


def build_created_at_column() -> Column[Any]:
    """Build the column that records when a row was inserted."""
    return Column(
        "created_at",
        TimestampTZ,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="When the row was inserted.",
    )


def build_entity_table(name: str, *columns: SchemaItem, comment: str) -> Table:
    """Build a table with the columns that all entities have, followed by ``columns``."""
    return Table(
        name,
        metadata,
        build_generated_column("identifier", "identifier", is_primary_key=True),
        build_ordinal_column(),
        build_body_column(),
        Column(
            "last_change_date_time",
            TimestampTZ,
            nullable=False,
            comment="lastChangeDateTime of the entity, to the microsecond.",
        ),
        *columns,
        comment=comment,
    )


def build_soft_delete_column_and_index(name: str) -> tuple[SchemaItem, ...]:
    """Build the column ``deleted_at`` of the table ``name``, and an index of its deleted rows.

    Queries for associations use the index, because they hide an association if its origin,
    destination or document is deleted.
    """
    is_deleted = text("deleted_at IS NOT NULL")
    return (
        Column(
            "deleted_at",
            TimestampTZ,
            comment="When the entity was deleted (soft delete); NULL if live.",
        ),
        Index(f"ix_{name}_deleted", "identifier", postgresql_where=is_deleted),
    )


def build_link_table(
    name: str,
    owner: tuple[str, str],
    target: tuple[str, str],
    *,
    owner_key: str = "identifier",
    comment: str,
) -> Table:
    """Build a many-to-many table whose rows link a row of ``owner`` to a row of ``target``.

    Both are pairs (start of the column's name, linked table), such as ``("item", "items")``. The
    links refer to the column ``identifier`` of the target's table, and to the column ``owner_key``
    of the owner's table.
    """
    sides = ((owner, owner_key), (target, "identifier"))
    keys = [
        Column(
            f"{noun}_identifier",
            Text,
            ForeignKey(f"{table}.{key}"),
            primary_key=True,
            comment=f"Refers to {table}.{key}.",
        )
        for (noun, table), key in sides
    ]
    return Table(name, metadata, *keys, comment=comment)


def build_document_id_column(*, nullable: bool = False) -> Column[str]:
    """Build the column with the identifier of the document that an entity belongs to."""
    return Column(
        "document_identifier",
        Text,
        ForeignKey("documents.identifier"),
        nullable=nullable,
        comment="The document that the entity belongs to.",
    )


def build_definition_table(name: str, *columns: SchemaItem, comment: str) -> Table:
    """Build the table of one class of definitions, such as CFSubject, with soft deletion."""
    return build_entity_table(
        name, *columns, *build_soft_delete_column_and_index(name), comment=comment
    )


def build_hierarchy_code_column() -> Column[str]:
    """Build the column with the hierarchyCode of a definition, generated from its JSON body.

    A child's code continues its parent's: ELA.1 is a child of ELA.
    """
    return build_generated_column("hierarchy_code", "hierarchyCode")
