"""Backups of the embedded database: written under load, restored, migrated."""

import asyncio
import json
import os
import re
import shlex
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from alembic import command
from click.testing import CliRunner
from support import factories
from support.databases import NewDataDir, open_connection
from support.live_server import COMMAND, LiveServer, run_live_server
from support.live_server import run_command_in_process as run

from case_server.auth.tokens import decode_unverified
from case_server.cli import main
from case_server.db.postgres import alembic_runner
from case_server.db.postgres.backup import _append_digest, restore_backup
from case_server.db.postgres.embedded import embedded_postgres, find_postgres_bin_dir
from case_server.db.schema import version
from case_server.exceptions import CommandError

DOCUMENTS = "/case/1.1/CFDocuments"
INITIAL = "2026_11_21_initial"


def put(live: LiveServer, body: factories.Body) -> None:
    with live.client() as client:
        assert client.put(f"{DOCUMENTS}/{body['identifier']}", json=body).status_code == 201


def ask(url: str, sql: str, *arguments: Any) -> list[Any]:
    """Return the result of a query on an embedded database."""

    async def fetch() -> list[Any]:
        async with open_connection(url) as connection:
            return [row[0] for row in await connection.fetch(sql, *arguments)]

    return asyncio.run(fetch())


def identifiers(url: str) -> set[str]:
    return set(ask(url, "SELECT identifier FROM documents"))


def content(data_dir: Path) -> tuple[set[str], list[str], list[str]]:
    """Return the documents of an embedded database, its revision and its further databases."""
    statement = "SELECT datname::text FROM pg_database WHERE datname LIKE 'case_server_%'"
    with embedded_postgres(data_dir) as url:
        revision = ask(url, "SELECT version_num FROM alembic_version")
        return identifiers(url), revision, ask(url, statement)


def refusal(*arguments: str, data_dir: Path) -> str:
    result = run(*arguments, data_dir=data_dir)
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def folder(new_data_dir: NewDataDir) -> Path:
    return new_data_dir().parent


@pytest.fixture(scope="module")
def backup(folder: Path) -> tuple[Path, str, str]:
    """Return a backup written under load, a document that it must contain, and a token."""
    saved_document, late_document, file = (
        factories.document(),
        factories.document(),
        folder / "store.backup",
    )
    with run_live_server(folder / "data") as server:
        put(server, saved_document)
        token = server.token()
        done_event = threading.Event()

        def write_on() -> None:
            while not done_event.is_set():
                put(server, factories.document())

        writer = threading.Thread(target=write_on)
        writer.start()
        try:
            result = run("backup", str(file), data_dir=folder / "data")
        finally:
            done_event.set()
            writer.join()
        assert result.returncode == 0, result.stderr
        assert f"{file.stat().st_size:,} bytes" in result.stdout
        assert "in use" in refusal("restore", str(file), "--force", data_dir=folder / "data")
        put(server, late_document)
    return file, saved_document["identifier"], token


def test_backup_is_complete_and_private(backup: tuple[Path, str, str], folder: Path) -> None:
    file, _, _ = backup
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(folder.glob("*.partial"))


def test_failed_restore_changes_nothing(backup: tuple[Path, str, str], folder: Path) -> None:
    file, _, _ = backup
    data_dir, archive = folder / "data", file.read_bytes()
    before = content(data_dir)
    assert len(before[0]) > 1
    assert "--force" in refusal("restore", str(file), data_dir=data_dir)
    broken = folder / "broken.backup"
    middle = len(archive) // 2
    flipped = archive[:middle] + bytes([archive[middle] ^ 1]) + archive[middle + 1 :]
    for damaged in (b"", b"PGDMP", archive[:-1], archive[: len(archive) - 2000], flipped):
        broken.write_bytes(damaged)
        with pytest.raises(CommandError, match="damaged"):
            restore_backup(data_dir, broken, force=True, report_progress=print)
    broken.write_bytes(archive[:middle])
    _append_digest(broken)  # as if the copy had been cut short before it was sealed
    assert "pg_restore failed" in refusal("restore", str(broken), "--force", data_dir=data_dir)
    assert content(data_dir) == before
    assert before[2] == []


