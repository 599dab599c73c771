"""A server that the processes of one test run share: the first starts it, and none need stop it.

Each holds a shared ``flock`` while it lives, which a killed one releases by dying; ``keeper.py``
ends the server when nobody holds one any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS_TO_START = 120
COMMAND = (sys.executable, "-P", "-m")
"""Without the working directory, in which tests may have modules named like ours."""

PASSED_ON = {"CASE_SERVER_DATABASE_URL"}
"""Settings of the tests' environment that are for the server, too."""


class CannotStart(Exception):
    """The server did not start; the message is what it said."""


@contextmanager
def shared_server(folder: Path, prepare: Callable[[str], None]) -> Iterator[str]:
    """The URL of the server in ``folder``, started if need be, for as long as the block lasts.

    Whoever starts it calls ``prepare`` with the URL before anybody else gets it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "start.lock").open("a") as start, (folder / "users.lock").open("a") as users:
        fcntl.flock(start, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        ready = folder / "ready"
        if not ready.exists():
            prepare(_start(folder))
            ready.touch()
        fcntl.flock(start, fcntl.LOCK_UN)
        yield (folder / "url").read_text()


def _start(folder: Path) -> str:
    log, url = folder / "server.log", folder / "url"
    with log.open("a") as output:
        keeper = subprocess.Popen(  # noqa: S603  no shell; this very program
            (*COMMAND, f"{__package__}.keeper", str(folder)),
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl+C ends the tests first, and they the server
        )
    # Whoever starts a process must wait for it, here beside the tests.
    threading.Thread(target=keeper.wait, daemon=True).start()
    deadline = time.monotonic() + SECONDS_TO_START
    while not url.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            keeper.kill()
            said = log.read_text()
            shutil.rmtree(folder, ignore_errors=True)
            raise CannotStart(f"case-server did not start:\n{said}")
        time.sleep(0.02)
    return url.read_text()


def _environment(folder: Path) -> dict[str, str]:
    """This environment less the settings of other servers and clients."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or not name.startswith("CASE_")
    }
    return kept | {
        "CASE_SERVER_DATA_DIR": str(folder / "data"),
        "CASE_SERVER_EMBEDDED_FSYNC": "false",
    }
