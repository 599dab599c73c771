"""Long work is shown as a bar on a terminal, and as nothing elsewhere."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

from support.live_server import COMMAND, environment, run

COLUMNS = 40


def shown_on_a_terminal(folder: Path, *arguments: str) -> str:
    """Everything that a command writes to a terminal."""
    here, there = pty.openpty()
    variables = environment(folder / "data", TERM="xterm")
    variables.pop("COLUMNS", None)
    command = shlex.join((*COMMAND, *arguments))
    with subprocess.Popen(
        ["sh", "-c", f"stty cols {COLUMNS} rows 24; {command}"],
        stdin=there,
        stdout=there,
        stderr=there,
        env=variables,
    ) as process:
        os.close(there)
        shown = b""
        with suppress(OSError):  # the other side is closed: this is how a terminal says so
            while part := os.read(here, 4096):
                shown += part
    os.close(here)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def test_progress_bar_grows_and_disappears(tmp_path: Path) -> None:
    drawn = shown_on_a_terminal(tmp_path, "import", "--sample").split("\r\x1b[K")
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
    assert shown_on_a_terminal(tmp_path, "import", "--sample", "--quiet") == ""
