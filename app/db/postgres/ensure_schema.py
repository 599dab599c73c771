"""Check that a database can be used by this release, and migrate it where that is allowed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ... import __version__
from ...exceptions import StartupError
from ..connector import connection_to
from ..read.feed import reset_history_if_restored
from ..schema import tables, version
from .diagnosis import READ_ONLY, startup_error

if TYPE_CHECKING:
    from ..connector import DirectConnection

NO_SCHEMA = """
SELECT current_user AS role, current_setting('search_path') AS search_path,
    coalesce((
        SELECT min(nspname) FROM pg_namespace
        WHERE nspname = ANY (string_to_array(
            replace(replace(current_setting('search_path'), '"', ''), ' ', ''), ','))
    ), '') AS name
WHERE current_schema() IS NULL"""
"""A row where the role may use no schema: who it is, and the schema that it lacks the right to."""

MISSING_RIGHTS = """
SELECT current_user AS role, current_schema() AS schema,
    current_setting('transaction_read_only') = 'on' AS read_only,
    has_schema_privilege(current_schema(), 'CREATE') AS creates,
    current_database() AS database,
    has_database_privilege(current_database(), 'TEMPORARY') AS stages,
    (SELECT string_agg(name, ', ') FROM unnest($1::text[]) AS name
     WHERE NOT has_table_privilege(to_regclass(name), 'SELECT')
        OR NOT has_table_privilege(to_regclass(name), 'INSERT')
        OR NOT has_table_privilege(to_regclass(name), 'UPDATE')
        OR NOT has_table_privilege(to_regclass(name), 'DELETE')) AS tables"""
"""What a role may do in the schema it works in; tables that are not there are left out."""


def ensure_schema(url: str, *, may_migrate: bool, explicit: bool, will_write: bool = True) -> None:
    """Check the database at ``url``, and migrate it if it needs that and it is ``allowed``.

    ``asked``: whether the user asked for a migration. ``writes``: whether the command is going to
    write. Raises ``StartupError``, whose message is one line that says what to do.
    """
    with startup_error(url):
        if asyncio.run(_is_ready(url, allowed=may_migrate, asked=explicit, writes=will_write)):
            return
        # Reading Alembic costs a fifth of a start, and most starts do without it.
        from . import alembic_runner  # noqa: PLC0415

        alembic_runner.migrate(url)
        asyncio.run(_continue_history(url))


async def _is_ready(url: str, *, allowed: bool, asked: bool, writes: bool) -> bool:
    """Whether no migration is needed. Raises ``StartupError`` where the database is of no use."""
    async with connection_to(url) as connection:
        await _require_schema(connection)
        revision, needed = (
            await version.get_schema_version(connection),
            version.get_required_schema_version(),
        )
        if revision != needed:
            _refuse_to_migrate(revision, needed, allowed=allowed)
        if writes or revision != needed:
            await _require_rights(connection, creates=revision != needed)
        # A migration that was asked for also makes the index that Postgres could not have before.
        if asked or revision != needed:
            return False
        if writes:
            await reset_history_if_restored(connection)
        return True


async def _continue_history(url: str) -> None:
    async with connection_to(url) as connection:
        await reset_history_if_restored(connection)


def _refuse_to_migrate(revision: str | None, needed: str, *, allowed: bool) -> None:
    if revision is not None and not version.is_known(revision):
        raise StartupError(
            f"the database is at schema {revision}, which case-server {__version__} does not "
            "know: it is newer; upgrade case-server"
        )
    if not allowed:
        state = f"is at schema {revision}" if revision else "has no schema yet"
        raise StartupError(
            f"the database {state}, and {needed} is needed; run: case-server migrate"
        )


async def _require_schema(connection: DirectConnection) -> None:
    """Raise ``StartupError`` where the role may use no schema on its search path."""
    row = await connection.fetchrow(NO_SCHEMA)
    if row is None:
        return
    role = f'"{row["role"]}"'
    if row["name"]:
        raise StartupError(
            f"the role {role} may not use the schema {row['name']}: as an administrator, run: "
            f'GRANT USAGE, CREATE ON SCHEMA "{row["name"]}" TO {role}'
        )
    raise StartupError(
        f"no schema of the search path ({row['search_path']}) exists: as an administrator, run: "
        f"CREATE SCHEMA {row['search_path'].rpartition(',')[2].strip()} AUTHORIZATION {role}"
    )


async def _require_rights(connection: DirectConnection, *, creates: bool) -> None:
    """Raise ``StartupError`` where the role may not write, or not create what it has to."""
    row = await connection.fetchrow(MISSING_RIGHTS, [*tables.metadata.tables])
    assert row is not None
    role, name = f'"{row["role"]}"', f'"{row["schema"]}"'
    if row["read_only"]:
        raise StartupError(READ_ONLY)
    if creates and not row["creates"]:
        raise StartupError(
            f"the role {role} may not create tables in the schema {name}: as an administrator, "
            f"run: GRANT CREATE ON SCHEMA {name} TO {role}"
        )
    if not row["stages"]:
        raise StartupError(
            f"the role {role} may not create temporary tables, which uploads need: as an "
            f'administrator, run: GRANT TEMPORARY ON DATABASE "{row["database"]}" TO {role}'
        )
    if row["tables"]:
        raise StartupError(
            f"the role {role} may not read and write the tables {row['tables']}: as an "
            "administrator, or the role that owns them, run: GRANT SELECT, INSERT, UPDATE, DELETE "
            f"ON ALL TABLES IN SCHEMA {name} TO {role}"
        )
