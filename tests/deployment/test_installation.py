"""The guides for an own server: installation.md, and the roles of databases.md and backup.md."""

import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.live_server import COMMAND, build_environment

from case_server.db.postgres.embedded import embedded_postgres, find_postgres_bin_dir
from case_server.settings import Settings

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
UNIT = GUIDES / "case-server.service"

OF_THE_MACHINE = (
    *("apt-get", "useradd", "install --mode=644", "systemctl stop", "systemctl status"),
    *("systemctl start case-server-backup", "journalctl"),
)
"""Commands that a test must not run, because they change or ask the machine."""


STOP_JOBS = "trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT"


def read_blocks(page: str, language: str) -> list[str]:
    text = (GUIDES / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", sorted(path.name for path in GUIDES.glob("case-server*.*")))
def test_systemd_unit_is_valid(name: str, tmp_path: Path) -> None:
    program = tmp_path / "case-server"
    program.touch(mode=0o755)
    for path in GUIDES.glob("case-server*.*"):
        text = path.read_text().replace("/opt/case-server/bin/case-server", str(program))
        (tmp_path / path.name).write_text(text)
    unit = tmp_path / name
    result = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    messages = [line for line in result.stderr.splitlines() if name in line]
    assert messages == []


def test_systemd_unit_waits_for_the_shutdown_timeout() -> None:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(seconds) > Settings.model_fields["shutdown_timeout"].default


class Machine:
    """A folder in place of /etc, /opt and /usr/local, and an own Postgres server."""

    def __init__(self, folder: Path, superuser_url: str) -> None:
        self.folder = folder
        self.postgres = urlsplit(superuser_url)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        for name in ("etc", "opt", "bin"):
            (folder / name).mkdir()
        program = folder / "opt" / "case-server"
        # The password of the owner is in .pgpass, which PGPASSWORD would override.
        program.write_text(f'#!/bin/sh\nunset PGUSER PGPASSWORD\nexec {shlex.join(COMMAND)} "$@"\n')
        program.chmod(0o755)

    def localize(self, script: str) -> str:
        """Return a script of the guides with the paths and ports of this machine."""
        lines = [
            line
            for line in script.splitlines()
            if not line.startswith((*OF_THE_MACHINE, "python3 -m venv", "/opt/case-server/bin/pip"))
        ]
        for before, after in (
            ("systemctl enable --now case-server", "case-server serve > server.log 2>&1 &"),
            ("systemctl start case-server", "case-server list"),
            ("~/", f"{self.folder}/"),
            ("*:5432:", f"*:{self.postgres.port}:"),
            ("/opt/case-server/bin", f"{self.folder}/opt"),
            ("/etc/case-server", f"{self.folder}/etc"),
            ("/usr/local/bin", f"{self.folder}/bin"),
            ("@127.0.0.1/", f"@127.0.0.1:{self.postgres.port}/"),
            ("8000", str(self.port)),
        ):
            lines = [line.replace(before, after) for line in lines]
        return "\n".join(lines)

    def run(self, *scripts: str) -> str:
        """Run scripts of the guides in one shell, as the superuser of Postgres."""
        environment = build_environment(self.folder / "data", CASE_SERVER_PORT=str(self.port))
        environment |= {
            "HOME": str(self.folder),
            "PATH": os.pathsep.join(
                [f"{self.folder}/bin", str(find_postgres_bin_dir(None)), os.environ["PATH"]]
            ),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.postgres.port),
            "PGUSER": str(self.postgres.username),
            "PGPASSWORD": str(self.postgres.password),
            "PGDATABASE": "postgres",
        }
        result = subprocess.run(
            ["bash", "-ec", "\n".join([STOP_JOBS, *map(self.localize, scripts)])],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        log = self.folder / "server.log"
        assert result.returncode == 0, result.stderr + (log.read_text() if log.exists() else "")
        return result.stdout

    def run_sql(self, *statements: str) -> str:
        (self.folder / "script.sql").write_text("\n".join(statements))
        return self.run("psql --quiet --set ON_ERROR_STOP=1 --file script.sql")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with embedded_postgres(tmp_path / "postgres") as url:
        folder = tmp_path / "machine"
        folder.mkdir()
        yield Machine(folder, url)


def test_guides_install_server_and_restore_database_under_other_roles(machine: Machine) -> None:
    create_roles, grant_privileges, *grant_more = read_blocks("databases.md", "sql")
    machine.run_sql(create_roles, *grant_more)
    program, settings, start, client, upgrade, logs = read_blocks("installation.md", "sh")
    output = machine.run(program, settings, start, client, upgrade, logs)
    assert '"status":"ready"' in output.replace(" ", "")
    assert (machine.folder / "etc" / "env").stat().st_mode & 0o777 == 0o600
    assert "Reading the Sky" in output  # of list, which runs in place of the start of the service

    machine.run_sql(r"\connect frameworks", grant_privileges)
    machine.run_sql(
        "CREATE ROLE new_owner LOGIN PASSWORD 'SECRET-3';",
        "CREATE ROLE new_user LOGIN PASSWORD 'SECRET-4';",
    )
    (move,) = [block for block in read_blocks("backup.md", "sh") if "--no-privileges" in block]
    # A role that the dump grants privileges to is unknown where it is restored.
    dump = "pg_dump --format=custom --no-owner -f frameworks.dump frameworks"
    rename = "psql -c 'ALTER ROLE case_user RENAME TO renamed'"
    use = (
        "CASE_SERVER_DATABASE_URL=postgresql://new_user:SECRET-4@127.0.0.1/frameworks_moved "
        f"{shlex.join(COMMAND)} import --sample"
    )
    assert "unchanged" in machine.run(dump, rename, move, use)
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert machine.run(f'psql -At -d frameworks_moved -c "{owners}"') == "new_owner\n"
