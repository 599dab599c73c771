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
    Computed,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR

from ...case.resources import DEFINITIONS, ResourceType
from .columns import (
    ORDINAL_START,
    TimestampTZ,
    build_body_columns,
    build_column,
    build_definition_table,
    build_document_id_column,
    build_entity_table,
    build_generated_column,
    build_link_table,
    build_position_index,
    build_reference_column,
    build_soft_delete_column_and_index,
    build_timestamp_column,
    metadata,
)
from .list_indexes import DOCUMENT_LIST_COLUMNS, ITEM_LIST_COLUMNS

__all__ = ["ORDINAL_START", "TimestampTZ", "metadata"]  # re-exported from columns

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

concepts = build_definition_table("concepts", "CFConcept: topics of items", has_hierarchy=True)
subjects = build_definition_table(
    "subjects", "CFSubject: subjects of documents and items", has_hierarchy=True
)
licenses = build_definition_table("licenses", "CFLicense: licences of documents and items")
item_types = build_definition_table("item_types", "CFItemType: kinds of items", has_hierarchy=True)
association_groupings = build_definition_table(
    "association_groupings", "CFAssociationGrouping: named groups of associations"
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
    build_reference_column(
        "document_identifier",
        "documents.identifier",
        "The document of the package.",
        primary_key=True,
    ),
    build_column(
        "identifier",
        Text,
        "The CFPackageURI.identifier of the document, or the document's identifier.",
        unique=True,
    ),
    build_column("extensions", JSON, "extensions of the CFPackage.", nullable=True),
    build_column(
        "definition_extensions", JSON, "extensions of the package's CFDefinitions.", nullable=True
    ),
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
    build_position_index("items"),
    build_column(
        "search",
        TSVECTOR,
        "Generated from the body: the words of humanCodingScheme, fullStatement and"
        " conceptKeywords.",
        Computed(SEARCH_VECTOR, persisted=True),
        nullable=True,
    ),
    Index("ix_items_search", "search", postgresql_using="gin"),
    comment="CFItem: the competency statements of all frameworks.",
)

