"""Copies of the embedded store: one file, written while it serves, put back whole or not at all.

The programs are Postgres' own, of the release that keeps the data. A copy is restored into a
database beside the one in use, migrated there, and takes its name in one transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import URL, make_url

from ...exceptions import StartupError
from ..connector import connection_to
from ..read.feed import reset_history
from ..schema import version
from . import alembic_runner
from .embedded import NAME, embedded_postgres, exclusive_postgres, find_cluster_binaries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEW, OLD = f"{NAME}_restored", f"{NAME}_replaced"
LAST_LINES = 5
SEAL = b"\ncase-server sha256 "
SEAL_LENGTH = len(SEAL) + 64
CHUNK = 1 << 20


def back_up(data_dir: Path, target: Path) -> int:
    """Write all data to a file that takes its name when it is whole; its size in bytes.

    The file holds signing keys, so it is for its owner alone. The store may be served meanwhile:
    the copy is of one moment.
    """
    if not (data_dir / "postgres" / "PG_VERSION").exists():
        raise StartupError(f"there is no store in {data_dir} (CASE_SERVER_DATA_DIR) to back up")
    partial = target.with_name(f"{target.name}.partial")
    with embedded_postgres(data_dir) as url:
        try:
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
            dump = ("pg_dump", "--format=custom", "--no-owner", "--no-privileges")
            _run(data_dir, make_url(url), *dump, f"--file={partial.resolve()}")
            size = _seal(partial)
            partial.replace(target)
        except OSError as error:
            raise StartupError(f"{target} cannot be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    return size


def restore(data_dir: Path, source: Path, *, force: bool, say: Callable[[str], None]) -> str:
    """Make the store what a backup says, in this release's schema; the revision it came with.

    Raises ``StartupError``, and changes nothing, when the file is broken or not of this project,
    when the store is in use, or when it has data and ``force`` is not given.
    """
    _refuse_what_is_no_backup(source)
    with exclusive_postgres(data_dir) as url:
        current = make_url(url)
        if not force and (count := asyncio.run(_count(url))):
            raise StartupError(
                f"the store in {data_dir} has data ({count}); --force replaces all of it, "
                "and case-server backup FILE keeps a copy first"
            )
        asyncio.run(_administer(current, *_drops(), f"CREATE DATABASE {NEW} TEMPLATE template0"))
        try:
            say("reading the backup")
            new = current.set(database=NEW)
            single = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
            _run(data_dir, new, "pg_restore", *single, f"--dbname={NEW}", str(source.resolve()))
            revision = asyncio.run(_revision(new))
            if revision != version.get_required_schema_version():
                say(f"migrating from schema {revision}")
                alembic_runner.migrate(new.render_as_string(hide_password=False))
            asyncio.run(_begin_anew(new))
            asyncio.run(_swap(current))
        finally:
            asyncio.run(_administer(current, *_drops()))
        return revision


def _seal(file: Path) -> int:
    """Write below a dump what it must hash to, and see it onto the disk; the size it has now.

    Postgres' own programs ignore what follows a dump, and would restore one that is cut short.
    """
    with file.open("r+b") as dump:
        digest = hashlib.file_digest(dump, "sha256").hexdigest()
        dump.write(SEAL + digest.encode())
        dump.flush()
        os.fsync(dump.fileno())
        return dump.tell()


def _refuse_what_is_no_backup(source: Path) -> None:
    try:
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - SEAL_LENGTH
            digest = hashlib.sha256()
            while piece := file.read(min(CHUNK, size - file.tell())) if size > 0 else b"":
                digest.update(piece)
            seal = file.read()
    except OSError as error:
        raise StartupError(f"{source} cannot be read: {error.strerror}") from error
    if seal != SEAL + digest.hexdigest().encode():
        raise StartupError(
            f"{source} is not what case-server backup wrote, or not all of it, or was changed"
        )


def _drops() -> tuple[str, ...]:
    return tuple(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (NEW, OLD))


async def _administer(url: URL, *statements: str) -> None:
    async with connection_to(_spelled(url, "postgres")) as connection:
        for statement in statements:
            await connection.execute(statement)


async def _swap(url: URL) -> None:
    """Give the restored database the name of the other, at once."""
    async with connection_to(_spelled(url, "postgres")) as connection, connection.transaction():
        await connection.execute(f"ALTER DATABASE {NAME} RENAME TO {OLD}")
        await connection.execute(f"ALTER DATABASE {NEW} RENAME TO {NAME}")


async def _count(url: str) -> str:
    """What a store has, in words; empty if nothing that anybody would miss."""
    async with connection_to(url) as connection:
        told = []
        for table in ("documents", "clients"):
            if await connection.fetchval("SELECT to_regclass($1)", table):
                count = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  one of two names
                told += [f"{count:,} {table}"] if count else []
        return ", ".join(told)


async def _begin_anew(url: URL) -> None:
    """Who followed the changes of the store as it was would miss what is no longer in it."""
    async with connection_to(_spelled(url, NEW)) as connection:
        await reset_history(connection)


async def _revision(url: URL) -> str:
    async with connection_to(_spelled(url, NEW)) as connection:
        revision = await version.get_schema_version(connection)
    if revision is None:
        raise StartupError("the backup is of a store without a schema: there is nothing in it")
    if not version.is_known(revision):
        raise StartupError(
            f"the backup is at schema {revision}, which this release does not know: it is of a "
            "newer case-server; upgrade this one"
        )
    return revision


def _spelled(url: URL, database: str) -> str:
    return url.set(database=database).render_as_string(hide_password=False)


def _run(data_dir: Path, url: URL, program: str, *arguments: str) -> None:
    """Run a program of Postgres on a database."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # In the environment, as anybody may read a command's arguments.
    ours |= {
        "PGHOST": str(url.host),
        "PGPORT": str(url.port),
        "PGUSER": str(url.username),
        "PGPASSWORD": str(url.password),
        "PGDATABASE": str(url.database),
    }
    ran = subprocess.run(  # noqa: S603  no shell; Postgres' own programs
        (find_cluster_binaries(data_dir) / program, *arguments),
        capture_output=True,
        env=ours | {"LC_ALL": "C"},
        check=False,
    )
    if ran.returncode:
        end = "\n".join(ran.stderr.decode(errors="replace").splitlines()[-LAST_LINES:])
        raise StartupError(f"{program} failed, and nothing was changed:\n{end}")
