"""What a copy held when it was made, kept beside it in a schema of its own, and the way back there.

A test writes little, and a new copy of a database takes Postgres a tenth of a second or more. So
every row is compared with what was kept: what is new or changed is deleted, then what is missing
is inserted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

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
    exists,
    insert,
    literal_column,
    select,
)

from ..read import feed
from ..schema import tables
from ..statement import CompiledStatement

if TYPE_CHECKING:
    from ..connector import Connection
    from ..pool import Database

BASELINE_SCHEMA = "case_server_kept"

UNDEFERRED = """
SELECT format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE', conrelid::regclass, conname)
FROM pg_constraint
WHERE contype = 'f' AND NOT condeferrable AND connamespace = current_schema()::regnamespace
"""
"""Statements after which references may be checked when a transaction ends; they still are checked
when a statement does, unless somebody asks otherwise."""

KEEP_SEQUENCES = f"""
CREATE TABLE {BASELINE_SCHEMA}.sequences AS
SELECT format('%I.%I', schemaname, sequencename) AS name,
    coalesce(last_value, start_value) AS value, last_value IS NOT NULL AS called
FROM pg_sequences WHERE schemaname = current_schema()
"""  # noqa: S608  a constant
SET_SEQUENCES = f"PERFORM setval(name::regclass, value, called) FROM {BASELINE_SCHEMA}.sequences"
GO_BACK = f"SELECT {BASELINE_SCHEMA}.go_back()"


async def save_baseline(database: Database) -> None:
    """Keep what the database holds now, in place of what was kept before.

    Whoever followed it is to begin anew, here and whenever it goes back.
    """
    async with database.connection() as connection:
        await feed.reset_history(connection)
        statements = [row[0] for row in await connection.fetch(UNDEFERRED)]
        async with connection.transaction():
            # Many statements at once: their way there and back would take longer than they.
            await connection.execute(";".join([*statements, *_keeping()]))


async def restore_baseline(database: Database) -> None:
    """Hold what was kept, row by row and number by number; nobody else may be writing."""

    async def work(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute(GO_BACK)
        await feed.reset_history(connection)

    await database.run_write(work, BASELINE_SCHEMA)


def _keeping() -> Iterator[str]:
    yield f"DROP SCHEMA IF EXISTS {BASELINE_SCHEMA} CASCADE"
    yield f"CREATE SCHEMA {BASELINE_SCHEMA}"
    for table in tables.metadata.sorted_tables:
        columns = [table.c[column.name] for column in _kept(table).columns]
        rows = CompiledStatement(select(*columns)).sql
        yield f"CREATE TABLE {BASELINE_SCHEMA}.{table.name} AS {rows}"
    # Tables nobody counted are taken for large, and looked through accordingly.
    yield f"ANALYZE {', '.join(f'{BASELINE_SCHEMA}.{name}' for name in tables.metadata.tables)}"
    yield KEEP_SEQUENCES
    # Planning these statements takes longer than they do; those of a function are planned once.
    yield (
        f"CREATE FUNCTION {BASELINE_SCHEMA}.go_back() RETURNS void LANGUAGE plpgsql "
        f"AS $function$ BEGIN {_going_back()}; END $function$"
    )


@cache
def _going_back() -> str:
    sorted_tables = tables.metadata.sorted_tables
    statements = [
        "SET CONSTRAINTS ALL DEFERRED",
        *(_deleting(table).sql for table in reversed(sorted_tables)),
        *(_inserting(table).sql for table in sorted_tables),
        SET_SEQUENCES,
    ]
    return ";".join(statements)


@cache
def _kept(table: Table) -> FromClause:
    """What was kept of a table: its key, and all that Postgres does not compute."""
    columns = (
        Column(column.name, column.type, primary_key=column.primary_key)
        for column in table.columns
        if column.computed is None or column.primary_key
    )
    return Table(table.name, MetaData(), *columns, schema=BASELINE_SCHEMA).alias("was")


def _deleting(table: Table) -> CompiledStatement:
    """Delete what is new or changed.

    Rows without a key cannot be told from their like, so they all go, and come again.
    """
    kept = _kept(table)
    if not table.primary_key:
        return CompiledStatement(delete(table))
    same = and_(*(_equal(table.c[column.name], column) for column in kept.columns))
    return CompiledStatement(delete(table).where(~exists(literal_column("1")).where(same)))


def _inserting(table: Table) -> CompiledStatement:
    """Insert what is missing; after the deletion, whatever has its key is what was kept."""
    kept = _kept(table)
    wanted = [column for column in kept.columns if table.c[column.name].computed is None]
    missing = select(*wanted)
    if table.primary_key:
        same = and_(*(table.c[column.name] == column for column in kept.primary_key))
        missing = missing.where(~exists(literal_column("1")).where(same))
    return CompiledStatement(insert(table).from_select([column.name for column in wanted], missing))


def _equal(one: Column[Any], other: ColumnElement[Any]) -> ColumnElement[bool]:
    if one.primary_key:
        return one == other
    if isinstance(one.type, JSON):  # which knows no equality
        return cast(one, Text).is_not_distinct_from(cast(other, Text))
    return one.is_not_distinct_from(other)
