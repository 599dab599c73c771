"""Connections by URL: libpq's parameters, several hosts, TLS, and messages for failures."""

import asyncio
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy import make_url
from support.databases import EmptyDatabase
from support.live_server import run_command
from support.pgbouncer import run_pgbouncer
from support.postgres_with_tls import TlsServer, find_binaries_with_tls, run_tls_server

from case_server.database_url import parse_database_url
from case_server.db.connector import connect, open_connection
from case_server.db.pool import Database
from case_server.db.postgres import alembic_runner, diagnosis
from case_server.db.postgres.ensure_schema import ensure_schema
from case_server.db.schema import version
from case_server.exceptions import CommandError
from case_server.settings import Settings

PASSWORD = "Hunter2"


async def value(url: str, sql: str, *arguments: Any, **options: Any) -> Any:
    async with open_connection(url, **options) as connection:
        return await connection.fetchval(sql, *arguments)


async def execute(url: str, *statements: str) -> None:
    async with open_connection(url) as connection:
        for statement in statements:
            await connection.execute(statement)


async def check_at_startup(url: str, **options: bool) -> None:
    options = {"may_migrate": False, "is_migration_requested": False, **options}
    await asyncio.to_thread(lambda: ensure_schema(url, **options))


async def refusal(url: str, **options: bool) -> str:
    """Return the error message of the check at startup: one line, without the password."""
    with pytest.raises(CommandError) as exc_info:
        await check_at_startup(url, **options)
    message = str(exc_info.value)
    assert "\n" not in message
    assert PASSWORD not in message
    assert (parse_database_url(url).password or PASSWORD) not in message
    return message


