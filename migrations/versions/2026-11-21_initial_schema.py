"""Create the tables of frameworks, definitions, changes and signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_21_initial"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
NOW = sa.text("clock_timestamp()")


def from_body(name: str, *path: str) -> sa.Column[str]:
    steps = "".join(f" -> '{step}'" for step in path[:-1]) + f" ->> '{path[-1]}'"
    return sa.Column(name, sa.Text(), sa.Computed(f"body{steps}", persisted=True))


def key(
    table: str, column: str, references: str, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}"
    return sa.ForeignKeyConstraint([column], [references], name=name, ondelete=ondelete)


def create_bodies(name: str, *schema_items: sa.schema.SchemaItem) -> None:
    op.create_table(
        name,
        from_body("identifier", "identifier"),
        sa.Column("ordinal", sa.BigInteger(), sa.Identity(start=10**12), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        *schema_items,
        sa.PrimaryKeyConstraint("identifier", name=f"pk_{name}"),
    )


def create_entities(name: str, *schema_items: sa.schema.SchemaItem) -> None:
    create_bodies(name, sa.Column("last_change_date_time", MOMENT, nullable=False), *schema_items)


def create_deletable(name: str, *schema_items: sa.schema.SchemaItem) -> None:
    create_entities(name, *schema_items, sa.Column("deleted_at", MOMENT))
    is_deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index(f"ix_{name}_deleted", name, ["identifier"], postgresql_where=is_deleted)


def create_links(name: str, owner: tuple[str, str], target: tuple[str, str]) -> None:
    columns = [column for column, _ in (owner, target)]
    op.create_table(
        name,
        *(sa.Column(column, sa.Text(), nullable=False) for column in columns),
        *(key(name, column, references) for column, references in (owner, target)),
        sa.PrimaryKeyConstraint(*columns, name=f"pk_{name}"),
    )


def create_definitions() -> None:
    for name in ("concepts", "subjects", "item_types"):
        create_deletable(name, from_body("hierarchy_code", "hierarchyCode"))
    for name in ("licenses", "association_groupings"):
        create_deletable(name)


def create_documents() -> None:
    create_deletable(
        "documents",
        from_body("license_identifier", "licenseURI", "identifier"),
        key("documents", "license_identifier", "licenses.identifier"),
    )
    op.create_table(
        "packages",
        sa.Column("document_identifier", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("extensions", sa.JSON()),
        sa.Column("definition_extensions", sa.JSON()),
        key("packages", "document_identifier", "documents.identifier"),
        sa.PrimaryKeyConstraint("document_identifier", name="pk_packages"),
        sa.UniqueConstraint("identifier", name="uq_packages_identifier"),
    )


def create_items() -> None:
    create_deletable(
        "items",
        sa.Column("document_identifier", sa.Text(), nullable=False),
        from_body("item_type_identifier", "CFItemTypeURI", "identifier"),
        from_body("license_identifier", "licenseURI", "identifier"),
        key("items", "document_identifier", "documents.identifier"),
        key("items", "item_type_identifier", "item_types.identifier"),
        key("items", "license_identifier", "licenses.identifier"),
    )
    op.create_index("ix_items_document", "items", ["document_identifier", "ordinal"])


def create_associations() -> None:
    create_entities(
        "associations",
        sa.Column("document_identifier", sa.Text()),
        from_body("association_type", "associationType"),
        from_body("origin_identifier", "originNodeURI", "identifier"),
        from_body("destination_identifier", "destinationNodeURI", "identifier"),
        from_body("grouping_identifier", "CFAssociationGroupingURI", "identifier"),
        key("associations", "document_identifier", "documents.identifier"),
        key("associations", "grouping_identifier", "association_groupings.identifier"),
        sa.UniqueConstraint(
            "origin_identifier",
            "destination_identifier",
            "association_type",
            name="uq_associations_triple",
            deferrable=True,
            initially="IMMEDIATE",
        ),
    )
    op.create_index("ix_associations_document", "associations", ["document_identifier", "ordinal"])
    op.create_index("ix_associations_destination", "associations", ["destination_identifier"])


def create_rubrics() -> None:
    create_deletable(
        "rubrics",
        sa.Column("document_identifier", sa.Text(), nullable=False),
        key("rubrics", "document_identifier", "documents.identifier"),
    )
    op.create_index("ix_rubrics_document", "rubrics", ["document_identifier", "ordinal"])
    create_bodies(
        "rubric_criteria",
        sa.Column("rubric_identifier", sa.Text(), nullable=False),
        key("rubric_criteria", "rubric_identifier", "rubrics.identifier"),
    )
    op.create_index(
        "ix_rubric_criteria_rubric_identifier", "rubric_criteria", ["rubric_identifier"]
    )
    create_bodies(
        "rubric_criterion_levels",
        sa.Column("criterion_identifier", sa.Text(), nullable=False),
        key(
            "rubric_criterion_levels",
            "criterion_identifier",
            "rubric_criteria.identifier",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_rubric_criterion_levels_criterion_identifier",
        "rubric_criterion_levels",
        ["criterion_identifier"],
    )


def create_all_links() -> None:
    document = ("document_identifier", "documents.identifier")
    item = ("item_identifier", "items.identifier")
    subject = ("subject_identifier", "subjects.identifier")
    create_links("document_subjects", document, subject)
    create_links("item_subjects", item, subject)
    create_links("item_concepts", item, ("concept_identifier", "concepts.identifier"))
    for name in DEFINITIONS:
        create_links(
            f"package_{name}",
            ("document_identifier", "packages.document_identifier"),
            ("definition_identifier", f"{name}.identifier"),
        )


def create_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("sequence", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.Column("document_identifier", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("changed_at", MOMENT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_changes"),
    )
    op.create_index("ix_changes_document", "changes", ["document_identifier", "sequence"])


def create_signing_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("private_pem", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_keys"),
    )


DEFINITIONS = ("concepts", "subjects", "licenses", "item_types", "association_groupings")


def upgrade() -> None:
    create_definitions()
    create_documents()
    create_items()
    create_associations()
    create_rubrics()
    create_all_links()
    create_changes()
    create_signing_keys()


def downgrade() -> None:
    links = [f"package_{name}" for name in DEFINITIONS]
    links += ["item_concepts", "item_subjects", "document_subjects"]
    rubrics = ["rubric_criterion_levels", "rubric_criteria", "rubrics"]
    entities = ["associations", "items", "packages", "documents", *DEFINITIONS]
    for name in ["signing_keys", "changes", *links, *rubrics, *entities]:
        op.drop_table(name)
