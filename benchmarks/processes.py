"""Run case-server and the bare application of ``baseline.py`` as processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from .baseline import DATABASE, STATIC
from .client import TimedClient
from .errors import BenchmarkError

READY = re.compile(r"is ready at (\S+)")
START_TIMEOUT_SECONDS = 60
CREDENTIALS = ("benchmark-client", "benchmark-secret")


@dataclass(frozen=True)
class BenchmarkedServer:
    """A running case-server: its address, process and access token."""

    base_url: str
    pid: int
    headers: Mapping[str, str]
    """The header fields for requests, with an access token."""
    seconds_to_start: float

    def open_client(self) -> TimedClient:
        """Return a client that sends the access token."""
        return TimedClient(self.base_url, self.headers)


@contextmanager
def run_case_server(log: Path, *arguments: str, **settings: str) -> Iterator[BenchmarkedServer]:
    """Run ``case-server serve`` on a free port during a ``with`` block, without an access log.

    Further arguments are added to the command, and keywords are environment variables. Error output
    is written to the file ``log``.
    """
    command = (sys.executable, "-m", "case_server", "serve", "--port", "0", "--no-access-log")
    client = dict(zip(("CASE_CLIENT_ID", "CASE_CLIENT_SECRET"), CREDENTIALS, strict=True))
    start = time.perf_counter()
    with _process([*command, *arguments], log, client | settings) as process:
        base_url = _read_base_url(process, log)
        seconds = time.perf_counter() - start
        yield BenchmarkedServer(
            base_url, process.pid, _request_authorization_header(base_url), seconds
        )


def run_command(*arguments: str, database_url: str) -> None:
    """Run a case-server command on a database; raise ``BenchmarkError`` if it fails."""
    process = subprocess.run(
        [sys.executable, "-m", "case_server", *arguments, "--database-url", database_url],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise BenchmarkError(f"case-server {arguments[0]} failed: {process.stderr[-1000:]}")


@contextmanager
def run_bare_application(log: Path, database_url: str, static_folder: Path) -> Iterator[str]:
    """Run the application of ``baseline.py`` during a ``with`` block, and yield its base URL.

    It serves the entities of the database and the files in ``static_folder``, on a free port.
    ``log`` is the file for its output.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.baseline:app", "--port", str(port)]
    command += ["--no-access-log", "--no-server-header", "--log-level", "warning"]
    variables = {DATABASE: database_url, STATIC: str(static_folder)}
    with _process(command, log, variables) as process:
        _wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _process(
    command: Sequence[str], log: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CASE_")
    }
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[1],
            env=environment | dict(variables),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
            if process.stdout:
                process.stdout.close()


def _read_base_url(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout
    for line in process.stdout:
        if match := READY.search(line):
            return match[1]
    raise BenchmarkError(f"the server did not start: {log.read_text()[-2000:]}")


def _wait_for(port: int, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BenchmarkError(f"the bare application did not start: {log.read_text()[-2000:]}")


def _request_authorization_header(base_url: str) -> dict[str, str]:
    form = {"grant_type": "client_credentials"}
    response = httpx.post(f"{base_url}/oauth2/token", data=form, auth=CREDENTIALS, timeout=30)
    response.raise_for_status()
    return {"Authorization": f"Bearer {response.json()['access_token']}"}
