"""Progress bars are shown on terminals only."""

from pathlib import Path

from support.live_server import run_command_in_process
from support.terminal import run_in_terminal

COLUMNS = 40


def output_in_terminal(folder: Path, *arguments: str) -> str:
    code, output = run_in_terminal(*arguments, data_dir=folder / "data", columns=COLUMNS)
    assert code == 0, output
    return output


def test_progress_bar_grows_and_disappears(tmp_path: Path) -> None:
    drawn = output_in_terminal(tmp_path, "import", "--sample").split("\r\x1b[K")
    bars = [line.count("█") for line in drawn if "░" in line]
    assert len(bars) > 5
    assert bars[0] < bars[-1]
    assert all(len(line) < COLUMNS for line in drawn if "░" in line)
    # What stays is the outcome alone.
    assert "created" in drawn[-1]
    assert "░" not in drawn[-1]


def test_no_progress_bar_without_terminal_or_with_quiet(tmp_path: Path) -> None:
    result = run_command_in_process("import", "--sample", data_dir=tmp_path / "data")
    assert result.stderr == f"writing to the embedded Postgres in {tmp_path / 'data'}\n"
    assert "░" not in result.stdout
    assert output_in_terminal(tmp_path, "import", "--sample", "--quiet") == ""
