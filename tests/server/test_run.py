"""`case-server serve`: start, shutdown, restart after a kill, and invalid settings."""

import asyncio
import json
import os
import pickle
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr
from support import factories
from support.databases import EmptyDatabase, MigratedDatabase, NewDataDir, open_connection
from support.live_server import (
    LiveServer,
    build_environment,
    run_command,
    run_command_in_new_interpreter,
    run_command_in_process,
    run_live_server,
)
from support.selection import mark_slow_except

from case_server.db.schema import version
from case_server.sample import SAMPLE_DOCUMENT_ID
from case_server.server.run import _create_server_config, get_sample_import_command, print_banner
from case_server.settings import Settings

DOCUMENTS = "/case/1.1/CFDocuments"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve") / "data"


@pytest.fixture(scope="module")
def live(data_dir: Path) -> Iterator[LiveServer]:
    """Start a server with an empty data directory."""
    with run_live_server(data_dir, is_forked=False) as server:
        yield server


def put_document(live: LiveServer, body: factories.Body) -> None:
    with live.client() as client:
        response = client.put(f"{DOCUMENTS}/{body['identifier']}", json=body)
        assert response.status_code == 201, response.text


def total(live: LiveServer) -> int:
    with live.client() as client:
        return int(client.get(DOCUMENTS).json()["total"])


def test_banner_shows_urls(live: LiveServer, data_dir: Path) -> None:
    for words in (
        f"{live.base_url}/case/1.1",
        f"{live.base_url}/oauth2/token",
        f"{live.base_url}/docs",
        "local-client",
        str(data_dir),
    ):
        assert words in live.banner
    assert httpx.get(f"{live.base_url}/health").json() == {"status": "alive"}
    assert httpx.get(f"{live.base_url}/ready").json() == {"status": "ready"}


@pytest.mark.skipif(not shutil.which("curl"), reason="the snippet needs curl, which is not here")
def test_snippet_works_when_pasted(live: LiveServer) -> None:
    snippet = [line for line in live.banner.splitlines() if "curl" in line]
    assert len(snippet) == 2
    result = subprocess.run(["bash", "-c", "\n".join(snippet)], capture_output=True, check=True)
    assert "CFDocuments" in json.loads(result.stdout)


def test_banner_quotes_client_id_for_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    print_banner(Settings(client_id='"$x"', client_secret=SecretStr("s3cret")))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "curl -s -u" in line]
    assert shlex.split(line)[3] == '"$x":$CASE_CLIENT_SECRET'


def test_import_command_of_banner_works_when_pasted(live: LiveServer, tmp_path: Path) -> None:
    command = get_import_command_line(live)
    without = build_environment(tmp_path)
    del without["CASE_SERVER_DATA_DIR"]  # as in another terminal
    subprocess.run(["bash", "-c", command], env=without, capture_output=True, check=True)
    with live.client() as client:
        assert client.get(f"{DOCUMENTS}/{SAMPLE_DOCUMENT_ID}").status_code == 200
        client.delete(f"{DOCUMENTS}/{SAMPLE_DOCUMENT_ID}")


def get_import_command_line(live: LiveServer) -> str:
    (command,) = [line for line in live.banner.splitlines() if "import --sample" in line]
    return command


def test_import_command_of_banner_reads_url_with_password_from_environment(
    tmp_path: Path, migrated_database: MigratedDatabase
) -> None:
    url = migrated_database("banner")
    settings = {"CASE_SERVER_DATABASE_URL": url}
    with run_live_server(tmp_path / "data", settings=settings) as server:
        command = ["bash", "-c", get_import_command_line(server)]
        without = build_environment(tmp_path)
        failed = subprocess.run(command, env=without, capture_output=True, text=True, check=False)
        assert failed.returncode != 0
        assert "CASE_SERVER_DATABASE_URL: set it as for the server" in failed.stderr
        subprocess.run(command, env=without | settings, capture_output=True, check=True)
        assert total(server) == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), "import --sample"),
        (Settings(data_dir=Path("my data")), f"CASE_SERVER_DATA_DIR='{Path.cwd()}/my data' "),
        (
            Settings(database_url="postgresql://u@h:5432/n"),
            "--database-url postgresql://u@h:5432/n",
        ),
    ],
    ids=["default", "relative", "without-password"],
)
def test_import_command_names_the_database(settings: Settings, expected: str) -> None:
    command = get_sample_import_command(settings)
    assert expected in command
    assert command.count("CASE_SERVER") == expected.count("CASE_SERVER")


