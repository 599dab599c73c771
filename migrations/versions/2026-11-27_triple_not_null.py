"""Forbid NULL in the unique triple, and number criteria and levels within their rubric."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_27_triple_not_null"
down_revision = "2026_11_27_revoked_tokens"
branch_labels = None
depends_on = None

TRIPLE = ("origin_identifier", "destination_identifier", "association_type")
SIBLINGS = {
    "rubrics": "document_identifier",
    "rubric_criteria": "rubric_identifier",
    "rubric_criterion_levels": "criterion_identifier",
}


INCOMPLETE = " OR ".join(f"{column} IS NULL" for column in TRIPLE)
FIND = f"SELECT identifier FROM associations WHERE {INCOMPLETE} ORDER BY 1 LIMIT 10"  # noqa: S608  no input
NUMBER = """
UPDATE {table} SET ordinal = numbered.ordinal FROM (
    SELECT identifier, row_number() OVER (PARTITION BY {parent} ORDER BY ordinal) - 1 AS ordinal
    FROM {table}
) AS numbered
WHERE numbered.identifier = {table}.identifier AND numbered.ordinal <> {table}.ordinal"""


def upgrade() -> None:
    if names := op.get_bind().execute(sa.text(FIND)).scalars().all():
        # The server never stored such a body, so it was written with SQL.
        raise RuntimeError(
            f"associations without an origin, a destination or a type: {', '.join(names)}; "
            f"delete them where {INCOMPLETE}, then migrate again"
        )
    for column in TRIPLE:
        op.alter_column("associations", column, nullable=False)
    for table, parent in SIBLINGS.items():
        op.execute(NUMBER.format(table=table, parent=parent))


def downgrade() -> None:
    for column in TRIPLE:
        op.alter_column("associations", column, nullable=True)
