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
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from ..case.resources import DEFINITIONS
from .columns import (
    Moment,
    definition_table,
    deletable,
    entity_table,
    from_body,
    hierarchy_code,
    in_document,
    link_table,
    metadata,
    ordinal,
    searched,
)
from .listed import LISTED_ITEMS

__all__ = ["Moment", "metadata"]  # of columns, for who knows the tables

concepts = definition_table("concepts", hierarchy_code())
subjects = definition_table("subjects", hierarchy_code())
licenses = definition_table("licenses")
item_types = definition_table("item_types", hierarchy_code())
association_groupings = definition_table("association_groupings")

documents = entity_table(
    "documents",
    from_body("license_identifier", "licenseURI", "identifier", references="licenses"),
    *deletable("documents"),
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

items = entity_table(
    "items",
    in_document(),
    from_body("item_type_identifier", "CFItemTypeURI", "identifier", references="item_types"),
    from_body("license_identifier", "licenseURI", "identifier", references="licenses"),
    *deletable("items"),
    *LISTED_ITEMS,
    Index("ix_items_document", "document_identifier", "ordinal"),
    *searched(),
)

associations = entity_table(
    "associations",
    in_document(nullable=True),
    from_body("association_type", "associationType"),
    from_body("origin_identifier", "originNodeURI", "identifier"),
    from_body("destination_identifier", "destinationNodeURI", "identifier"),
    from_body(
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

rubrics = entity_table(
    "rubrics",
    in_document(),
    *deletable("rubrics"),
    Index("ix_rubrics_document", "document_identifier", "ordinal"),
)

rubric_criteria = Table(
    "rubric_criteria",
    metadata,
    from_body("identifier", "identifier", primary=True),
    ordinal(),
    Column("body", JSON, nullable=False),
    Column("rubric_identifier", Text, ForeignKey("rubrics.identifier"), nullable=False, index=True),
)

rubric_criterion_levels = Table(
    "rubric_criterion_levels",
    metadata,
    from_body("identifier", "identifier", primary=True),
    ordinal(),
    Column("body", JSON, nullable=False),
    Column(
        "criterion_identifier",
        Text,
        ForeignKey("rubric_criteria.identifier", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
)

document_subjects = link_table(
    "document_subjects", ("document", "documents"), ("subject", "subjects")
)
item_subjects = link_table("item_subjects", ("item", "items"), ("subject", "subjects"))
item_concepts = link_table("item_concepts", ("item", "items"), ("concept", "concepts"))

package_definitions = {
    resource.name: link_table(
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
    # What became of a document between two moments.
    Index("ix_changes_document", "document_identifier", "changed_at"),
    # What a follower of the feed has not seen.
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