def test_token_command_prints_a_token_that_the_api_accepts(
    live: LiveServer, data_dir: Path
) -> None:
    result = run_command_in_process("token", "--url", live.base_url, data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    headers = {"Authorization": f"Bearer {result.stdout.strip()}"}
    assert httpx.get(live.base_url + DOCUMENTS, headers=headers).status_code == 200


def test_token_command_uses_the_port_inside_a_container(live: LiveServer, data_dir: Path) -> None:
    port = live.base_url.rpartition(":")[2]
    outside = {"CASE_SERVER_PUBLIC_URL": "http://localhost:9", "CASE_SERVER_PORT": port}
    ran = run_command_in_process("token", data_dir=data_dir, **outside)
    assert ran.returncode == 0, ran.stderr


def test_token_command_explains_failure(live: LiveServer, data_dir: Path) -> None:
    refused = run_command_in_process(
        "token", "--url", live.base_url, data_dir=data_dir, CASE_CLIENT_SECRET="wrong"
    )
    assert refused.returncode == 1
    assert "invalid_client" in refused.stderr


def test_package_imported_while_the_server_runs_is_returned(
    live: LiveServer, data_dir: Path
) -> None:
    body = factories.package()
    result = run_command_in_process("import", "-", data_dir=data_dir, stdin=json.dumps(body))
    assert result.returncode == 0, result.stderr
    with live.client() as client:
        identifier = body["CFDocument"]["identifier"]
        assert len(client.get(f"/case/1.1/CFPackages/{identifier}").json()["CFItems"]) == 2


@pytest.fixture(scope="module")
def configured(live: LiveServer, data_dir: Path) -> Iterator[LiveServer]:
    """A second server on the data of ``live``, without a web UI and with its own client."""
    foreign = {"CLIENT_ID": "stray", "CLIENT_SECRET": "stray", "HOST": "127.0.0.1", "PORT": "1"}
    settings = {**foreign, "CASE_CLIENT_ID": "mine", "CASE_CLIENT_SECRET": "s3cret"}
    arguments = ("--host", "0.0.0.0", "--no-web")
    with run_live_server(data_dir, *arguments, settings=settings) as server:
        yield server


def test_listens_beyond_loopback_with_a_secret(configured: LiveServer) -> None:
    assert configured.base_url.startswith("http://localhost:")
    assert configured.token("mine", "s3cret")
    assert "s3cret" not in configured.banner


def test_foreign_variables_are_ignored(configured: LiveServer) -> None:
    assert not configured.base_url.endswith(":1")
    assert configured.token("mine", "s3cret")
    form = {"grant_type": "client_credentials"}
    response = httpx.post(f"{configured.base_url}/oauth2/token", data=form, auth=("stray", "stray"))
    assert response.status_code == 401


def test_requests_are_logged_but_probes_are_not(live: LiveServer, data_dir: Path) -> None:
    for path in ("/health", "/ready", "/case/1.1/CFItems"):
        response = httpx.get(live.base_url + path)
    log, deadline = data_dir.parent / "data.log", time.monotonic() + 30
    # The server writes the line after it has sent the response.
    while f"request={response.headers['X-Request-ID']}" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "GET /case/1.1/CFItems" in log.read_text()
    assert "/health" not in log.read_text()
    assert "/ready" not in log.read_text()


def test_imported_objects_are_frozen() -> None:
    script = (
        "import gc; from case_server.server.worker import create_worker_app; "
        "from case_server.settings import Settings; "
        "app = create_worker_app(Settings(database_url='postgresql://user@localhost/none')); "
        "print(gc.get_freeze_count(), len(gc.get_objects()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    frozen, looked_through = map(int, result.stdout.split())
    assert frozen > 20 * looked_through


def test_web_ui_can_be_disabled(live: LiveServer, configured: LiveServer) -> None:
    assert f"{live.base_url}/\n" in live.banner
    assert httpx.get(f"{live.base_url}/").status_code == 200
    assert "web UI" not in configured.banner
    for path in ("/", "/search", "/static/style.css"):
        assert httpx.get(configured.base_url + path).status_code == 404
    assert httpx.get(f"{configured.base_url}/docs").status_code == 200


def test_two_workers_serve_and_log_until_their_parent_is_killed(
    live: LiveServer, data_dir: Path
) -> None:
    """A second server on the data of ``live``, with the default client on all addresses."""
    settings = {"CASE_SERVER_ALLOW_DEFAULT_SECRET": "true"}
    arguments = ("--host", "0.0.0.0", "--workers", "2", "--log-format", "json")
    with run_live_server(data_dir, *arguments, settings=settings) as server:
        assert server.base_url.startswith("http://localhost:")
        assert server.token(secret="local-secret")
        with server.client() as client:
            for _ in range(20):
                assert client.get(DOCUMENTS).status_code == 200
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        assert stops_answering(server)
    lines = (data_dir.parent / "data.log").read_text().splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert [record.get("path") for record in records].count(DOCUMENTS) == 20
    assert httpx.get(f"{live.base_url}/ready").status_code == 200


@pytest.mark.slow
def test_workers_end_with_their_parent(new_data_dir: NewDataDir) -> None:
    data_dir = new_data_dir()
    with run_live_server(data_dir, "--workers", "2") as server:
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        assert stops_answering(server)
    with run_live_server(data_dir) as server:
        assert total(server) == 0


def stops_answering(server: LiveServer) -> bool:
    for _ in range(200):
        try:
            httpx.get(f"{server.base_url}/health")
        except httpx.ConnectError:
            return True
        except (httpx.ReadError, httpx.RemoteProtocolError):
            pass  # a worker ended in the middle of it; the next request tells
        time.sleep(0.1)
    return False


def test_sighup_stops_all_processes(new_data_dir: NewDataDir) -> None:
    data_dir = new_data_dir()
    with run_live_server(data_dir) as server:
        server.stop(signal.SIGHUP)
    assert not postmaster_lives(data_dir)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"CASE_SERVER_DATABASE_URL": "garbage"}, "postgresql://"),
        ({"CASE_SERVER_DATABASE_URL": "mysql://a/b"}, "postgresql://"),
        ({"CASE_SERVER_DATABASE_URL": "postgresql://a:b@127.0.0.1:99999/c"}, "DATABASE_URL"),
        ({"CASE_SERVER_TRUSTED_ISSUERS": "http://example.com"}, "https"),
        ({"CASE_SERVER_LOCAL_ISSUER": "false"}, "CASE_SERVER_TRUSTED_ISSUERS"),
        ({"CASE_SERVER_POOL_SIZE": "none"}, "CASE_SERVER_POOL_SIZE"),
    ],
)
def test_invalid_setting_is_refused(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    result = run_command_in_process("serve", "--port", "0", data_dir=tmp_path / "data", **settings)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_data_and_keys_survive_a_restart_and_a_kill(tmp_path: Path) -> None:
    data_dir, bodies = tmp_path / "data", [factories.document() for _ in range(3)]
    with run_live_server(data_dir) as server:
        put_document(server, bodies[0])
        first_key = httpx.get(f"{server.base_url}/.well-known/jwks.json").json()
        assert server.stop(signal.SIGTERM) == 0
    assert not postmaster_lives(data_dir)
    with run_live_server(data_dir) as server:
        assert total(server) == 1
        put_document(server, bodies[1])
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with run_live_server(data_dir) as server:
        assert total(server) == 2
        os.kill(postmaster(data_dir), signal.SIGKILL)
        server.stop(signal.SIGKILL)
    with run_live_server(data_dir) as server:
        assert total(server) == 2
        assert httpx.get(f"{server.base_url}/.well-known/jwks.json").json() == first_key
        assert server.stop(signal.SIGINT) == 0
    assert not postmaster_lives(data_dir)


@pytest.mark.parametrize("workers", mark_slow_except(["2"], ["1", "2"]))
def test_killed_embedded_postgres_is_restarted(new_data_dir: NewDataDir, workers: str) -> None:
    data_dir = new_data_dir()
    with run_live_server(data_dir, "--workers", workers) as server:
        put_document(server, factories.document())
        killed = postmaster(data_dir)
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while postmaster_or_none(data_dir) in {killed, None}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        wait_until_ready(server, deadline)
        assert total(server) == 1
        assert server.stop() == 0
    assert not postmaster_lives(data_dir)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"scope_map": "editor=readonly+createput,https://x/a=b=delete", "cors_origins": "http://a"},
    ],
)
def test_workers_get_the_settings_of_their_parent(given: dict[str, str]) -> None:
    settings = Settings(database_url="postgresql://u@h/db", **given)  # type: ignore[arg-type]
    factory = pickle.loads(pickle.dumps(_create_server_config(settings).app))
    assert factory.args == (settings,)
    assert factory.args[0].client_secret.get_secret_value() == "local-secret"


