"""The guide's own flow over HTTP, against `make serve`."""

import subprocess
import sys
from pathlib import Path

from support.live_server import build_environment, run_live_server

ROOT = Path(__file__).parents[2]


def test_guide_flow_runs_against_a_server(tmp_path: Path) -> None:
    make = ("make", "-s", "-C", str(ROOT), "serve", "ARGS=--port 0")
    with run_live_server(tmp_path / "data", command=make) as server:
        result = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "support" / "guide.py"), server.base_url],
            env=build_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the guide's flow works" in result.stdout
