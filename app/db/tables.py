"""The tables: what Postgres holds, and what it guards.

An entity is stored once, as a validated body in the standard's own form. The columns beside it
are what the database must know to find, join and guard it; those that repeat the body are
generated from it, so they cannot drift. ``json`` rather than ``jsonb``: bodies are read far more
often than searched inside, and ``json`` is given out as it lies there, fields in the order of
the standard.
"""

from __future__ import annotations

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
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, TSVECTOR
from sqlalchemy.sql.schema import SchemaItem

from ..case.resources import DEFINITIONS
from .listed import LISTED_ITEMS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = TIMESTAMP(timezone=True)

AFTER_UPLOADS = 1_000_000_000_000
"""Uploads number their rows from 0; what is put one at a time comes after them."""


def _from_body(
    name: str, *path: str, references: str | None = None, primary: bool = False
) -> Column[str]:
    """A column that Postgres computes from the body."""
    steps = "".join(f" -> '{step}'" for step in path[:-1]) + f" ->> '{path[-1]}'"
    keys = [ForeignKey(f"{references}.identifier")] if references else []
    return Column(name, Text, Computed(f"body{steps}", persisted=True), *keys, primary_key=primary)


SEARCHED = """
to_tsvector(
    'simple'::regconfig,
    left(
        translate(coalesce(body ->> 'humanCodingScheme', ''), './:_-', '     ')
        || ' ' || replace(body ->> 'fullStatement', '/', ' ')
        || ' ' || coalesce(body ->> 'conceptKeywords', ''),
        100000
    )
) || array_to_tsvector(ARRAY['=' || lower(left(coalesce(body ->> 'humanCodingScheme', ''), 200))])
"""
"""The words of an item, to be searched: its code in parts, its statement, its keywords; and after
an equals sign its code as a whole. Cut where a tsvector could become too large to store."""


def _searched() -> tuple[SchemaItem, ...]:
    """The words of an item, and the index that finds them."""
    return (
        Column("search", TSVECTOR, Computed(SEARCHED, persisted=True)),
        Index("ix_items_search", "search", postgresql_using="gin"),
    )


def _ordinal() -> Column[int]:
    """The order in which the parts of a framework are answered."""
    return Column("ordinal", BigInteger, Identity(start=AFTER_UPLOADS), nullable=False)


def _entity_table(name: str, *more: SchemaItem) -> Table:
    """What every addressable entity has."""
    return Table(
        name,
        metadata,
        _from_body("identifier", "identifier", primary=True),
        _ordinal(),
        Column("body", JSON, nullable=False),
        Column("last_change_date_time", Moment, nullable=False),
        *more,
    )


def _deletable(name: str) -> tuple[SchemaItem, ...]:
    """Soft deletion. Associations are hidden while a node is deleted: the index finds those few."""
    deleted = text("deleted_at IS NOT NULL")
    return (
        Column("deleted_at", Moment),
        Index(f"ix_{name}_deleted", "identifier", postgresql_where=deleted),
    )


def _link_table(
    name: str, owner: tuple[str, str], target: tuple[str, str], *, owner_key: str = "identifier"
) -> Table:
    """Pairs of identifiers, owner first: each side is (what it is called, its table)."""
    sides = ((owner, owner_key), (target, "identifier"))
    keys = [
        Column(f"{noun}_identifier", Text, ForeignKey(f"{table}.{key}"), primary_key=True)
        for (noun, table), key in sides
    ]
    return Table(name, metadata, *keys)


def _in_document(*, nullable: bool = False) -> Column[str]:
    return Column(
        "document_identifier", Text, ForeignKey("documents.identifier"), nullable=nullable
    )


def _definition_table(name: str, *more: SchemaItem) -> Table:
    return _entity_table(name, *more, *_deletable(name))


def _hierarchy_code() -> Column[str]:
    return _from_body("hierarchy_code", "hierarchyCode")


concepts = _definition_table("concepts", _hierarchy_code())
subjects = _definition_table("subjects", _hierarchy_code())
licenses = _definition_table("licenses")
item_types = _definition_table("item_types", _hierarchy_code())
association_groupings = _definition_table("association_groupings")

documents = _entity_table(
    "documents",
    _from_body("license_identifier", "licenseURI", "identifier", references="licenses"),
    *_deletable("documents"),
)

packages = Table(
    "packages",
    metadata,
    Column("document_identifier", Text, ForeignKey("documents.identifier"), primary_key=True),
    Column("identifier", Text, nullable=False, unique=True),
    Column("extensions", JSON),
    Column("definition_extensions", JSON),
)
"""A package is born with its document; its identifier is that of the CFPackageURI."""

items = _entity_table(
    "items",
    _in_document(),
    _from_body("item_type_identifier", "CFItemTypeURI", "identifier", references="item_types"),
    _from_body("license_identifier", "licenseURI", "identifier", references="licenses"),
    *_deletable("items"),
    *LISTED_ITEMS,
    Index("ix_items_document", "document_identifier", "ordinal"),
    *_searched(),
)

