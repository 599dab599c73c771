"""PgBouncer in its default configuration, in front of a Postgres server."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

START_SECONDS = 60


@contextmanager
def run_pgbouncer(postgres: str, folder: Path, pool_mode: str) -> Iterator[int]:
    """Run PgBouncer in front of a Postgres server during a block and yield its port.

    Skips the test if PgBouncer is not installed.
    """
    program = _find_program()
    parts = make_url(postgres)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    (folder / "users.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={parts.host} port={parts.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\npool_mode = {pool_mode}\n"
        # It refuses to run as root.
        + ("user = nobody\n" if os.geteuid() == 0 else "")
    )
    for directory in (folder, *list(folder.parents)[:2]) if os.geteuid() == 0 else ():
        directory.chmod(directory.stat().st_mode | 0o055)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, configuration], stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _accepts(port) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait()


def has_prepared_statements() -> bool:
    """Return whether the installed PgBouncer keeps prepared statements in its default settings."""
    output = subprocess.run((_find_program(), "--version"), capture_output=True, check=True).stdout
    major, minor = output.split()[1].split(b".")[:2]
    return (int(major), int(minor)) >= (1, 24)


def _find_program() -> str:
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    return program


def _accepts(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
