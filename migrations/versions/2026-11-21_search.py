"""Add the search vector of items: code, statement and keywords."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_21_search"
down_revision = "2026_11_21_clients"
branch_labels = None
depends_on = None

SEARCHED = """
to_tsvector(
    'simple'::regconfig,
    left(
        translate(coalesce(body ->> 'humanCodingScheme', ''), './:_-', '     ')
        || ' ' || replace(body ->> 'fullStatement', '/', ' ')
        || ' ' || coalesce(body ->> 'conceptKeywords', ''),
        100000
    )
) || array_to_tsvector(ARRAY['=' || lower(left(coalesce(body ->> 'humanCodingScheme', ''), 200))])
"""


def upgrade() -> None:
    words = sa.Computed(SEARCHED, persisted=True)
    op.add_column("items", sa.Column("search", postgresql.TSVECTOR(), words))
    op.create_index("ix_items_search", "items", ["search"], postgresql_using="gin")


def downgrade() -> None:
    op.drop_index("ix_items_search", "items")
    op.drop_column("items", "search")
