"""Back up the embedded database to one file, and restore it completely or not at all.

Uses pg_dump and pg_restore of the Postgres version that runs the database. A backup is restored
into a second database, migrated there, and takes the name of the first in one transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...database_url import parse_database_url
from ...exceptions import CommandError
from ...formatting import format_count
from ..connector import open_connection
from ..read.feed import reset_change_feed
from ..schema import version
from . import alembic_runner
from .embedded import NAME, embedded_postgres, exclusive_postgres, find_cluster_bin_dir

RESTORED, REPLACED = f"{NAME}_restored", f"{NAME}_replaced"
DROP_STATEMENTS = tuple(
    f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (RESTORED, REPLACED)
)
MAX_ERROR_LINES = 5
# pg_restore would accept a truncated dump, so a digest follows the dump; pg_restore ignores it.
TRAILER = b"\ncase-server sha256 "
TRAILER_BYTES = len(TRAILER) + 64
CHUNK_BYTES = 1 << 20


def back_up(data_dir: Path, target: Path) -> int:
    """Write a backup of the embedded database to the file ``target``; return its size in bytes.

    A server may use the database meanwhile, because the backup is a snapshot. If the backup is
    interrupted, ``target`` is not created. Only the owner can read the file, because it contains
    signing keys. Raises ``CommandError`` if there is no database or the file cannot be written.
    """
    if not (data_dir / "postgres" / "PG_VERSION").exists():
        raise CommandError(
            f"no database to back up in {data_dir}: set CASE_SERVER_DATA_DIR to that of the server"
        )
    partial = target.with_name(f"{target.name}.partial")
    with embedded_postgres(data_dir) as url:
        try:
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
            dump = ("pg_dump", "--format=custom", "--no-owner", "--no-privileges")
            _run_postgres_program(data_dir, url, *dump, f"--file={partial.resolve()}")
            size = _append_digest(partial)
            partial.replace(target)
        except OSError as error:
            raise CommandError(
                f"{target} cannot be written: {error.strerror}; name another file"
            ) from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    return size


def restore_backup(
    data_dir: Path, source: Path, *, force: bool, report_progress: Callable[[str], None]
) -> str:
    """Replace the embedded database with the backup in a file, and migrate it if necessary.

    Returns the schema version of the backup. ``source`` is the file. ``report_progress`` is called
    with messages such as "reading the backup". Raises ``CommandError`` and changes nothing if the
    file is damaged or not a backup, if the database is in use, or if it has data and ``force`` is
    False.
    """
    _verify_backup_digest(source)
    with exclusive_postgres(data_dir) as url:
        if not force and (contents := asyncio.run(_describe_database(url))):
            raise CommandError(
                f"the database in {data_dir} has data ({contents}): --force replaces all of it; "
                "case-server backup FILE makes a copy first"
            )
        create = f"CREATE DATABASE {RESTORED} TEMPLATE template0"
        asyncio.run(_run_on_maintenance_database(url, *DROP_STATEMENTS, create))
        try:
            report_progress("reading the backup")
            flags = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
            options = (*flags, f"--dbname={RESTORED}", str(source.resolve()))
            _run_postgres_program(data_dir, url, "pg_restore", *options)
            restored = parse_database_url(url).with_database(RESTORED)
            revision = asyncio.run(_get_revision(restored))
            if revision != version.get_required_schema_version():
                report_progress(f"migrating from schema {revision}")
                alembic_runner.migrate(restored)
            asyncio.run(_swap_in_restored_database(url, restored))
        finally:
            asyncio.run(_run_on_maintenance_database(url, *DROP_STATEMENTS))
        return revision


def _append_digest(file: Path) -> int:
    with file.open("r+b") as dump:
        digest = hashlib.file_digest(dump, "sha256").hexdigest()
        dump.write(TRAILER + digest.encode())
        dump.flush()
        os.fsync(dump.fileno())
        return dump.tell()


def _verify_backup_digest(source: Path) -> None:
    try:
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - TRAILER_BYTES
            digest = hashlib.sha256()
            while chunk := file.read(min(CHUNK_BYTES, size - file.tell())) if size > 0 else b"":
                digest.update(chunk)
            trailer = file.read()
    except OSError as error:
        problem = f"{source} cannot be read: {error.strerror}"
        raise CommandError(f"{problem}; name another file") from error
    if trailer != TRAILER + digest.hexdigest().encode():
        raise CommandError(
            f"{source} is not a backup by case-server, or is damaged; name another file"
        )


async def _run_on_maintenance_database(url: str, *statements: str) -> None:
    """Run SQL statements, one after the other, while connected to the database ``postgres``.

    Statements that rename, create or drop the database of ``url`` cannot run in that database
    itself.
    """
    async with open_connection(parse_database_url(url).with_database("postgres")) as connection:
        for statement in statements:
            await connection.execute(statement)


async def _swap_in_restored_database(url: str, restored_url: str) -> None:
    """Rename the current database and give its name to the restored one, in one transaction.

    The change feed starts anew, because the backup lacks changes that clients have already read.
    The statistics for query plans are gathered anew, because a dump has none.
    """
    async with open_connection(restored_url) as restored:
        await reset_change_feed(restored)
        await restored.execute("ANALYZE")
    # One message is one transaction.
    await _run_on_maintenance_database(
        url,
        f"ALTER DATABASE {NAME} RENAME TO {REPLACED};ALTER DATABASE {RESTORED} RENAME TO {NAME}",
    )


async def _describe_database(url: str) -> str:
    """Return what a database contains, such as "2 documents, 1 client", or "" if it has neither."""
    async with open_connection(url) as connection:
        counts = []
        for table in ("documents", "clients"):
            if await connection.fetchval("SELECT to_regclass($1)", table):
                count = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  one of two names
                counts += [format_count(count, table.removesuffix("s"))] if count else []
        return ", ".join(counts)


async def _get_revision(url: str) -> str:
    async with open_connection(url) as connection:
        revision = await version.get_schema_version(connection)
    if revision is None:
        raise CommandError("the backup is empty: its database has no schema; name another file")
    if not version.is_known_revision(revision):
        raise CommandError(
            f"the backup is at schema {revision}, which this release does not know: it was "
            "made by a newer case-server; upgrade this one"
        )
    return revision


def _run_postgres_program(data_dir: Path, url: str, program: str, *arguments: str) -> None:
    """Run a Postgres program, such as ``pg_dump``, with connection parameters from ``url``.

    The program has the same version as the cluster in ``data_dir``. ``arguments`` are its command
    line arguments. Raises ``CommandError`` with the end of its output if it fails.
    """
    target = parse_database_url(url)
    ((host, port),) = target.list_addresses()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # In the environment, because any user can read the arguments of a process.
    environment |= {
        "PGHOST": host,
        "PGPORT": str(port),
        "PGUSER": str(target.user),
        "PGPASSWORD": str(target.password),
        "PGDATABASE": str(target.database),
    }
    process = subprocess.run(  # noqa: S603  no shell; Postgres' own programs
        (find_cluster_bin_dir(data_dir) / program, *arguments),
        capture_output=True,
        env=environment | {"LC_ALL": "C"},
        check=False,
    )
    if process.returncode:
        lines = process.stderr.decode(errors="replace").splitlines()
        end = "\n".join(lines[-MAX_ERROR_LINES:])
        raise CommandError(f"{program} failed, and nothing was changed:\n{end}")
