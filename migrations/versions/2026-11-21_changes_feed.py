"""Add the change feed, the revisions of packages and the sources of mirrored documents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_21_changes_feed"
down_revision = "2026_11_21_initial"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)
NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.drop_index("ix_changes_document", "changes")
    op.create_index("ix_changes_entity", "changes", ["identifier", "kind", "sequence"])
    op.create_index("ix_changes_transaction", "changes", ["transaction_id"])
    op.create_table(
        "feed_history",
        sa.Column("identifier", sa.Text(), server_default=sa.text("gen_random_uuid()::text")),
        sa.PrimaryKeyConstraint("identifier", name="pk_feed_history"),
    )
    op.execute("INSERT INTO feed_history DEFAULT VALUES")
    op.create_table(
        "revisions",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_revisions"),
    )
    op.create_table(
        "revision_marks",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("changed_at", MOMENT, server_default=NOW, nullable=False),
    )
    op.create_index("ix_revision_marks_scope", "revision_marks", ["scope"])
    op.create_table(
        "mirrors",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("list_url", sa.Text()),
        sa.Column("document_identifier", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text()),
        sa.Column("last_modified", sa.Text()),
        sa.Column("history", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("url", name="pk_mirrors"),
    )


def downgrade() -> None:
    for name in ("mirrors", "revision_marks", "revisions", "feed_history"):
        op.drop_table(name)
    op.drop_index("ix_changes_transaction", "changes")
    op.drop_index("ix_changes_entity", "changes")
    op.create_index("ix_changes_document", "changes", ["document_identifier", "sequence"])
