"""Store the numbers of live items, and index the descending orders of items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_27_item_counts"
down_revision = "2026_11_27_failover"
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")
INDEXES: dict[str, list[str | sa.TextClause]] = {
    "ix_items_code_descending": [sa.text("folded_code DESC NULLS LAST"), "identifier"],
    "ix_items_changed_descending": [sa.text("changed_at DESC"), "identifier"],
}


def upgrade() -> None:
    op.create_table(
        "item_counts",
        sa.Column(
            "document_identifier",
            sa.Text(),
            nullable=False,
            comment="The document that the items belong to.",
        ),
        sa.Column(
            "live_items",
            sa.BigInteger(),
            nullable=False,
            comment="Number of live items that a statement added to the document; negative if it"
            " removed some.",
        ),
        sa.Column(
            "is_sum",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether the row replaces all earlier rows of the document.",
        ),
        comment="Numbers of live items per document, to be added up. Append-only, so that writers"
        " of one document do not wait for each other.",
    )
    op.create_index("ix_item_counts_document", "item_counts", ["document_identifier"])
    # Until the end of the transaction, so that no server of an earlier release writes items that
    # are not counted.
    op.execute("LOCK TABLE items IN SHARE MODE")
    op.execute(
        "INSERT INTO item_counts SELECT document_identifier, count(*), true FROM items"
        " WHERE deleted_at IS NULL GROUP BY document_identifier"
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "items", columns, postgresql_where=LIVE)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "items")
    op.drop_table("item_counts")
