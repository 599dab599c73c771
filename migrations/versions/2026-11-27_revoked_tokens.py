"""Add revoked tokens, such as those of sessions that were signed out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_27_revoked_tokens"
down_revision = "2026_11_27_comments_and_views"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revoked_tokens",
        sa.Column(
            "jti",
            sa.Text(),
            nullable=False,
            comment="Token ID (claim jti), or sha256: and the digest of a token without one.",
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the token expires and the row is of no use any more.",
        ),
        sa.PrimaryKeyConstraint("jti", name="pk_revoked_tokens"),
        comment="Tokens that are refused before they expire: those of signed-out sessions.",
    )


def downgrade() -> None:
    op.drop_table("revoked_tokens")
