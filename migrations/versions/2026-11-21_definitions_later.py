"""Make foreign keys to definitions deferrable, so that packages are written in any order."""

from __future__ import annotations

from alembic import op

revision = "2026_11_21_definitions_later"
down_revision = "2026_11_21_changes_of_a_document"
branch_labels = None
depends_on = None

REFERENCES = (
    ("documents", "license_identifier"),
    ("items", "item_type_identifier"),
    ("items", "license_identifier"),
    ("associations", "grouping_identifier"),
)


def upgrade() -> None:
    alter_constraints("DEFERRABLE")


def downgrade() -> None:
    alter_constraints("NOT DEFERRABLE")


def alter_constraints(clause: str) -> None:
    for table, column in REFERENCES:
        op.execute(f"ALTER TABLE {table} ALTER CONSTRAINT fk_{table}_{column} {clause}")