@pytest.mark.parametrize("workers", mark_slow_except(["1"], ["1", "2"]))
def test_server_reconnects_when_its_embedded_postgres_is_back_at_another_port(
    new_data_dir: NewDataDir, workers: str
) -> None:
    data_dir = new_data_dir()
    with run_live_server(data_dir, "--workers", workers) as server:
        put_document(server, factories.document())
        before = int((data_dir / "postgres.port").read_text())
        deadline = time.monotonic() + 60
        # The server would otherwise restart Postgres at the same port if it noticed its end first.
        server.process.send_signal(signal.SIGSTOP)
        os.kill(postmaster(data_dir), signal.SIGKILL)
        with occupied(before, deadline):
            server.process.send_signal(signal.SIGCONT)
            while int((data_dir / "postgres.port").read_text() or before) == before:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            wait_until_ready(server, deadline)
            assert total(server) == 1
            put_document(server, factories.document())
            assert total(server) == 2
        assert server.stop() == 0
    assert not postmaster_lives(data_dir)


def wait_until_ready(server: LiveServer, deadline: float) -> None:
    while httpx.get(f"{server.base_url}/ready", timeout=30).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def occupied(port: int, deadline: float) -> Iterator[None]:
    """Take a port as soon as it is free."""
    while True:
        try:
            taken = socket.create_server(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            continue
        with taken:
            yield
        return


def postmaster_or_none(data_dir: Path) -> int | None:
    try:
        return postmaster(data_dir)
    except (OSError, ValueError, IndexError):
        return None  # its file is being written


def postmaster(data_dir: Path) -> int:
    """Return the process ID of the embedded Postgres."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def postmaster_lives(data_dir: Path) -> bool:
    return (data_dir / "postgres" / "postmaster.pid").exists()


def test_serve_migrates_no_external_database(empty_database: EmptyDatabase, tmp_path: Path) -> None:
    async def run_sql(function: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        async with open_connection(url) as connection:
            return await function(connection)

    async def create() -> str:
        return await empty_database("by_url")

    url = asyncio.run(create())
    in_process = partial(run_command_in_process, data_dir=tmp_path)
    in_fork = partial(run_command, data_dir=tmp_path)
    for run, *command in (
        (in_fork, "serve", "--port", "0"),
        (in_process, "import", "-"),
        (in_process, "export", "x"),
    ):
        result = run(*command, stdin="{}", CASE_SERVER_DATABASE_URL=url)
        assert result.returncode == 1
        assert "run: case-server migrate" in result.stderr
    assert asyncio.run(run_sql(version.get_schema_version)) is None
    result = in_process("migrate", "--database-url", url)
    assert result.returncode == 0, result.stderr
    required = version.get_required_schema_version()
    assert asyncio.run(run_sql(version.get_schema_version)) == required
    settings = {"CASE_SERVER_DATABASE_URL": url}
    with run_live_server(tmp_path, settings=settings) as server:
        assert total(server) == 0
        assert url not in server.banner
    newer = "UPDATE alembic_version SET version_num = '2099_unheard_of'"
    asyncio.run(run_sql(lambda connection: connection.execute(newer)))
    result = in_fork("serve", "--database-url", url)
    assert result.returncode == 1
    assert "newer" in result.stderr
    assert not (tmp_path / "postgres").exists()


def test_unreachable_database_is_reported(tmp_path: Path) -> None:
    url = "postgresql://a:b@127.0.0.1:9/c"
    result = run_command_in_new_interpreter(
        "serve", "--port", "0", "--database-url", url, data_dir=tmp_path
    )
    assert result.returncode == 1
    assert "CASE_SERVER_DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr
