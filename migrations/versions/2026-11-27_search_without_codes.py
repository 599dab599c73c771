"""Leave the whole code out of the search vector of items; searches use the index of codes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_27_search_without_codes"
down_revision = "2026_11_27_sort_collation"
branch_labels = None
depends_on = None

WORDS = """
to_tsvector(
    'simple'::regconfig,
    left(
        translate(coalesce(body ->> 'humanCodingScheme', ''), './:_-', '     ')
        || ' ' || replace(body ->> 'fullStatement', '/', ' ')
        || ' ' || coalesce(body ->> 'conceptKeywords', ''),
        100000
    )
)
"""
CODE = (
    "array_to_tsvector(ARRAY['=' || lower(left(coalesce(body ->> 'humanCodingScheme', ''), 200))])"
)
COMMENT = (
    "Generated from the body: the words of humanCodingScheme, fullStatement and conceptKeywords"
)


def upgrade() -> None:
    _replace_column(WORDS, f"{COMMENT}.")


def downgrade() -> None:
    _replace_column(f"{WORDS} || {CODE}", f"{COMMENT}, and the whole code after an equals sign.")


def _replace_column(expression: str, comment: str) -> None:
    """Replace the column, because Postgres 16 and older cannot change the expression of one."""
    op.drop_column("items", "search")
    generated = sa.Computed(expression, persisted=True)
    op.add_column("items", sa.Column("search", postgresql.TSVECTOR(), generated, comment=comment))
    op.create_index("ix_items_search", "items", ["search"], postgresql_using="gin")
