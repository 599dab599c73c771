"""Add the OAuth clients of the local issuer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_21_clients"
down_revision = "2026_11_21_changes_feed"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("identifier", name="pk_clients"),
    )
    op.create_table(
        "client_secrets",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("client_identifier", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.ForeignKeyConstraint(
            ["client_identifier"],
            ["clients.identifier"],
            name="fk_client_secrets_client_identifier",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("hash", name="pk_client_secrets"),
    )
    op.create_index("ix_client_secrets_client_identifier", "client_secrets", ["client_identifier"])


def downgrade() -> None:
    op.drop_table("client_secrets")
    op.drop_table("clients")