associations = _entity_table(
    "associations",
    _in_document(nullable=True),
    _from_body("association_type", "associationType"),
    _from_body("origin_identifier", "originNodeURI", "identifier"),
    _from_body("destination_identifier", "destinationNodeURI", "identifier"),
    _from_body(
        "grouping_identifier",
        "CFAssociationGroupingURI",
        "identifier",
        references="association_groupings",
    ),
    UniqueConstraint(
        "origin_identifier",
        "destination_identifier",
        "association_type",
        name="uq_associations_triple",
        # Checked when a statement ends: an upload may let two associations swap their triples.
        deferrable=True,
        initially="IMMEDIATE",
    ),
    Index("ix_associations_document", "document_identifier", "ordinal"),
    Index("ix_associations_destination", "destination_identifier"),
)
"""A node may lie in another server, so nodes are names, not foreign keys."""

rubrics = _entity_table(
    "rubrics",
    _in_document(),
    *_deletable("rubrics"),
    Index("ix_rubrics_document", "document_identifier", "ordinal"),
)

rubric_criteria = Table(
    "rubric_criteria",
    metadata,
    _from_body("identifier", "identifier", primary=True),
    _ordinal(),
    Column("body", JSON, nullable=False),
    Column("rubric_identifier", Text, ForeignKey("rubrics.identifier"), nullable=False, index=True),
)

rubric_criterion_levels = Table(
    "rubric_criterion_levels",
    metadata,
    _from_body("identifier", "identifier", primary=True),
    _ordinal(),
    Column("body", JSON, nullable=False),
    Column(
        "criterion_identifier",
        Text,
        ForeignKey("rubric_criteria.identifier", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
)

document_subjects = _link_table(
    "document_subjects", ("document", "documents"), ("subject", "subjects")
)
item_subjects = _link_table("item_subjects", ("item", "items"), ("subject", "subjects"))
item_concepts = _link_table("item_concepts", ("item", "items"), ("concept", "concepts"))

package_definitions = {
    resource.name: _link_table(
        f"package_{resource.table}",
        ("document", "packages"),
        ("definition", resource.table),
        owner_key="document_identifier",
    )
    for resource in DEFINITIONS
}
"""What an upload of a package defined, whether or not anything in it refers to it."""

changes = Table(
    "changes",
    metadata,
    Column("sequence", BigInteger, Identity(), primary_key=True),
    Column(
        "transaction_id",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
    ),
    Column("document_identifier", Text),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("changed_at", Moment, nullable=False, server_default=text("clock_timestamp()")),
    Index("ix_changes_entity", "identifier", "kind", "sequence"),
    Index("ix_changes_transaction", "transaction_id"),
)
"""Append-only: one row per write, in the statement that wrote. Sequence numbers become visible
out of order; whoever follows this table compares ``transaction_id`` with a snapshot."""

feed_history = Table(
    "feed_history",
    metadata,
    Column("identifier", Text, primary_key=True, server_default=text("gen_random_uuid()::text")),
)
"""One row: the history that ``changes`` tells. Restored elsewhere, a store begins another one."""

revisions = Table(
    "revisions",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("changed_at", Moment, nullable=False),
)
"""How often what a scope covers was written; a scope is a document, or ``SHARED`` or ``NODES``."""

revision_marks = Table(
    "revision_marks",
    metadata,
    Column("scope", Text, nullable=False),
    Column("changed_at", Moment, nullable=False, server_default=text("clock_timestamp()")),
    Index("ix_revision_marks_scope", "scope"),
)
"""Writes not yet counted in ``revisions``. They are only ever added, so that the writers of one
document do not wait for each other; a revision is the version and the number of these."""

SHARED = ""
"""The scope of the definitions, which are the parts of all packages that refer to them."""

NODES = "/"
"""The scope of what is here and what is not, on which associations to other documents depend."""

mirrors = Table(
    "mirrors",
    metadata,
    Column("url", Text, primary_key=True),
    Column("list_url", Text),
    Column("document_identifier", Text, nullable=False),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("history", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("changed_at", Moment, nullable=False),
)
"""Where a document is mirrored from: what the source said of it when it was last read, and the
revision it had here then. ``list_url`` is the list that named it, if one did."""

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("private_pem", Text, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=text("clock_timestamp()")),
)
"""The keys of the local issuer; the newest signs, all of them verify."""

clients = Table(
    "clients",
    metadata,
    Column("identifier", Text, primary_key=True),
    Column("name", Text),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", Moment, nullable=False, server_default=text("clock_timestamp()")),
)
"""Who may ask the local issuer for tokens, beside the client that the settings name."""

client_secrets = Table(
    "client_secrets",
    metadata,
    Column("hash", Text, primary_key=True),
    Column(
        "client_identifier",
        Text,
        ForeignKey("clients.identifier", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("created_at", Moment, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", Moment),
)
"""Salted hashes only; a client has two while its secret is being exchanged."""
