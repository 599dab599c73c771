"""A process that has imported case-server, and forks for each command that a test runs.

Without it, each start imports the same modules, which takes most of its CPU time: 0.9 s until a
server is ready, and 0.1 s if it is forked. A test process talks to it over a Unix socket: a message
is a JSON object with the arguments and the environment of a command, and four file descriptors:
standard input, output and error, and a pipe that receives the exit code. The answer is the process
ID.
"""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, AnyStr

MAX_MESSAGE_BYTES = 1_000_000
MAX_FILES = 1_000
"""No file descriptor of the fork server is higher."""

PRELOADED = (
    "case_server.cli.credentials",
    "case_server.cli.delete",
    "case_server.cli.packages",
    "case_server.cli.serve",
    "case_server.server.run",
    "case_server.db.postgres.ensure_schema",
    "case_server.db.postgres.alembic_runner",
    "uvloop",
    "httptools",
)


class ForkedProcess:
    """A process that the fork server started, with the interface of ``subprocess.Popen``."""

    stdout: IO[str] | None = None

    def __init__(self, pid: int, exit_pipe: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.exit_pipe = exit_pipe

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended; negative if a signal ended it."""
        if self.returncode is None:
            if not select.select([self.exit_pipe], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(os.read(self.exit_pipe, 100))
            os.close(self.exit_pipe)
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        try:
            return self.wait(timeout=0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkServer:
    """The fork server of a test process, which ends with it."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.lock = threading.Lock()
        with theirs:
            # -P, because modules of this folder may have the names of others.
            self.process = subprocess.Popen(
                (sys.executable, "-P", __file__, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        atexit.register(self.close)

    def close(self) -> None:
        self.control.close()
        self.process.wait()

    def start(
        self, arguments: Sequence[str], variables: dict[str, str], files: Sequence[int]
    ) -> ForkedProcess:
        """Start a process that runs a command of case-server, in the current directory.

        ``files`` are the descriptors of its standard input, output and error.
        """
        request = {"arguments": arguments, "variables": variables, "folder": str(Path.cwd())}
        exited, their_exited = os.pipe()
        try:
            with self.lock:
                message = json.dumps(request).encode()
                socket.send_fds(self.control, [message], [*files, their_exited])
                response = self.control.recv(MAX_MESSAGE_BYTES)
                assert response, "the fork server ended; standard error says why"
        finally:
            os.close(their_exited)
        return ForkedProcess(int(response), exited)

    def start_with_pipe(
        self, arguments: Sequence[str], variables: dict[str, str], log: IO[str]
    ) -> ForkedProcess:
        """Start a process as ``start`` does, with a pipe as ``stdout`` and errors in a file."""
        stdout, their_stdout = os.pipe()
        with Path(os.devnull).open() as nothing:
            try:
                files = (nothing.fileno(), their_stdout, log.fileno())
                process = self.start(arguments, variables, files)
            finally:
                os.close(their_stdout)
        process.stdout = open(stdout, encoding="utf-8")  # noqa: PTH123, SIM115
        return process

    def run(
        self, arguments: Sequence[str], variables: dict[str, str], stdin: AnyStr, timeout: float
    ) -> subprocess.CompletedProcess[AnyStr]:
        """Run a command until it ends, or fail after ``timeout`` seconds; return its output.

        The output is bytes if ``stdin`` is.
        """
        mode = "w+" if isinstance(stdin, str) else "w+b"
        with ExitStack() as stack:
            files: list[IO[AnyStr]]
            files = [stack.enter_context(TemporaryFile(mode)) for _ in range(3)]
            files[0].write(stdin)
            files[0].seek(0)
            process = self.start(arguments, variables, [file.fileno() for file in files])
            code = process.wait(timeout)
            for file in files:
                file.seek(0)
            output, errors = (file.read() for file in files[1:])
        return subprocess.CompletedProcess(arguments, code, output, errors)


@cache
def get_fork_server() -> ForkServer:
    """Return the fork server of this process; start it if there is none."""
    return ForkServer()


def is_fork_server_usable() -> bool:
    """Return whether this system can wait for several processes at once (Linux)."""
    return hasattr(os, "pidfd_open")


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each request until the test process ends.

    Returns None at the end, and in each forked process the request for it.
    """
    exits: dict[int, tuple[int, int]] = {}
    while True:
        files_to_watch: list[socket.socket | int] = [control, *exits]
        readable, _, _ = select.select(files_to_watch, [], [])
        for file in readable:
            if isinstance(file, int):
                pid, exit_pipe = exits.pop(file)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.write(exit_pipe, str(code).encode())
                os.close(exit_pipe)
                os.close(file)
                continue
            message, files, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 4)
            if not message:
                return None
            *standard_files, exit_pipe = files
            pid = os.fork()
            if not pid:
                for target, standard_file in enumerate(standard_files):
                    os.dup2(standard_file, target)
                request: dict[str, Any] = json.loads(message)
                return request
            exits[os.pidfd_open(pid)] = pid, exit_pipe
            for standard_file in standard_files:
                os.close(standard_file)
            control.send(str(pid).encode())


def _run_fork_server(control: socket.socket) -> None:
    for name in PRELOADED:
        import_module(name)
    # The workers of a server import the main module of their parent by the name in its spec.
    sys.modules["__main__"].__spec__ = find_spec("case_server.__main__")
    main = import_module("case_server.cli").main
    request = _serve(control)
    if request is None:
        return
    control.detach()
    os.closerange(3, MAX_FILES)
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    program = Path(sys.modules["case_server"].__file__ or "").with_name("__main__.py")
    sys.argv = [str(program), *request["arguments"]]
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    main()


if __name__ == "__main__":
    _run_fork_server(socket.socket(fileno=int(sys.argv[1])))
