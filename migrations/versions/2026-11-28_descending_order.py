"""Sort equal keys of descending lists by descending identifier, which needs one index less."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_descending_order"
down_revision = "2026_11_28_filter_keys"
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")
CODE = sa.text("folded_code DESC NULLS LAST")


def upgrade() -> None:
    # ix_items_changed, read backwards, has the descending order.
    op.drop_index("ix_items_changed_descending", "items")
    op.drop_index("ix_items_code_descending", "items")
    op.create_index(
        "ix_items_code_descending",
        "items",
        [CODE, sa.text("identifier DESC")],
        postgresql_where=LIVE,
    )


def downgrade() -> None:
    op.drop_index("ix_items_code_descending", "items")
    op.create_index(
        "ix_items_code_descending", "items", [CODE, "identifier"], postgresql_where=LIVE
    )
    op.create_index(
        "ix_items_changed_descending",
        "items",
        [sa.text("changed_at DESC"), "identifier"],
        postgresql_where=LIVE,
    )
