"""Index the changes by document."""

from __future__ import annotations

from alembic import op

revision = "2026_11_21_changes_of_a_document"
down_revision = "2026_11_21_lists_of_items"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_changes_document", "changes", ["document_identifier", "changed_at"])


def downgrade() -> None:
    op.drop_index("ix_changes_document", "changes")
