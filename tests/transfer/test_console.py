"""Progress bars are shown on terminals only."""

from pathlib import Path

from support.live_server import run_command_in_process
from support.terminal import run_in_terminal

COLUMNS = 40


def output_in_terminal(data_dir: Path, *arguments: str) -> str:
    code, output = run_in_terminal(*arguments, data_dir=data_dir, columns=COLUMNS)
    assert code == 0, output
    return output


def test_progress_bar_grows_and_disappears(data_dir: Path) -> None:
    drawn = output_in_terminal(data_dir, "import", "--sample").split("\r\x1b[K")
    bars = [line.count("█") for line in drawn if "░" in line]
    assert len(bars) > 5
    assert bars[0] < bars[-1]
    assert all(len(line) < COLUMNS for line in drawn if "░" in line)
    # What stays is the outcome alone.
    assert "created" in drawn[-1]
    assert "░" not in drawn[-1]


def test_no_progress_bar_without_terminal_or_with_quiet(data_dir: Path) -> None:
    result = run_command_in_process("import", "--sample", data_dir=data_dir)
    assert result.stderr == f"writing to the embedded Postgres in {data_dir}\n"
    assert "░" not in result.stdout
    assert output_in_terminal(data_dir, "import", "--sample", "--quiet") == ""
