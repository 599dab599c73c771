"""Sort lists by code points, whatever the collation of the database is."""

from __future__ import annotations

from alembic import op

revision = "2026_11_27_sort_collation"
down_revision = "2026_11_27_list_of_frameworks"
branch_labels = None
depends_on = None

COLUMNS = {"items": "folded_code", "documents": "folded_title"}


def upgrade() -> None:
    # Only rebuilds the two indexes of folded_code; the rows stay as they are.
    for table, column in COLUMNS.items():
        op.execute(f'ALTER TABLE {table} ALTER {column} TYPE text COLLATE "C"')


def downgrade() -> None:
    for table, column in COLUMNS.items():
        op.execute(f'ALTER TABLE {table} ALTER {column} TYPE text COLLATE "default"')
