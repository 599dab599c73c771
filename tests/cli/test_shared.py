"""Commands print the database they use, and warn about unknown settings."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.databases import MigratedDatabase
from support.live_server import run_command_in_process as run
from support.live_server import run_live_server

from case_server.cli.shared import warn_about_unknown_variables
from case_server.settings import is_unknown_variable

ROOT = Path(__file__).parents[2]


def test_every_command_names_its_database_and_never_the_password(
    migrated_database: MigratedDatabase, tmp_path: Path
) -> None:
    url = migrated_database("named")
    parts = urlsplit(url)
    name = f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}"

    def case_server(*command: str, code: int = 0) -> tuple[str, str]:
        result = run(*command, data_dir=tmp_path, CASE_SERVER_DATABASE_URL=url)
        assert result.returncode == code, result.stderr
        assert str(parts.password) not in result.stdout + result.stderr
        return result.stdout, result.stderr

    assert f"the schema is current in {name}\n" in case_server("migrate")[0]
    assert case_server("import", "--sample")[1].startswith(f"writing to {name}\n")
    assert name not in "".join(case_server("import", "--sample", "--quiet"))
    assert case_server("client", "add", "reader")[1].startswith(f"writing to {name}\n")
    assert case_server("client", "list")[1] == f"reading from {name}\n"
    identifier = "00000000-0000-4000-8000-000000000000"
    assert case_server("delete", "item", identifier, code=1)[1].startswith(f"writing to {name}\n")
    assert case_server("purge", "--older-than", "9w", "--yes")[1] == f"writing to {name}\n"
    exported, message = case_server("export", _document(case_server("import", "--sample")))
    assert message == f"reading from {name}\n"
    assert json.loads(exported)["CFDocument"]
    with run_live_server(tmp_path / "served", settings={"CASE_SERVER_DATABASE_URL": url}) as server:
        assert name in server.banner
        assert str(parts.password) not in server.banner


def test_migrate_prefers_its_option_to_the_migration_url_and_that_to_the_database_url(
    migrated_database: MigratedDatabase, tmp_path: Path
) -> None:
    url, unreachable = migrated_database("chosen"), "postgresql://nobody@127.0.0.1:1/none"
    variables = {"CASE_SERVER_DATABASE_URL": unreachable, "CASE_SERVER_MIGRATION_URL": url}
    migrated = run("migrate", data_dir=tmp_path, **variables)
    assert migrated.returncode == 0
    assert migrated.stdout.rstrip().endswith(urlsplit(url).path)
    variables = {"CASE_SERVER_DATABASE_URL": url, "CASE_SERVER_MIGRATION_URL": unreachable}
    result = run("migrate", data_dir=tmp_path, **variables)
    assert "127.0.0.1:1" in result.stderr
    option = ("--database-url", url)
    assert run("migrate", *option, data_dir=tmp_path, **variables).returncode == 0


def _document(output: tuple[str, str]) -> str:
    """Return the document identifier in the output of an import."""
    match = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "".join(output))
    assert match, output
    return match[0]


def test_embedded_database_is_named_by_its_folder(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    result = run("client", "add", "reader", data_dir=data_dir)
    assert result.stderr.startswith(f"writing to the embedded Postgres in {data_dir}\n")
    assert len(result.stdout.splitlines()) == 1
    result = run("backup", str(tmp_path / "copy"), data_dir=data_dir)
    assert f"of the embedded Postgres in {data_dir} to " in result.stdout


def test_unknown_variable_is_warned_about_once_with_the_nearest_name(tmp_path: Path) -> None:
    variables = {"CASE_SERVER_DATABSE_URL": "x", "CASE_SERVER_CLIENT_SECRET": "Hunter2"}
    result = run("template", str(tmp_path / "x.csv"), data_dir=tmp_path, **variables)
    assert result.returncode == 0
    start = "case-server: warning: unknown environment variable"
    warnings = [line for line in result.stderr.splitlines() if "warning" in line]
    assert sorted(warnings) == [
        f"{start} CASE_SERVER_CLIENT_SECRET: did you mean CASE_CLIENT_SECRET?",
        f"{start} CASE_SERVER_DATABSE_URL: did you mean CASE_SERVER_DATABASE_URL?",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "CASE_SERVER_PARENT",
        "CASE_SERVER_URL",
        "case_server_port",
        # Kubernetes sets these for a service called case-server.
        "CASE_SERVER_SERVICE_HOST",
        "CASE_SERVER_SERVICE_PORT_HTTP",
        "CASE_SERVER_PORT_8000_TCP_ADDR",
        "PATH",
    ],
)
def test_variable_that_is_read_or_not_ours_is_not_warned_about(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_about_unknown_variables({name: "x"})
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "file", ["docker-compose.yml", "Dockerfile", "app/pytest_plugin/server.py"]
)
def test_variables_of_our_own_files_are_known(file: str) -> None:
    names = set(re.findall(r"\bCASE_[A-Z_]+[A-Z]\b", (ROOT / file).read_text()))
    assert names
    assert not any(is_unknown_variable(name) for name in names)
