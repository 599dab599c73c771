"""Check at startup that this release can use a database, and migrate it if that is allowed."""

from __future__ import annotations

import asyncio
import secrets

from ... import __version__
from ...database_url import parse_database_url
from ...exceptions import CommandError
from ..connector import DirectConnection, open_connection
from ..read.feed import reset_change_feed_if_restored
from ..schema import tables, version
from .diagnosis import READ_ONLY, map_errors_to_command_error

NO_SCHEMA = """
SELECT current_user AS role, current_setting('search_path') AS search_path,
    coalesce((
        SELECT min(nspname) FROM pg_namespace
        WHERE nspname = ANY (string_to_array(
            replace(replace(current_setting('search_path'), '"', ''), ' ', ''), ','))
    ), '') AS name
WHERE current_schema() IS NULL"""
"""Returns a row if the role may use no schema of the search path: the role, the path, and the first
schema of it that exists."""

PRIVILEGES = """
SELECT current_user AS role, current_schema() AS schema,
    current_setting('transaction_read_only') = 'on' AS read_only,
    has_schema_privilege(current_schema(), 'CREATE') AS can_create,
    current_database() AS database,
    has_database_privilege(current_database(), 'TEMPORARY') AS can_stage,
    (SELECT string_agg(name, ', ') FROM unnest($1::text[]) AS name
     WHERE NOT has_table_privilege(to_regclass(name), 'SELECT')
        OR NOT has_table_privilege(to_regclass(name), 'INSERT')
        OR NOT has_table_privilege(to_regclass(name), 'UPDATE')
        OR NOT has_table_privilege(to_regclass(name), 'DELETE')) AS tables"""
"""The privileges of the role in the current schema, and the existing tables that it cannot use."""


def ensure_schema(
    url: str,
    *,
    may_migrate: bool,
    is_migration_requested: bool,
    will_write: bool = True,
    accepts_standby: bool = False,
) -> str:
    """Check that a database can be used, migrate it if necessary and allowed; return its URL.

    ``may_migrate`` allows a migration. ``is_migration_requested`` also runs it if the schema is up
    to date, to create optional indexes. ``will_write`` checks the privileges for writing.
    ``accepts_standby`` allows a standby, which is not checked for writing. If a connection pooler
    is in front of Postgres, the returned URL has a parameter that says so.

    Raises ``CommandError`` with one line that says what to do.
    """
    with map_errors_to_command_error(url):
        should_migrate, pooler = asyncio.run(
            _inspect_database(
                url,
                may_migrate=may_migrate,
                is_migration_requested=is_migration_requested,
                will_write=will_write,
                accepts_standby=accepts_standby,
            )
        )
        if pooler:
            url = parse_database_url(url).with_pooler_parameter(pooler)
        if not should_migrate:
            return url
        if pooler:
            raise CommandError(
                "a migration needs a connection without a pooler: set CASE_SERVER_MIGRATION_URL "
                "to the direct URL of the primary server"
            )
        # Importing Alembic takes a fifth of the startup time, and most starts do not need it.
        from . import alembic_runner  # noqa: PLC0415

        alembic_runner.migrate(url)
        asyncio.run(_reset_change_feed(url))
        return url


async def _inspect_database(
    url: str,
    *,
    may_migrate: bool,
    is_migration_requested: bool,
    will_write: bool,
    accepts_standby: bool,
) -> tuple[bool, str]:
    """Return (whether to migrate a database, pooler mode), after checking that it can be used.

    The pooler mode is "", "true" or "prepared", as in ``_get_pooler_parameter``. The keyword
    arguments are those of ``ensure_schema``. Raises ``CommandError`` if the database cannot be
    used, even after a migration, or if a migration is required but not allowed.
    """
    # One transaction without prepared statements, because a pooler may be in between.
    async with open_connection(url, statement_cache_size=0) as connection, connection.transaction():
        pooler = await _get_pooler_parameter(connection, parse_database_url(url).is_pooled)
        await _require_usable_schema(connection)
        revision = await version.get_schema_version(connection)
        required = version.get_required_schema_version()
        is_outdated = revision != required
        if accepts_standby and await connection.fetchval("SELECT pg_is_in_recovery()"):
            may_migrate = will_write = False
        if is_outdated:
            _require_migratable(revision, required, may_migrate=may_migrate)
        if will_write or is_outdated:
            await _require_privileges(connection, will_migrate=is_outdated)
        # A requested migration also creates the trigram index that was not possible before.
        should_migrate = is_migration_requested or is_outdated
        if will_write and not should_migrate:
            await reset_change_feed_if_restored(connection)
        return should_migrate, pooler


async def _get_pooler_parameter(connection: DirectConnection, is_pooled: bool | None) -> str:  # noqa: FBT001  None if unknown
    """Return the value for the parameter ``pgbouncer`` of the database URL, or "" for none.

    ``is_pooled`` says whether a pooler is in front of Postgres; with None, this is detected. The
    value is "prepared" if the pooler supports prepared statements, as PgBouncer does from 1.21, and
    otherwise "true".
    """
    if is_pooled is None:
        # A pooler tells each client another process ID than that of the server process.
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        is_pooled = pid != connection.get_server_pid()
    if not is_pooled:
        return ""
    name = f"case_server_{secrets.token_hex(8)}"
    # asyncpg closes this statement before it sends the next one after this function.
    statement = await connection.prepare(f"SELECT '{name}'", name=name)
    query = "SELECT name FROM pg_prepared_statements WHERE statement = $1"
    name_at_server = await connection.fetchval(query, statement.get_query())
    return "true" if name_at_server in {None, name} else "prepared"


async def _reset_change_feed(url: str) -> None:
    async with open_connection(url) as connection:
        await reset_change_feed_if_restored(connection)


def _require_migratable(revision: str | None, required: str, *, may_migrate: bool) -> None:
    if revision is not None and not version.is_known_revision(revision):
        raise CommandError(
            f"the database is at schema {revision}, which case-server {__version__} does not "
            "know: it is newer; upgrade case-server"
        )
    if not may_migrate:
        state = f"is at schema {revision}" if revision else "has no schema yet"
        raise CommandError(
            f"the database {state}, and {required} is required; run: case-server migrate"
        )


async def _require_usable_schema(connection: DirectConnection) -> None:
    """Raise ``CommandError`` unless the role has USAGE on a schema in its search path."""
    row = await connection.fetchrow(NO_SCHEMA)
    if row is None:
        return
    role = f'"{row["role"]}"'
    if row["name"]:
        raise CommandError(
            f"the role {role} may not use the schema {row['name']}: as an administrator, run: "
            f'GRANT USAGE, CREATE ON SCHEMA "{row["name"]}" TO {role}'
        )
    raise CommandError(
        f"no schema of the search path ({row['search_path']}) exists: as an administrator, run: "
        f"CREATE SCHEMA {row['search_path'].rpartition(',')[2].strip()} AUTHORIZATION {role}"
    )


async def _require_privileges(connection: DirectConnection, *, will_migrate: bool) -> None:
    """Raise ``CommandError`` unless the database role has the privileges that the server needs.

    It must be allowed to read and write the server's tables and to create temporary tables. With
    ``will_migrate``, it must also be allowed to create tables.
    """
    row = await connection.fetchrow(PRIVILEGES, [*tables.metadata.tables])
    assert row is not None
    role, name = f'"{row["role"]}"', f'"{row["schema"]}"'
    if row["read_only"]:
        raise CommandError(READ_ONLY)
    if will_migrate and not row["can_create"]:
        raise CommandError(
            f"the role {role} may not create tables in the schema {name}: as an administrator, "
            f"run: GRANT CREATE ON SCHEMA {name} TO {role}"
        )
    if not row["can_stage"]:
        raise CommandError(
            f"the role {role} may not create temporary tables, which uploads need: as an "
            f'administrator, run: GRANT TEMPORARY ON DATABASE "{row["database"]}" TO {role}'
        )
    if row["tables"]:
        raise CommandError(
            f"the role {role} may not read and write the tables {row['tables']}: as an "
            "administrator, or the role that owns them, run: GRANT SELECT, INSERT, UPDATE, DELETE "
            f"ON ALL TABLES IN SCHEMA {name} TO {role}"
        )
