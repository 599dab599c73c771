"""The tables of the database.

An entity is stored once, as a validated body in the form of CASE 1.1. The other columns are what
the database needs to find, join and constrain entities; those that repeat the body are generated
from it, so they cannot differ. The type is ``json`` rather than ``jsonb``, because bodies are read
far more often than searched, and ``json`` returns the stored text, with the fields in the order of
the standard. ``docs/reference/schema.md`` shows all tables.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
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

from ...case.resources import DEFINITIONS, ResourceType
from .columns import (
    ORDINAL_START,
    TimestampTZ,
    build_body_column,
    build_created_at_column,
    build_definition_table,
    build_document_id_column,
    build_entity_table,
    build_generated_column,
    build_hierarchy_code_column,
    build_link_table,
    build_ordinal_column,
    build_search_column_and_index,
    build_soft_delete_column_and_index,
    metadata,
)
from .list_indexes import DOCUMENT_LIST_COLUMNS, ITEM_LIST_COLUMNS

__all__ = ["ORDINAL_START", "TimestampTZ", "metadata"]  # re-exported from columns

concepts = build_definition_table(
    "concepts",
    build_hierarchy_code_column(),
    comment="CFConcept: topics of items, shared by all frameworks.",
)
subjects = build_definition_table(
    "subjects",
    build_hierarchy_code_column(),
    comment="CFSubject: subjects of documents and items, shared by all frameworks.",
)
licenses = build_definition_table(
    "licenses", comment="CFLicense: licences of documents and items, shared by all frameworks."
)
item_types = build_definition_table(
    "item_types",
    build_hierarchy_code_column(),
    comment="CFItemType: kinds of items, shared by all frameworks.",
)
association_groupings = build_definition_table(
    "association_groupings",
    comment="CFAssociationGrouping: named groups of associations, shared by all frameworks.",
)

documents = build_entity_table(
    "documents",
    build_generated_column("license_identifier", "licenseURI", "identifier", references="licenses"),
    *build_soft_delete_column_and_index("documents"),
    *DOCUMENT_LIST_COLUMNS,
    comment="CFDocument: one row per framework.",
)

packages = Table(
    "packages",
    metadata,
    Column(
        "document_identifier",
        Text,
        ForeignKey("documents.identifier"),
        primary_key=True,
        comment="The document of the package.",
    ),
    Column(
        "identifier",
        Text,
        nullable=False,
        unique=True,
        comment="The CFPackageURI.identifier of the document, or the document's identifier.",
    ),
    Column("extensions", JSON, comment="extensions of the CFPackage."),
    Column("definition_extensions", JSON, comment="extensions of the package's CFDefinitions."),
    comment="CFPackage: created with its document.",
)

items = build_entity_table(
    "items",
    build_document_id_column(),
    build_generated_column(
        "item_type_identifier", "CFItemTypeURI", "identifier", references="item_types"
    ),
    build_generated_column("license_identifier", "licenseURI", "identifier", references="licenses"),
    *build_soft_delete_column_and_index("items"),
    *ITEM_LIST_COLUMNS,
    Index("ix_items_document", "document_identifier", "ordinal"),
    *build_search_column_and_index(),
    comment="CFItem: the competency statements of all frameworks.",
)

item_counts = Table(
    "item_counts",
    metadata,
    Column(
        "document_identifier",
        Text,
        nullable=False,
        comment="The document that the items belong to.",
    ),
    Column(
        "live_items",
        BigInteger,
        nullable=False,
        comment="Number of live items that a statement added to the document; negative if it"
        " removed some.",
    ),
    Column(
        "is_sum",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether the row replaces all earlier rows of the document.",
    ),
    Index("ix_item_counts_document", "document_identifier"),
    comment="Numbers of live items per document, to be added up. Append-only, so that writers of"
    " one document do not wait for each other.",
)

# No foreign keys to nodes, because a node may be stored on another server.
associations = build_entity_table(
    "associations",
    build_document_id_column(nullable=True),
    build_generated_column("association_type", "associationType", nullable=False),
    build_generated_column("origin_identifier", "originNodeURI", "identifier", nullable=False),
    build_generated_column(
        "destination_identifier", "destinationNodeURI", "identifier", nullable=False
    ),
    build_generated_column(
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
        # Checked after each statement, because an upload may exchange two associations' triples.
        deferrable=True,
        initially="IMMEDIATE",
    ),
    Index("ix_associations_document", "document_identifier", "ordinal"),
    Index("ix_associations_destination", "destination_identifier"),
    comment="CFAssociation: typed relations between nodes. Deleted for good, not softly.",
)

rubrics = build_entity_table(
    "rubrics",
    build_document_id_column(),
    *build_soft_delete_column_and_index("rubrics"),
    Index("ix_rubrics_document", "document_identifier", "ordinal"),
    comment="CFRubric: the rubrics of all frameworks; their criteria are rows of rubric_criteria.",
)

rubric_criteria = Table(
    "rubric_criteria",
    metadata,
    build_generated_column("identifier", "identifier", is_primary_key=True),
    build_ordinal_column(),
    build_body_column(),
    Column(
        "rubric_identifier",
        Text,
        ForeignKey("rubrics.identifier"),
        nullable=False,
        index=True,
        comment="The rubric that the criterion belongs to.",
    ),
    comment="CFRubricCriterion: the criteria of rubrics.",
)

rubric_criterion_levels = Table(
    "rubric_criterion_levels",
    metadata,
    build_generated_column("identifier", "identifier", is_primary_key=True),
    build_ordinal_column(),
    build_body_column(),
    Column(
        "criterion_identifier",
        Text,
        ForeignKey("rubric_criteria.identifier", ondelete="CASCADE"),
        nullable=False,
        index=True,
        comment="The criterion that the level belongs to.",
    ),
    comment="CFRubricCriterionLevel: the levels of criteria.",
)

document_subjects = build_link_table(
    "document_subjects",
    ("document", "documents"),
    ("subject", "subjects"),
    comment="subjectURI of documents.",
)
item_subjects = build_link_table(
    "item_subjects", ("item", "items"), ("subject", "subjects"), comment="subjectURI of items."
)
item_concepts = build_link_table(
    "item_concepts",
    ("item", "items"),
    ("concept", "concepts"),
    comment="conceptKeywordsURI of items: every concept ever linked, because links are additive.",
)

package_definitions = {
    resource.name: build_link_table(
        f"package_{resource.table}",
        ("document", "packages"),
        ("definition", resource.table),
        owner_key="document_identifier",
        comment=f"{resource.collection} that an upload of a package defined, referred to or not.",
    )
    for resource in DEFINITIONS
}

changes = Table(
    "changes",
    metadata,
    Column(
        "sequence",
        BigInteger,
        Identity(),
        primary_key=True,
        comment="Order of insertion. Rows become visible out of order: a follower compares"
        " transaction_id with a snapshot.",
    ),
    Column(
        "transaction_id",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
        comment="The transaction that wrote, as pg_current_xact_id() returned it.",
    ),
    Column(
        "document_identifier",
        Text,
        comment="The document that the entity belongs to; NULL for definitions.",
    ),
    Column("kind", Text, nullable=False, comment="Class of the entity, such as CFItem."),
    Column("identifier", Text, nullable=False, comment="Identifier of the entity."),
    Column(
        "operation", Text, nullable=False, comment="create, update, delete or revive (undelete)."
    ),
    Column(
        "changed_at",
        TimestampTZ,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="When the change was written.",
    ),
    # The history of one document.
    Index("ix_changes_document", "document_identifier", "changed_at"),
    # The changes after a cursor of the change feed.
    Index("ix_changes_transaction", "transaction_id"),
    comment="Change feed, append-only: one row per entity and write, inserted by the statement"
    " that wrote.",
)

CREATE, UPDATE, DELETE, REVIVE = "create", "update", "delete", "revive"
"""The values of ``changes.operation``. To revive is to undelete: the entity was soft-deleted."""

feed_history = Table(
    "feed_history",
    metadata,
    Column(
        "identifier",
        Text,
        primary_key=True,
        server_default=text("gen_random_uuid()::text"),
        comment="Part of every cursor of the feed; a restored database gets a new one.",
    ),
    Column(
        "timeline",
        Text,
        nullable=False,
        server_default=text("'00000000'"),
        comment="WAL timeline that the primary server recorded last; each failover starts a new"
        " one. Part of every cursor of the feed.",
    ),
    comment="One row: which history the change feed tells, so that cursors of another end.",
)

revisions = Table(
    "revisions",
    metadata,
    Column(
        "scope",
        Text,
        primary_key=True,
        comment="A document's identifier, '' for all definitions, or '/' for the existence of"
        " nodes.",
    ),
    Column(
        "version",
        BigInteger,
        nullable=False,
        comment="Sum of the steps folded in; the revision adds those of revision_marks.",
    ),
    Column(
        "changed_at", TimestampTZ, nullable=False, comment="When the last folded write happened."
    ),
    comment="Revision per scope: what ETags and Last-Modified of packages are made from.",
)

revision_marks = Table(
    "revision_marks",
    metadata,
    Column("scope", Text, nullable=False, comment="Scope that was written; see revisions."),
    Column(
        "changed_at",
        TimestampTZ,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="When it was written.",
    ),
    Column(
        "step",
        BigInteger,
        nullable=False,
        server_default=text("(1 + random() * 1000000000)::bigint"),
        comment="Random, so that a write lost in a failover and the next one never lead to the"
        " same revision.",
    ),
    Index("ix_revision_marks_scope", "scope"),
    comment="Writes not folded into revisions yet. Append-only, so that writers of one document do"
    " not wait for each other.",
)

DEFINITIONS_SCOPE = ""
"""The revision scope of definitions, which are part of every package that refers to them."""

NODES_SCOPE = "/"
"""The revision scope of the existence of nodes, on which associations to other documents depend."""

mirrors = Table(
    "mirrors",
    metadata,
    Column("url", Text, primary_key=True, comment="URL of the source package."),
    Column("list_url", Text, comment="URL of the list that named the package, if a list did."),
    Column("document_identifier", Text, nullable=False, comment="The document of the local copy."),
    Column("etag", Text, comment="ETag that the source sent with the package."),
    Column("last_modified", Text, comment="Last-Modified that the source sent with the package."),
    Column("history", Text, nullable=False, comment="feed_history.identifier after the last sync."),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="Revision of the local copy after the last sync; another one means local changes.",
    ),
    Column("changed_at", TimestampTZ, nullable=False, comment="When that revision was written."),
    comment="Packages mirrored from other servers by sync.",
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True, comment="Key ID, as in the header of tokens."),
    Column("private_pem", Text, nullable=False, comment="RSA private key. Secret."),
    build_created_at_column(),
    comment="Keys of the local token issuer: the newest signs, all of them verify.",
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column(
        "jti",
        Text,
        primary_key=True,
        comment="Token ID (claim jti), or sha256: and the digest of a token without one.",
    ),
    Column(
        "expires_at",
        TimestampTZ,
        nullable=False,
        comment="When the token expires and the row is of no use any more.",
    ),
    comment="Tokens that are refused before they expire: those of signed-out sessions.",
)

clients = Table(
    "clients",
    metadata,
    Column("identifier", Text, primary_key=True, comment="client_id of token requests."),
    Column("name", Text, comment="What the client is for, as its owner described it."),
    Column("scopes", ARRAY(Text), nullable=False, comment="Scopes that it may ask for."),
    build_created_at_column(),
    comment="OAuth clients of the local issuer, besides the one from the settings.",
)

client_secrets = Table(
    "client_secrets",
    metadata,
    Column("hash", Text, primary_key=True, comment="Salted hash of the secret."),
    Column(
        "client_identifier",
        Text,
        ForeignKey("clients.identifier", ondelete="CASCADE"),
        nullable=False,
        index=True,
        comment="The client whose secret it is.",
    ),
    build_created_at_column(),
    Column("expires_at", TimestampTZ, comment="When the secret stops working; NULL: never."),
    comment="Secrets of clients; two per client while a secret is rotated.",
)


def get_table(resource: ResourceType) -> Table:
    """Return the table of a resource type's entities, such as ``items`` for CFItem."""
    return metadata.tables[resource.table]
