"""Run ``case-server`` commands and servers in processes of their own, as users do."""

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
from click.testing import CliRunner
from support.fork_server import ForkedProcess, get_fork_server, is_fork_server_usable

from case_server.cli import main

COMMAND = (sys.executable, "-m", "case_server")
COMMAND_TIMEOUT_SECONDS = 120
READY = re.compile(r"is ready at (\S+)")
LAST_BANNER_LINE = "Ctrl+C stops"


def build_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return this process's environment with a data directory and the given variables.

    Other variables that begin with ``CASE_`` are left out.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CASE_")}
    return inherited | {"CASE_SERVER_DATA_DIR": str(data_dir)} | settings


def run_command(
    *arguments: str, data_dir: Path, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a ``case-server`` command in a process of its own and return its result.

    The process is forked from one that has imported the modules of case-server, if possible.
    """
    if not is_fork_server_usable():
        return run_command_in_new_interpreter(
            *arguments, data_dir=data_dir, stdin=stdin, **settings
        )
    variables = build_environment(data_dir, **settings)
    return get_fork_server().run(arguments, variables, stdin, COMMAND_TIMEOUT_SECONDS)


def run_command_with_bytes(
    *arguments: str, data_dir: Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a ``case-server`` command as ``run_command`` does, with bytes as input and output."""
    variables = build_environment(data_dir)
    if is_fork_server_usable():
        return get_fork_server().run(arguments, variables, stdin, COMMAND_TIMEOUT_SECONDS)
    return subprocess.run(
        [*COMMAND, *arguments],
        env=variables,
        input=stdin,
        capture_output=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
    )


def run_command_in_new_interpreter(
    *arguments: str, data_dir: Path, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a ``case-server`` command as users do, for tests of the start; see ``run_command``."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=build_environment(data_dir, **settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
    )


def run_command_in_process(
    *arguments: str, data_dir: Path, stdin: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a ``case-server`` command in this process and return the same as ``run_command``.

    It takes a third of the CPU time of a new interpreter, most of which is spent on imports.
    ``run_command`` is for tests of what only a process has: exit codes of signals, pipes and
    terminals.
    """
    variables: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("CASE_")
    }
    variables |= build_environment(data_dir, **settings)
    with preserve_signal_handlers(), preserve_logging():
        result = CliRunner().invoke(main, arguments, stdin, variables, prog_name="case-server")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


@contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers at the end of a block, because a command replaces them."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def preserve_logging() -> Iterator[None]:
    """Restore the root logger's handlers and level at the end of a block; commands change them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@dataclass
class LiveServer:
    """A running ``case-server serve`` process, its start-up banner and its base URL."""

    process: subprocess.Popen[str] | ForkedProcess
    banner: str
    base_url: str

    def token(self, client: str = "local-client", secret: str = "local-secret") -> str:
        form = {"grant_type": "client_credentials"}
        url = f"{self.base_url}/oauth2/token"
        response = httpx.post(url, data=form, auth=(client, secret), timeout=60)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token()}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the server, SIGTERM by default, and return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


@contextmanager
def run_live_server(
    data_dir: Path,
    *arguments: str,
    command: tuple[str, ...] | None = None,
    settings: Mapping[str, str] | None = None,
    is_forked: bool = True,
) -> Iterator[LiveServer]:
    """Run ``case-server serve`` on a free port for the duration of a block.

    ``command`` replaces the command line, and ``settings`` are environment variables. If
    ``is_forked``, the server is forked from a process that has imported its modules, which takes
    half of the CPU time of a start; its workers are new interpreters. ``is_forked=False`` is for
    tests of the start itself.
    """
    log = (data_dir.parent / f"{data_dir.name}.log").open("a+")
    variables = build_environment(data_dir, **(settings or {}))
    serve = ["serve", "--port", "0", *arguments]
    process: subprocess.Popen[str] | ForkedProcess
    if is_forked and not command and is_fork_server_usable():
        process = get_fork_server().start_with_pipe(serve, variables, log)
    else:
        process = subprocess.Popen(
            command or (*COMMAND, *serve),
            env=variables,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout
        banner = _read_banner(process.stdout)
        ready = READY.search(banner)
        assert ready, f"the server did not start: {banner}{_read_all(log)}"
        yield LiveServer(process, banner, ready[1])
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
        if process.stdout:
            process.stdout.close()
        log.close()


def _read_banner(stdout: IO[str]) -> str:
    lines = []
    for line in stdout:
        lines.append(line)
        if LAST_BANNER_LINE in line:
            break
    return "".join(lines)


def _read_all(log: IO[str]) -> str:
    log.seek(0)
    return log.read()
