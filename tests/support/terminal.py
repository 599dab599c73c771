"""Run ``case-server`` commands in a terminal."""

import os
import pty
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

from support.fork_server import ForkedProcess, get_fork_server, is_fork_server_usable
from support.live_server import COMMAND, build_environment

GREEN, BOLD, BOLD_RED = "\x1b[32m", "\x1b[1m", "\x1b[1;31m"


def run_in_terminal(
    *arguments: str, data_dir: Path, columns: int = 80, **settings: str
) -> tuple[int, str]:
    """Run a ``case-server`` command in a pseudo-terminal.

    Returns its exit code and everything that it wrote to stdout and stderr.
    """
    reader, terminal = pty.openpty()
    variables = build_environment(data_dir, **{"TERM": "xterm"} | settings)
    # Of the terminal that runs the tests, if any.
    for name in {"COLUMNS", "NO_COLOR", "FORCE_COLOR"} - settings.keys():
        variables.pop(name, None)
    termios.tcsetwinsize(terminal, (40, columns))
    process: subprocess.Popen[bytes] | ForkedProcess
    if is_fork_server_usable():
        process = get_fork_server().start(arguments, variables, [terminal] * 3)
    else:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env=variables
        )
    os.close(terminal)
    output = b""
    with suppress(OSError):  # the other side is closed: this is how a terminal says so
        while part := os.read(reader, 4096):
            output += part
    os.close(reader)
    return process.wait(timeout=60), output.decode().replace("\r\n", "\n")
