"""HAProxy with the configuration of the documentation."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

CONFIGURATION = Path(__file__).parents[2] / "docs" / "guides" / "haproxy.cfg"
CHECKED_SECONDS = 2.5
"""After this time HAProxy has checked its servers, which it does each second."""


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
    process = subprocess.Popen(
        [program, "-db", "-f", str(CONFIGURATION)],
        env=os.environ | variables | more_variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(CHECKED_SECONDS)
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
