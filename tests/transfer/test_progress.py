"""Progress bars are shown on terminals only."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

from support.live_server import COMMAND, environment, run

COLUMNS = 40


def run_in_terminal(folder: Path, *arguments: str) -> str:
    """Run a command in a pseudo-terminal and return its output."""
    controller, terminal = pty.openpty()
    variables = environment(folder / "data", TERM="xterm")
    variables.pop("COLUMNS", None)
    command = shlex.join((*COMMAND, *arguments))
    with subprocess.Popen(
        ["sh", "-c", f"stty cols {COLUMNS} rows 24; {command}"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=variables,
    ) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # the other side is closed: this is how a terminal says so
            while part := os.read(controller, 4096):
                shown += part
    os.close(controller)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def test_progress_bar_grows_and_disappears(tmp_path: Path) -> None:
    drawn = run_in_terminal(tmp_path, "import", "--sample").split("\r\x1b[K")
    bars = [line.count("█") for line in drawn if "░" in line]
    assert len(bars) > 5
    assert bars[0] < bars[-1]
    assert all(len(line) < COLUMNS for line in drawn if "░" in line)
    # What stays is the outcome alone.
    assert "created" in drawn[-1]
    assert "░" not in drawn[-1]


def test_no_progress_bar_without_terminal_or_with_quiet(tmp_path: Path) -> None:
    ran = run("import", "--sample", data_dir=tmp_path / "data")
    assert ran.stderr == f"writing to the embedded Postgres in {tmp_path / 'data'}\n"
    assert "░" not in ran.stdout
    assert run_in_terminal(tmp_path, "import", "--sample", "--quiet") == ""