item_counts = Table(
    "item_counts",
    metadata,
    build_column("document_identifier", Text, "The document that the items belong to."),
    build_column(
        "live_items",
        BigInteger,
        "Number of live items that a statement added to the document; negative if it removed some.",
    ),
    build_column(
        "is_sum",
        Boolean,
        "Whether the row replaces all earlier rows of the document.",
        server_default=text("false"),
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
    build_position_index("associations"),
    Index("ix_associations_destination", "destination_identifier"),
    comment="CFAssociation: typed relations between nodes. Deleted for good, not softly.",
)

rubrics = build_entity_table(
    "rubrics",
    build_document_id_column(),
    *build_soft_delete_column_and_index("rubrics"),
    build_position_index("rubrics"),
    comment="CFRubric: the rubrics of all frameworks; their criteria are rows of rubric_criteria.",
)

rubric_criteria = Table(
    "rubric_criteria",
    metadata,
    *build_body_columns(),
    build_reference_column(
        "rubric_identifier",
        "rubrics.identifier",
        "The rubric that the criterion belongs to.",
        index=True,
    ),
    comment="CFRubricCriterion: the criteria of rubrics.",
)

rubric_criterion_levels = Table(
    "rubric_criterion_levels",
    metadata,
    *build_body_columns(),
    build_reference_column(
        "criterion_identifier",
        "rubric_criteria.identifier",
        "The criterion that the level belongs to.",
        ondelete="CASCADE",
        index=True,
    ),
    comment="CFRubricCriterionLevel: the levels of criteria.",
)

document_subjects = build_link_table(
    "document_subjects",
    {"document_identifier": "documents.identifier", "subject_identifier": "subjects.identifier"},
    comment="subjectURI of documents.",
)
item_subjects = build_link_table(
    "item_subjects",
    {"item_identifier": "items.identifier", "subject_identifier": "subjects.identifier"},
    comment="subjectURI of items.",
)
item_concepts = build_link_table(
    "item_concepts",
    {"item_identifier": "items.identifier", "concept_identifier": "concepts.identifier"},
    comment="conceptKeywordsURI of items: every concept ever linked, because links are additive.",
)

package_definitions = {
    resource.name: build_link_table(
        f"package_{resource.table}",
        {
            "document_identifier": "packages.document_identifier",
            "definition_identifier": f"{resource.table}.identifier",
        },
        comment=f"{resource.collection} that an upload of a package defined, referred to or not.",
    )
    for resource in DEFINITIONS
}

changes = Table(
    "changes",
    metadata,
    build_column(
        "sequence",
        BigInteger,
        "Order of insertion. Rows become visible out of order: a follower compares transaction_id"
        " with a snapshot.",
        Identity(),
        primary_key=True,
    ),
    build_column(
        "transaction_id",
        BigInteger,
        "The transaction that wrote the change, as pg_current_xact_id() returned it.",
        server_default=text("pg_current_xact_id()::text::bigint"),
    ),
    build_column(
        "document_identifier",
        Text,
        "The document that the entity belongs to; NULL for definitions.",
        nullable=True,
    ),
    build_column("kind", Text, "Class of the entity, such as CFItem."),
    build_column("identifier", Text, "Identifier of the entity."),
    build_column("operation", Text, "create, update, delete or revive (undelete)."),
    build_timestamp_column("changed_at", "When the change was written."),
    # The history of one document.
    Index("ix_changes_document", "document_identifier", "changed_at"),
    # The changes after a cursor of the change feed.
    Index("ix_changes_transaction", "transaction_id"),
    comment="Change feed, append-only: one row per entity and write, inserted by the statement"
    " that wrote the entity.",
)

CREATE, UPDATE, DELETE, REVIVE = "create", "update", "delete", "revive"
"""The values of ``changes.operation``. To revive is to undelete: the entity was soft-deleted."""

feed_history = Table(
    "feed_history",
    metadata,
    build_column(
        "identifier",
        Text,
        "Part of every cursor of the feed; a restored database gets a new one.",
        primary_key=True,
        server_default=text("gen_random_uuid()::text"),
    ),
    build_column(
        "timeline",
        Text,
        "WAL timeline that the primary server recorded last; each failover starts a new one. Part"
        " of every cursor of the feed.",
        server_default=text("'00000000'"),
    ),
    comment="One row: identifies the history of the change feed, so that the server can reject"
    " cursors of another history.",
)

revisions = Table(
    "revisions",
    metadata,
    build_column(
        "scope",
        Text,
        "A document's identifier, '' for all definitions, or '/' for the existence of nodes.",
        primary_key=True,
    ),
    build_column(
        "version",
        BigInteger,
        "Sum of the steps moved here from revision_marks; the revision is this sum plus the steps"
        " that remain there.",
    ),
    build_column(
        "changed_at", TimestampTZ, "When the last write whose step is in version happened."
    ),
    comment="Revision per scope: what ETags and Last-Modified of packages are made from.",
)

revision_marks = Table(
    "revision_marks",
    metadata,
    build_column("scope", Text, "Scope that was written; see revisions."),
    build_timestamp_column("changed_at", "When it was written."),
    build_column(
        "step",
        BigInteger,
        "Random, so that a write lost in a failover and the next one never lead to the same"
        " revision.",
        server_default=text("(1 + random() * 1000000000)::bigint"),
    ),
    Index("ix_revision_marks_scope", "scope"),
    comment="Writes not added to revisions yet. Append-only, so that writers of one document do"
    " not wait for each other.",
)

DEFINITIONS_SCOPE = ""
"""The revision scope of definitions, which are part of every package that refers to them."""

NODES_SCOPE = "/"
"""The revision scope of the existence of nodes, on which associations to other documents depend."""

mirrors = Table(
    "mirrors",
    metadata,
    build_column("url", Text, "URL of the source package.", primary_key=True),
    build_column(
        "list_url", Text, "URL of the list that named the package, if a list did.", nullable=True
    ),
    build_column("document_identifier", Text, "The document of the local copy."),
    build_column("etag", Text, "ETag that the source sent with the package.", nullable=True),
    build_column(
        "last_modified", Text, "Last-Modified that the source sent with the package.", nullable=True
    ),
    build_column("history", Text, "feed_history.identifier after the last sync."),
    build_column(
        "revision",
        BigInteger,
        "Revision of the local copy after the last sync; another one means local changes.",
    ),
    build_column("changed_at", TimestampTZ, "When that revision was written."),
    comment="Packages mirrored from other servers by sync.",
)

signing_keys = Table(
    "signing_keys",
    metadata,
    build_column("kid", Text, "Key ID, as in the header of tokens.", primary_key=True),
    build_column("private_pem", Text, "RSA private key. Secret."),
    build_timestamp_column("created_at", "When the row was inserted."),
    comment="Keys of the local token issuer: the newest signs, all of them verify.",
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    build_column(
        "jti",
        Text,
        "Token ID (claim jti), or sha256: and the digest of a token without one.",
        primary_key=True,
    ),
    build_column(
        "expires_at", TimestampTZ, "When the token expires and the row is no longer needed."
    ),
    comment="Tokens that are refused before they expire: those of signed-out sessions.",
)

clients = Table(
    "clients",
    metadata,
    build_column("identifier", Text, "client_id of token requests.", primary_key=True),
    build_column("name", Text, "What the client is for, as its owner described it.", nullable=True),
    build_column("scopes", ARRAY(Text), "Scopes that the client may request."),
    build_timestamp_column("created_at", "When the row was inserted."),
    comment="OAuth clients of the local issuer, besides the one from the settings.",
)

client_secrets = Table(
    "client_secrets",
    metadata,
    build_column("hash", Text, "Salted hash of the secret.", primary_key=True),
    build_reference_column(
        "client_identifier",
        "clients.identifier",
        "The client whose secret it is.",
        ondelete="CASCADE",
        index=True,
    ),
    build_timestamp_column("created_at", "When the row was inserted."),
    build_column(
        "expires_at", TimestampTZ, "When the secret stops working; NULL: never.", nullable=True
    ),
    comment="Secrets of clients; two per client while a secret is rotated.",
)


def get_table(resource: ResourceType) -> Table:
    """Return the table that stores the entities of a type, such as ``items`` for CFItem."""
    return metadata.tables[resource.table]


def get_document_column(table: Table) -> Column[str]:
    """Return the column of an entity table that contains the identifier of the document.

    It is ``identifier`` in the table ``documents`` and ``document_identifier`` in others.
    """
    return table.c.identifier if table is documents else table.c.document_identifier
