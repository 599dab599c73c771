"""Add columns to the SQL views, and drop them: a new field of the standard needs both.

Postgres stores the definition of a view, so a migration need not repeat the other columns.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

FROM_CLAUSE = "\n   FROM "
"""Starts the FROM clause in what pg_get_viewdef returns; those of subqueries are indented more."""

COLUMN_START = re.compile(r",\n    (?=\S)")
"""Starts each column but the first; the lines of an expression are indented more."""


def add_view_column(view: str, column: str, expression: str) -> None:
    """Add a column at the end of a view, which keeps its grants and its comment.

    ``expression`` is SQL over the columns of the view's table: ``body ->> 'colour'``.
    """
    columns, tail = _read_definition(view)
    _execute(
        f"CREATE OR REPLACE VIEW {view} AS {columns},\n    {expression} AS {column}"
        f"{FROM_CLAUSE}{tail}"
    )


def drop_view_column(view: str, column: str) -> None:
    """Drop the last column of a view, which loses its grants: grant them again afterwards.

    ``CREATE OR REPLACE VIEW`` cannot drop a column, so the view is dropped and created again with
    its comment. Raises ``ValueError`` if ``column`` is not the last one.
    """
    columns, tail = _read_definition(view)
    end = max((match.start() for match in COLUMN_START.finditer(columns)), default=0)
    if not re.search(rf"\b{re.escape(column)}\Z", columns[end:]):
        raise ValueError(f"{column} is not the last column of {view}")
    comment = op.get_bind().scalar(
        sa.text("SELECT quote_literal(obj_description(CAST(:view AS regclass)))"), {"view": view}
    )
    _execute(f"DROP VIEW {view}")
    _execute(f"CREATE VIEW {view} AS {columns[:end]}{FROM_CLAUSE}{tail}")
    _execute(f"COMMENT ON VIEW {view} IS {comment or 'NULL'}")


def _read_definition(view: str) -> tuple[str, str]:
    """Return the SELECT list of a view, with SELECT, and what follows its first FROM."""
    definition = op.get_bind().scalar(
        sa.text("SELECT pg_get_viewdef(CAST(:view AS regclass))"), {"view": view}
    )
    columns, _, tail = str(definition).partition(FROM_CLAUSE)
    return columns, tail


def _execute(statement: str) -> None:
    # A colon in an expression would be a parameter to op.execute.
    op.get_bind().exec_driver_sql(statement)
