"""Save the rows of a database as a baseline in a second schema, and restore them.

A reset in test mode restores a baseline instead of cloning a database again, because a test writes
few rows and a new clone takes Postgres a tenth of a second or more. Every row is compared with
the baseline: new and changed rows are deleted, then missing rows are inserted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    FromClause,
    MetaData,
    Table,
    Text,
    and_,
    cast,
    delete,
    insert,
    select,
)

from ..connector import Connection
from ..pool import Database
from ..read import feed
from ..schema import tables
from ..schema.expressions import build_exists
from ..statement import CompiledStatement

BASELINE_SCHEMA = "case_server_baseline"

MAKE_DEFERRABLE = """
SELECT format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE', conrelid::regclass, conname)
FROM pg_constraint
WHERE contype = 'f' AND NOT condeferrable AND connamespace = current_schema()::regnamespace
"""
"""Statements that make foreign keys deferrable; they are still checked after each statement unless
a transaction defers them."""

SAVE_SEQUENCES = f"""
CREATE TABLE {BASELINE_SCHEMA}.sequences AS
SELECT format('%I.%I', schemaname, sequencename) AS name,
    coalesce(last_value, start_value) AS value, last_value IS NOT NULL AS called
FROM pg_sequences WHERE schemaname = current_schema()
"""  # noqa: S608  a constant
RESTORE_SEQUENCES = (
    f"PERFORM setval(name::regclass, value, called) FROM {BASELINE_SCHEMA}.sequences"
)
RESTORE = f"SELECT {BASELINE_SCHEMA}.restore()"


async def save_baseline(database: Database) -> None:
    """Save all rows and sequences of a database, so that ``restore_baseline`` can restore them.

    Replaces the previous baseline. This function and ``restore_baseline`` also reset the change
    feed, so that clients following it start over.
    """
    async with database.connection() as connection:
        await feed.reset_change_feed(connection)
        statements = [row[0] for row in await connection.fetch(MAKE_DEFERRABLE)]
        async with connection.transaction():
            # One message, because a round trip for each statement would take longer than they do.
            await connection.execute(";".join([*statements, *_build_save_statements()]))


async def restore_baseline(database: Database) -> None:
    """Restore all rows and sequences as ``save_baseline`` last saved them.

    Also resets the change feed. Nothing else may write to the database while this runs.
    """

    async def restore(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute(RESTORE)
        await feed.reset_change_feed(connection)

    await database.run_write_with_retry(restore, BASELINE_SCHEMA)


def _build_save_statements() -> Iterator[str]:
    yield f"DROP SCHEMA IF EXISTS {BASELINE_SCHEMA} CASCADE"
    yield f"CREATE SCHEMA {BASELINE_SCHEMA}"
    for table in tables.metadata.sorted_tables:
        columns = [table.c[column.name] for column in _build_baseline_table(table).columns]
        rows = CompiledStatement(select(*columns)).sql
        yield f"CREATE TABLE {BASELINE_SCHEMA}.{table.name} AS {rows}"
    # Without statistics, the planner would assume that the tables are large.
    yield f"ANALYZE {', '.join(f'{BASELINE_SCHEMA}.{name}' for name in tables.metadata.tables)}"
    yield SAVE_SEQUENCES
    # In a function they are planned once; planning takes longer than running them.
    yield (
        f"CREATE FUNCTION {BASELINE_SCHEMA}.restore() RETURNS void LANGUAGE plpgsql "
        f"AS $function$ BEGIN {_build_restore_statements()}; END $function$"
    )


@cache
def _build_restore_statements() -> str:
    sorted_tables = tables.metadata.sorted_tables
    statements = [
        "SET CONSTRAINTS ALL DEFERRED",
        *(_build_delete_of_changed_rows(table).sql for table in reversed(sorted_tables)),
        *(_build_insert_of_missing_rows(table).sql for table in sorted_tables),
        RESTORE_SEQUENCES,
    ]
    return ";".join(statements)


@cache
def _build_baseline_table(table: Table) -> FromClause:
    """Return the table of the baseline schema that contains the saved rows of ``table``.

    Its columns are those of ``table`` without generated columns, except for the primary key.
    """
    columns = (
        Column(column.name, column.type, primary_key=column.primary_key)
        for column in table.columns
        if column.computed is None or column.primary_key
    )
    return Table(table.name, MetaData(), *columns, schema=BASELINE_SCHEMA).alias("baseline")


def _build_delete_of_changed_rows(table: Table) -> CompiledStatement:
    baseline = _build_baseline_table(table)
    # Rows without a primary key cannot be compared, so all are deleted and inserted again.
    if not table.primary_key:
        return CompiledStatement(delete(table))
    is_equal = and_(*(_build_equality(table.c[column.name], column) for column in baseline.columns))
    return CompiledStatement(delete(table).where(~build_exists(is_equal)))


def _build_insert_of_missing_rows(table: Table) -> CompiledStatement:
    baseline = _build_baseline_table(table)
    stored = [column for column in baseline.columns if table.c[column.name].computed is None]
    missing_rows = select(*stored)
    if table.primary_key:
        # Changed rows were deleted before, so the remaining rows equal those of the baseline.
        is_equal = and_(*(table.c[column.name] == column for column in baseline.primary_key))
        missing_rows = missing_rows.where(~build_exists(is_equal))
    return CompiledStatement(
        insert(table).from_select([column.name for column in stored], missing_rows)
    )


def _build_equality(column: Column[Any], saved_value: ColumnElement[Any]) -> ColumnElement[bool]:
    if column.primary_key:
        return column == saved_value
    if isinstance(column.type, JSON):  # json has no equality operator
        return cast(column, Text).is_not_distinct_from(cast(saved_value, Text))
    return column.is_not_distinct_from(saved_value)
