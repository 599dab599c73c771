"""Drop the index of changes that only purges used and that slowed every write."""

from __future__ import annotations

from alembic import op

revision = "2026_11_21_fewer_indexes"
down_revision = "2026_11_21_definitions_later"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_changes_entity", "changes")


def downgrade() -> None:
    op.create_index("ix_changes_entity", "changes", ["identifier", "kind", "sequence"])
