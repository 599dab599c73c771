"""HAProxy with the configuration of the documentation."""

import csv
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

CONFIGURATION = Path(__file__).parents[2] / "docs" / "guides" / "haproxy.cfg"
STATISTICS = "global\n    stats socket {socket}\n"
CHECK_TIMEOUT_SECONDS = 30


@contextmanager
def run_haproxy(
    nodes: Sequence[str], certificate: Path | None = None, **more_variables: str
) -> Iterator[str]:
    """Run HAProxy in front of three nodes, given by their base URLs; yield its base URL.

    ``certificate`` is a PEM file with a certificate and its key; without it, TLS is off.
    ``more_variables`` are further variables of the configuration.
    """
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    variables = {"CASE_BIND": f"127.0.0.1:{port}"} | {
        f"CASE_NODE{number}": url.removeprefix("http://") for number, url in enumerate(nodes, 1)
    }
    if certificate:
        variables["CASE_CERTIFICATE"] = str(certificate)
    # The path of a socket may have 107 characters.
    with TemporaryDirectory(prefix="haproxy-") as folder:
        statistics = Path(folder) / "statistics.cfg"
        statistics.write_text(STATISTICS.format(socket=f"{folder}/socket"))
        process = subprocess.Popen(
            [program, "-db", "-f", str(CONFIGURATION), "-f", str(statistics)],
            env=os.environ | variables | more_variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_checked(Path(folder) / "socket")
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def wait_until_checked(path: Path) -> None:
    """Wait until HAProxy has checked each of its servers, which it does each second.

    Until then, it takes all of them for primaries and for standbys. ``path`` is the socket of its
    statistics.
    """
    deadline = time.monotonic() + CHECK_TIMEOUT_SECONDS
    while not (checks := read_checks(path)) or not all(checks):
        assert time.monotonic() < deadline, f"HAProxy has not checked its servers: {checks}"
        time.sleep(0.1)


def read_checks(path: Path) -> list[str]:
    """Return the result of the last check of each server, "" without one; [] without HAProxy."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        try:
            connection.connect(str(path))
        except OSError:
            return []
        connection.sendall(b"show stat\n")
        table = b"".join(iter(lambda: connection.recv(65_536), b"")).decode().removeprefix("# ")
    rows = csv.DictReader(table.splitlines())
    # The result of a check that runs for the first time is INI.
    results = [row["check_status"] for row in rows if row["svname"].startswith("node")]
    return ["" if "INI" in result else result for result in results]
