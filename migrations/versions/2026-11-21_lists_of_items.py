"""Add columns and indexes for filtering and sorting lists of items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_21_lists_of_items"
down_revision = "2026_11_21_search"
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")
CODE = "left(lower(body ->> 'humanCodingScheme'), 200)"
CHANGED = "date_trunc('milliseconds', timezone('UTC', last_change_date_time))"
DOCUMENT = "lower((body -> 'CFDocumentURI') ->> 'identifier')"

INDEXES: dict[str, list[str | sa.TextClause]] = {
    "ix_items_live": ["identifier"],
    "ix_items_code": ["folded_code", "identifier"],
    "ix_items_changed": ["changed_at", "identifier"],
    "ix_items_document_link": [sa.text(DOCUMENT)],
}


def upgrade() -> None:
    # Both columns in one statement, so that the table is rewritten only once.
    op.execute(
        f"ALTER TABLE items ADD folded_code text GENERATED ALWAYS AS ({CODE}) STORED,"
        f" ADD changed_at timestamp GENERATED ALWAYS AS ({CHANGED}) STORED"
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "items", columns, postgresql_where=LIVE)


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS ix_items_statement_trigrams")
    for name in INDEXES:
        op.drop_index(name, "items")
    op.drop_column("items", "changed_at")
    op.drop_column("items", "folded_code")