def test_restore_brings_back_the_backup(backup: tuple[Path, str, str], folder: Path) -> None:
    file, identifier, token = backup
    data_dir = folder / "data"
    before, _, _ = content(data_dir)
    result = run("restore", str(file), "--force", data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    after, revision, clones = content(data_dir)
    assert identifier in after
    assert after < before
    assert (revision, clones) == ([version.get_required_schema_version()], [])
    with run_live_server(data_dir) as server:
        response = httpx.get(
            f"{server.base_url}{DOCUMENTS}/{identifier}",
            # Of another port, so not its issuer; its key is back all the same.
            headers={"Authorization": f"Bearer {server.token()}"},
        )
        assert response.status_code == 200
        published = httpx.get(f"{server.base_url}/.well-known/jwks.json").json()["keys"]
    assert published[0]["kid"] == decode_unverified(token)[0]["kid"]


def test_backup_of_older_release_is_migrated(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    file, newer = tmp_path / "old.backup", tmp_path / "newer.backup"
    assert "no database to back up" in refusal("backup", str(file), data_dir=old)
    body = factories.document()
    insert = "INSERT INTO documents (body, last_change_date_time) VALUES ($1, now())"
    with embedded_postgres(old) as url:
        command.upgrade(alembic_runner.build_alembic_config(url), INITIAL)
        ask(url, insert, json.dumps(body))
        assert run("backup", str(file), data_dir=old).returncode == 0
        assert ask(url, "SELECT version_num FROM alembic_version") == [INITIAL]
        ask(url, "UPDATE alembic_version SET version_num = '2099_unheard_of'")
        assert run("backup", str(newer), data_dir=old).returncode == 0

    result = run("restore", str(file), data_dir=new)
    assert result.returncode == 0, result.stderr
    assert f"migrating from schema {INITIAL}" in result.stderr
    assert "newer case-server" in refusal("restore", str(newer), "--force", data_dir=new)
    assert content(new) == ({body["identifier"]}, [version.get_required_schema_version()], [])


def test_restore_starts_a_new_change_feed_history_with_statistics(
    data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.backup"
    history = "SELECT identifier FROM feed_history"
    statistics = "SELECT attname FROM pg_stats WHERE tablename = 'feed_history'"
    with embedded_postgres(data_dir) as url:
        before = ask(url, history)
    assert run("backup", str(file), data_dir=data_dir).returncode == 0
    assert run("restore", str(file), data_dir=data_dir).returncode == 0
    with embedded_postgres(data_dir) as url:
        after = ask(url, history)
        assert ask(url, statistics)
    assert len(before) == len(after) == 1
    assert before != after


@pytest.mark.parametrize(("command", "tool"), [("backup", "pg_dump"), ("restore", "pg_restore")])
def test_backup_of_external_postgres_names_its_tools(
    command: str, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_SERVER_DATABASE_URL", "postgresql://user@127.0.0.1:9/x")
    result = CliRunner().invoke(main, [command, "x"])
    assert result.exit_code == 1
    assert f"{tool} --" in result.stderr


def documented(file: str) -> list[str]:
    """Return the documented commands for an external Postgres from ``docs/guides/backup.md``."""
    text = (Path(__file__).parents[2] / "docs" / file).read_text()
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    (dump,) = [block for block in blocks if " pg_dump --format" in block and "docker" not in block]
    (restore,) = [block for block in blocks if "-d restored" in block]
    (rename,) = [block for block in blocks if "RENAME TO replaced" in block]
    return (dump + restore + rename).replace("runuser -u postgres -- ", "").splitlines()


@pytest.mark.parametrize("schema", [INITIAL, "head"], ids=["older-release", "this-release"])
def test_dump_is_restored_as_documented(schema: str, tmp_path: Path) -> None:
    body = factories.document()
    insert = "INSERT INTO documents (body, last_change_date_time) VALUES ($1, now())"
    history = "SELECT identifier FROM feed_history"
    with embedded_postgres(tmp_path / "own") as superuser_url:
        own = urlsplit(superuser_url)
        host = f"@127.0.0.1:{own.port}/"
        url = f"postgresql://case_owner:SECRET-1{host}frameworks"
        replaced = url.replace("frameworks", "replaced")
        ask(superuser_url, "CREATE ROLE case_owner LOGIN PASSWORD 'SECRET-1'")
        ask(superuser_url, "CREATE DATABASE frameworks OWNER case_owner")
        command.upgrade(alembic_runner.build_alembic_config(url), schema)
        ask(url, insert, json.dumps(body))
        lines = [
            line.replace("@127.0.0.1/", f":SECRET-1{host}").replace("case-server", "$CASE_SERVER")
            for line in documented("guides/backup.md")
        ]
        outcome = find_postgres_bin_dir(None)
        environment = os.environ | {
            "PATH": f"{outcome}{os.pathsep}{os.environ['PATH']}",
            "CASE_SERVER": shlex.join(COMMAND),
            "PGHOST": str(own.hostname),
            "PGPORT": str(own.port),
            "PGUSER": str(own.username),
            "PGPASSWORD": str(own.password),
            "PGDATABASE": "postgres",
        }
        result = subprocess.run(
            ["bash", "-ec", "\n".join(lines)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert identifiers(url) == {body["identifier"]}
        revisions = [
            ask(database_url, "SELECT version_num FROM alembic_version")
            for database_url in (replaced, url)
        ]
        if schema == "head":
            # Cursors of the change feed that the replaced database issued are refused.
            assert ask(url, history) != ask(replaced, history)
    head_revision = version.get_required_schema_version()
    assert revisions == [[INITIAL if schema == INITIAL else head_revision], [head_revision]]
