"""The server that all processes of a test run share, and the supervisor that ends it.

The first process of the test run starts a supervisor, ``python -m …pytest_plugin.server FOLDER``,
which starts the server and writes its URL to ``FOLDER/url``. Every process that uses the server
holds a shared ``flock`` on ``FOLDER/users.lock``. The kernel releases the lock of a process that is
killed, too; when the supervisor can get an exclusive lock, it ends the server and removes FOLDER.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 30
URL_POLL_SECONDS = 0.02
LOCK_POLL_SECONDS = 0.2

PYTHON_COMMAND = (sys.executable, "-P", "-m")
"""``-P`` keeps the working directory out of ``sys.path``: its modules may have the same names."""

FORWARDED_SETTINGS = {"CASE_SERVER_DATABASE_URL"}
"""``CASE_`` variables of the test run's environment that the server receives."""

READY_LINE = re.compile(r"is ready at (\S+)")
PACKAGE = __package__.partition(".")[0]


class ServerStartError(Exception):
    """Raised with the log of the server if the server of the test run does not start."""


@contextmanager
def use_shared_server(folder: Path, on_start: Callable[[str], None]) -> Iterator[str]:
    """Yield the URL of the test run's server, and start it unless another process did.

    ``folder`` identifies the test run. The process that starts the server calls ``on_start`` with
    the URL before any other process gets the URL. Raises ``ServerStartError`` if the server does
    not start.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "start.lock").open("a") as start, (folder / "users.lock").open("a") as users:
        fcntl.flock(start, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        ready = folder / "ready"
        if not ready.exists():
            on_start(_start_supervisor(folder))
            ready.touch()
        fcntl.flock(start, fcntl.LOCK_UN)
        yield (folder / "url").read_text()


def _start_supervisor(folder: Path) -> str:
    """Start the process that runs and stops the test server, and return the server's URL.

    Raises ``ServerStartError`` if the process ends, or does not write the URL into ``folder`` in
    time.
    """
    log, url = folder / "server.log", folder / "url"
    with log.open("a") as output:
        supervisor = subprocess.Popen(  # noqa: S603  no shell; runs this module
            (*PYTHON_COMMAND, f"{__package__}.server", str(folder)),
            env=_build_server_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl+C ends the tests first, and they end the server
        )
    # A thread waits for the supervisor, because a child that is not waited for stays a zombie.
    threading.Thread(target=supervisor.wait, daemon=True).start()
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not url.exists():
        if supervisor.poll() is not None or time.monotonic() > deadline:
            supervisor.kill()
            server_log = log.read_text()
            shutil.rmtree(folder, ignore_errors=True)
            raise ServerStartError(f"case-server did not start:\n{server_log}")
        time.sleep(URL_POLL_SECONDS)
    return url.read_text()


def _build_server_environment(folder: Path) -> dict[str, str]:
    """Return the environment variables for the server: those of this process, with changes.

    Removes the ``CASE_`` settings, except for the database URL. Puts the data directory into
    ``folder``, and turns fsync off, because test data need not survive.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in FORWARDED_SETTINGS or not name.startswith("CASE_")
    }
    return environment | {
        "CASE_SERVER_DATA_DIR": str(folder / "data"),
        "CASE_SERVER_EMBEDDED_FSYNC": "false",
    }


def run_supervisor(folder: Path) -> int:
    """Run the server while any process of the test run uses it, and return its exit code.

    ``folder`` contains the lock file of these processes, and receives the URL of the server.
    """
    serve = ("serve", "--test-mode", "--host", "127.0.0.1", "--port", "0", "--no-access-log")
    server = subprocess.Popen(  # noqa: S603  no shell; runs case-server
        (*PYTHON_COMMAND, PACKAGE, *serve),
        # The server ends itself when this process is killed.
        env=os.environ | {"CASE_SERVER_PARENT": str(os.getpid())},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    ready = READY_LINE.search(server.stdout.readline())
    if not ready:
        return server.wait() or 1
    # Written under another name first, so that no process reads half a URL.
    temporary_path = folder / "url.new"
    temporary_path.write_text(ready[1])
    temporary_path.rename(folder / "url")
    with (folder / "users.lock").open("a") as users:
        while server.poll() is None:
            if _is_unused(users.fileno()):
                _stop_server(server)
                shutil.rmtree(folder, ignore_errors=True)
                return 0
            time.sleep(LOCK_POLL_SECONDS)
    return server.returncode


def _is_unused(users_lock: int) -> bool:
    try:
        fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop_server(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(timeout=STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(run_supervisor(Path(sys.argv[1])))
