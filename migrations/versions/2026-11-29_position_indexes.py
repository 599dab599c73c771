"""Add the identifier to the indexes of positions, which sorts entities at the same position."""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_position_indexes"
down_revision = "2026_11_28_plain_comments"
branch_labels = None
depends_on = None

TABLES = ("items", "associations", "rubrics")


def upgrade() -> None:
    for table in TABLES:
        _replace_index(table, "document_identifier", "ordinal", "identifier")


def downgrade() -> None:
    for table in TABLES:
        _replace_index(table, "document_identifier", "ordinal")


def _replace_index(table: str, *columns: str) -> None:
    name = f"ix_{table}_document"
    op.drop_index(name, table)
    op.create_index(name, table, columns)
