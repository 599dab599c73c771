"""A process that keeps a server as long as somebody uses it: ``python -m … FOLDER``.

It writes the server's URL to ``FOLDER/url``. When nobody holds ``FOLDER/users.lock``, it ends the
server and removes the folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .server_process import COMMAND

PAUSE = 0.2
SECONDS_TO_STOP = 30
READY = re.compile(r"is ready at (\S+)")
PACKAGE = __package__.partition(".")[0]


def main(folder: Path) -> int:
    """Serve until abandoned; the server's exit code where it ended by itself."""
    serve = ("serve", "--target", "--host", "127.0.0.1", "--port", "0", "--no-access-log")
    server = subprocess.Popen(  # noqa: S603  no shell; this very program
        (*COMMAND, PACKAGE, *serve),
        # It ends when we are killed, too.
        env=os.environ | {"CASE_SERVER_PARENT": str(os.getpid())},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    found = READY.search(server.stdout.readline())
    if not found:
        return server.wait() or 1
    new = folder / "url.new"
    new.write_text(found[1])
    new.rename(folder / "url")
    with (folder / "users.lock").open("a") as users:
        while server.poll() is None:
            if _is_abandoned(users.fileno()):
                server.terminate()
                _wait(server)
                shutil.rmtree(folder, ignore_errors=True)
                return 0
            time.sleep(PAUSE)
    return server.returncode


def _is_abandoned(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(server: subprocess.Popen[str]) -> None:
    try:
        server.wait(timeout=SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
