"""Add the columns by which the web UI lists frameworks."""

from __future__ import annotations

from alembic import op

revision = "2026_11_27_list_of_frameworks"
down_revision = "2026_11_27_item_counts"
branch_labels = None
depends_on = None

SEARCHED = """
lower(coalesce(body ->> 'title', '') || ' ' || coalesce(body ->> 'creator', '')
    || ' ' || coalesce(body ->> 'publisher', ''))
"""
COLUMNS = {
    "folded_title": (
        "lower(body ->> 'title')",
        "Generated from the body: title in lower case.",
    ),
    "searched_text": (
        SEARCHED,
        "Generated from the body: title, creator and publisher in lower case.",
    ),
}


def upgrade() -> None:
    # Both columns in one statement, so that the table is rewritten only once.
    added = (
        f"ADD {name} text GENERATED ALWAYS AS ({value}) STORED"
        for name, (value, _) in COLUMNS.items()
    )
    op.execute(f"ALTER TABLE documents {', '.join(added)}")
    for name, (_, comment) in COLUMNS.items():
        op.execute(f"COMMENT ON COLUMN documents.{name} IS '{comment}'")


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("documents", name)