async def run(url: str, data_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the database of a URL."""
    return await asyncio.to_thread(
        run_command, *command, data_dir=data_dir, CASE_SERVER_DATABASE_URL=url
    )


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Yield a port that accepts connections and never sends anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    binaries = find_binaries_with_tls()
    if binaries is None:
        pytest.skip("no Postgres on this machine supports TLS (Debian: apt-get install postgresql)")
    with run_tls_server(tmp_path_factory.mktemp("tls") / "server", binaries) as server:
        yield server


def change_url(url: str, **changes: Any) -> str:
    return make_url(url).set(**changes).render_as_string(hide_password=False)


async def test_libpq_parameters_apply_to_the_session_and_the_socket(postgres: str) -> None:
    url = (
        f"{postgres}?sslmode=prefer&application_name=my%20app&channel_binding=prefer"
        "&connect_timeout=20&keepalives=1&keepalives_idle=31&keepalives_interval=7"
        "&keepalives_count=3&tcp_user_timeout=9000&gssencmode=disable&sslsni=1"
        "&options=-c%20statement_timeout%3D61000&target_session_attrs=read-write"
    )
    async with open_connection(url) as connection:
        assert await connection.fetchval("SHOW application_name") == "my app"
        assert await connection.fetchval("SHOW statement_timeout") == "61s"
        # asyncpg has no public access to the socket.
        endpoint = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        tcp = socket.IPPROTO_TCP
        assert endpoint.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert endpoint.getsockopt(tcp, socket.TCP_KEEPIDLE) == 31
        assert endpoint.getsockopt(tcp, socket.TCP_KEEPINTVL) == 7
        assert endpoint.getsockopt(tcp, socket.TCP_KEEPCNT) == 3
        assert endpoint.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 9000
    async with open_connection(f"{postgres}?keepalives=0") as connection:
        # asyncpg has no public access to the socket.
        endpoint = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert not endpoint.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert await connection.fetchval("SHOW application_name") == "case-server"


@pytest.mark.slow
async def test_every_command_accepts_every_parameter(
    empty_database: EmptyDatabase, tmp_path: Path, closed_port: int
) -> None:
    plain = await empty_database("parameters")
    parts = make_url(plain)
    url = (
        f"postgres://{parts.username}:{parts.password}@127.0.0.1:{closed_port},"
        f"{parts.host}:{parts.port}/{parts.database}?sslmode=prefer&channel_binding=prefer"
        "&connect_timeout=30&keepalives_idle=30&application_name=all%20commands"
        "&options=-c%20statement_timeout%3D600000&target_session_attrs=read-write"
    )

    async def case_server(*command: str) -> str:
        process = await run(url, tmp_path, *command)
        assert process.returncode == 0, process.stderr
        assert str(parts.password) not in process.stderr + process.stdout
        return process.stdout

    await case_server("migrate")
    await case_server("import", "--sample")
    identifier = await value(plain, "SELECT identifier FROM documents")
    assert identifier in await case_server("export", identifier)
    await case_server("client", "add", "reader")
    assert "reader" in await case_server("client", "list")


async def test_schema_parameter_of_prisma_is_the_search_path(empty_database: EmptyDatabase) -> None:
    plain = await empty_database("prisma")
    url = f"{plain}?schema=Frameworks"
    assert 'CREATE SCHEMA "Frameworks" AUTHORIZATION' in await refusal(url, may_migrate=True)
    await execute(plain, 'CREATE SCHEMA "Frameworks"')
    await check_at_startup(url, may_migrate=True)
    statement = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'items'"
    assert await value(plain, statement) == '"Frameworks"'


async def test_hosts_are_tried_in_turn_with_a_timeout_each(
    empty_database: EmptyDatabase, settings: Settings, silent_port: int, closed_port: int
) -> None:
    plain = await empty_database("hosts")
    parts = make_url(plain)
    url = (
        f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{silent_port},"
        f"127.0.0.1:{closed_port},{parts.host}:{parts.port}/{parts.database}?connect_timeout=1"
    )
    by_parameters = (
        f"postgresql://{parts.username}:{parts.password}@/{parts.database}?connect_timeout=1"
        f"&host=127.0.0.1,{parts.host}&port={closed_port},{parts.port}"
    )
    assert await value(by_parameters, "SELECT 1") == 1
    await asyncio.to_thread(alembic_runner.migrate, url)
    assert (
        await value(plain, "SELECT version_num FROM alembic_version")
        == version.get_required_schema_version()
    )
    async with Database.open(url, settings) as database, database.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
        assert await connection.fetchval("SHOW lock_timeout") == "10s"
        assert await connection.fetchval("SHOW transaction_isolation") == "repeatable read"


async def test_command_fails_if_no_host_responds(silent_port: int) -> None:
    url = f"postgresql://u:{PASSWORD}@127.0.0.1:{silent_port}/d?connect_timeout=1"
    assert "no answer within 1 s" in await refusal(url)


@pytest.fixture
async def pair(tls: TlsServer, empty_database: EmptyDatabase) -> str:
    """Return a URL of two servers, the first of which is read-only."""
    second = make_url(await empty_database("pair"))
    name = second.database
    await execute(
        tls.url,
        f'DROP DATABASE IF EXISTS "{name}"',
        f'CREATE DATABASE "{name}"',
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
        "DROP ROLE IF EXISTS case_pair",
        f"CREATE ROLE case_pair LOGIN PASSWORD '{PASSWORD}'",
    )
    server = second.render_as_string(hide_password=False)
    await execute(
        server,
        "DO $$ BEGIN CREATE ROLE case_pair LOGIN; EXCEPTION WHEN duplicate_object THEN END $$",
        f"ALTER ROLE case_pair PASSWORD '{PASSWORD}'",
        "GRANT CREATE ON SCHEMA public TO case_pair",
    )
    return (
        f"postgresql://case_pair:{PASSWORD}@127.0.0.1:{tls.port},{second.host}:{second.port}/{name}"
    )


@pytest.mark.parametrize(
    ("attributes", "read_only"),
    [
        ("any", "on"),
        ("read-write", "off"),
        ("read-only", "on"),
        ("primary", "on"),
        ("prefer-standby", "on"),
        ("standby", None),
    ],
)
async def test_session_attrs_select_host(pair: str, attributes: str, read_only: str | None) -> None:
    url = f"{pair}?target_session_attrs={attributes}"
    if read_only is None:
        assert "no host matches target_session_attrs=standby" in await refusal(url)
    else:
        assert await value(url, "SHOW transaction_read_only") == read_only


async def test_error_for_a_read_only_database_names_the_remedy(pair: str) -> None:
    message = await refusal(pair, may_migrate=True)
    assert "read-only" in message
    assert "target_session_attrs=read-write" in message
    url = f"{pair}?target_session_attrs=read-write"
    await check_at_startup(url, may_migrate=True, is_migration_requested=True)


async def test_reading_command_accepts_a_read_only_database(empty_database: EmptyDatabase) -> None:
    url = await empty_database("standby")
    await asyncio.to_thread(alembic_runner.migrate, url)
    name = make_url(url).database
    await execute(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "read-only" in await refusal(url)
    await check_at_startup(url, will_write=False)


TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.mark.parametrize(
    ("parameters", "encrypted"),
    [
        ("sslmode=disable", False),
        ("sslmode=allow", False),
        ("sslmode=prefer", True),
        ("sslmode=require", True),
        ("sslmode=verify-ca&sslrootcert={root}", True),
        ("sslmode=verify-full&sslrootcert={root}", True),
        ("sslmode=require&channel_binding=require&sslrootcert={root}", True),
        ("sslmode=verify-full&sslrootcert={root}&sslcert={client}&sslkey={key}", True),
    ],
)
async def test_every_sslmode_works_in_the_pool_and_in_migrations(
    tls: TlsServer, settings: Settings, parameters: str, *, encrypted: bool
) -> None:
    paths = {"root": tls.root, "client": tls.client, "key": tls.client_key}
    url = f"{tls.url}?{parameters.format(**paths)}"
    assert await value(url, TLS) is encrypted
    async with Database.open(url, settings) as database, database.connection() as connection:
        assert await connection.fetchval(TLS) is encrypted
    await asyncio.to_thread(alembic_runner.migrate, url)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("sslmode=verify-full&sslrootcert={other_root}", "cannot be verified"),
        ("sslmode=verify-full&sslrootcert=system", "cannot be verified"),
        # asyncpg has no channel binding, so the certificate has to be verified.
        ("sslmode=require&channel_binding=require", "cannot be verified"),
        ("sslmode=verify-full&sslrootcert={root}.missing", "root.crt.missing cannot be read"),
        ("sslmode=require&sslcert=/missing.crt", "/missing.crt cannot be read"),
    ],
)
async def test_tls_error_says_what_to_change(tls: TlsServer, parameters: str, message: str) -> None:
    url = f"{tls.url}?{parameters.format(root=tls.root, other_root=tls.other_authority)}"
    assert message in await refusal(url)
    name = f"{tls.url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full&sslrootcert={tls.root}"
    assert "cannot be verified" in await refusal(name)


async def test_error_for_a_server_without_tls_names_sslmode(postgres: str) -> None:
    if await value(postgres, "SHOW ssl") == "on":
        pytest.skip("this Postgres supports TLS")
    message = await refusal(f"{postgres}?sslmode=require")
    assert "does not offer TLS, which sslmode requires" in message
    assert "sslmode=prefer" in message


async def test_unix_socket_is_supported(tls: TlsServer) -> None:
    url = make_url(tls.url)
    by_socket = (
        f"postgresql://{url.username}:{url.password}@/{url.database}"
        f"?host={tls.socket_dir}&port={tls.port}"
    )
    assert await value(by_socket, "SELECT inet_server_addr() IS NULL")
    await asyncio.to_thread(alembic_runner.migrate, by_socket)
    assert "no such socket" in await refusal(by_socket.replace(f"={tls.port}", "=9"))


async def test_error_for_an_unreachable_server_names_it(closed_port: int) -> None:
    message = await refusal(f"postgresql://u:{PASSWORD}@127.0.0.1:{closed_port}/d")
    assert "could not connect to the database of CASE_SERVER_DATABASE_URL" in message
    assert f"postgresql://u@127.0.0.1:{closed_port}/d" in message
    assert "connection refused" in message
    message = await refusal(f"postgresql://u:{PASSWORD}@host.invalid/d")
    assert "host name is not known" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": f"{PASSWORD}2"}, "check the user name and password"),
        ({"username": "missing_role"}, "check the user name and password"),
        ({"database": "missing_database"}, "create it (createdb)"),
        ({"query": {"no_such_setting": "1"}}, "'no_such_setting' in CASE_SERVER_DATABASE_URL"),
    ],
)
async def test_login_error_has_remedy(postgres: str, changes: dict[str, Any], message: str) -> None:
    assert message in await refusal(change_url(postgres, **changes))


async def test_error_for_a_wrong_password_in_a_container_explains_the_volume(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "CONTAINER_MARK", tmp_path)
    message = await refusal(change_url(postgres, password=f"{PASSWORD}2"))
    assert "Postgres keeps the password that its volume was created with" in message


async def test_error_for_a_wrong_password_shows_escapes_of_its_characters(postgres: str) -> None:
    url = make_url(postgres)
    message = await refusal(
        f"postgresql://{url.username}:wr:ng#@{url.host}:{url.port}/{url.database}"
    )
    assert "in a URL, write # as %23, : as %3A" in message


async def test_error_for_a_connection_that_pg_hba_rejects_names_sslmode(tls: TlsServer) -> None:
    rules = tls.data_dir / "postgres" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(re.sub(r"^host\b", "hostssl", before, flags=re.MULTILINE))
    try:
        await value(tls.url, "SELECT pg_reload_conf()")
        for _ in range(100):
            try:
                await value(f"{tls.url}?sslmode=disable", "SELECT 1")
            except asyncpg.InvalidAuthorizationSpecificationError:
                break
            await asyncio.sleep(0.05)
        assert "sslmode=require" in await refusal(f"{tls.url}?sslmode=disable")
    finally:
        rules.write_text(before)
        await value(f"{tls.url}?sslmode=require", "SELECT pg_reload_conf()")


@pytest.fixture
async def roles(empty_database: EmptyDatabase) -> Any:
    """Return a database, its superuser's URL, and the URLs of two roles without privileges."""
    url = await empty_database("roles")
    name = make_url(url).database
    owner, user = f"{name}_owner", f"{name}_user"
    await execute(
        url,
        *(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'" for role in (owner, user)),
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    )
    yield url, *(change_url(url, username=role, password=PASSWORD) for role in (owner, user))
    await execute(
        url,
        *(f"DROP OWNED BY {role} CASCADE" for role in (owner, user)),
        *(f"DROP ROLE {role}" for role in (owner, user)),
    )


def remedy(message: str) -> str:
    """Return the statement that a message says to run."""
    return message.rpartition("run: ")[2]


async def test_error_names_each_missing_privilege_and_its_grant(
    roles: tuple[str, str, str], tmp_path: Path
) -> None:
    """The privileges in docs/guides/databases.md suffice; with fewer, the message has the GRANT."""
    admin, owner, user = roles
    owner_name, user_name = (make_url(url).username for url in (owner, user))
    database = make_url(admin).database
    for role in (owner, user):
        message = await refusal(role, may_migrate=True)
        assert "GRANT CONNECT ON DATABASE" in message
        await execute(admin, remedy(message))
        message = await refusal(role, may_migrate=True)
        assert f'GRANT USAGE, CREATE ON SCHEMA "public" TO "{make_url(role).username}"' in message
        await execute(admin, f"GRANT USAGE ON SCHEMA public TO {make_url(role).username}")
    for right in ('CREATE ON SCHEMA "public"', f'TEMPORARY ON DATABASE "{database}"'):
        message = await refusal(owner, may_migrate=True)
        assert remedy(message) == f'GRANT {right} TO "{owner_name}"'
        await execute(admin, remedy(message))
    process = await run(owner, tmp_path, "migrate")
    assert process.returncode == 0, process.stderr

    # A role that only serves needs no CREATE privilege.
    message = await refusal(user)
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO" in message
    await execute(owner, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user_name}")
    message = await refusal(user)
    assert remedy(message) == f'GRANT TEMPORARY ON DATABASE "{database}" TO "{user_name}"'
    await execute(admin, remedy(message))
    message = await refusal(user)
    assert "may not read and write the tables" in message
    process = await run(user, tmp_path, "import", "--sample")
    assert (process.returncode, process.stderr.count("\n")) == (1, 1), process.stderr
    await execute(owner, remedy(message))
    imports = ["import --sample", "import --sample"]
    for arguments in (*imports, "client add reader", "keys rotate", "migrate"):
        process = await run(user, tmp_path, *arguments.split())
        assert process.returncode == 0, process.stderr


async def test_error_for_migration_by_other_role_names_owner(roles: tuple[str, str, str]) -> None:
    admin, owner, _ = roles
    name = make_url(owner).username
    await asyncio.to_thread(alembic_runner.migrate, admin)
    first = "2026_11_21_changes_feed"
    await asyncio.to_thread(command.downgrade, alembic_runner.build_alembic_config(admin), first)
    await execute(
        admin,
        f"GRANT ALL ON DATABASE {make_url(admin).database} TO {name}",
        f"GRANT ALL ON SCHEMA public TO {name}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}",
    )
    message = await refusal(owner, may_migrate=True)
    assert "must be owner of" in message
    assert "run this as the role that owns" in message


async def test_error_distinguishes_newer_and_older_schemas(empty_database: EmptyDatabase) -> None:
    url = await empty_database("versions")
    assert "has no schema yet" in await refusal(url)
    await asyncio.to_thread(alembic_runner.migrate, url)
    await execute(url, "UPDATE alembic_version SET version_num = '2026_11_21_changes_feed'")
    assert "run: case-server migrate" in await refusal(url)
    await execute(url, "UPDATE alembic_version SET version_num = '2099_unheard_of'")
    assert "it is newer; upgrade case-server" in await refusal(url, may_migrate=True)


async def test_pgbouncer_in_session_mode_works(
    postgres: str, tmp_path: Path, empty_database: EmptyDatabase, settings: Settings
) -> None:
    with run_pgbouncer(postgres, tmp_path, "session") as port:
        database_url = await empty_database("pooled")
        url = change_url(database_url, host="127.0.0.1", port=port) + "?pgbouncer=false"
        await check_at_startup(url, may_migrate=True, is_migration_requested=True)
        async with Database.open(url, settings) as database, database.connection() as connection:
            assert await connection.fetchval("SHOW transaction_isolation") == "repeatable read"
            assert await connection.fetchval("SHOW application_name") == "case-server"


async def test_connect_raises_the_errors_of_the_driver(closed_port: int) -> None:
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await connect(f"postgresql://u@127.0.0.1:{closed_port}/d")
