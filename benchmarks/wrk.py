"""Load on a server: wrk sends varied requests over many connections, and says how it went."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import BenchmarkError

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 32
MISSING = "wrk, which makes the load, is not on PATH: run apt-get install wrk (or brew install wrk)"


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw. Latencies are in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Requests:
    """What to ask of a server: lines for ``load.lua`` and, for PUT, a body with blanks."""

    base_url: str
    lines: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


def require() -> None:
    """Raise ``BenchmarkError`` where wrk is not installed."""
    if not shutil.which("wrk"):
        raise BenchmarkError(MISSING)


def run(requests: Requests, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Ask for as long as said, over so many connections. Every answer must be a good one."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [_written(folder, "lines", "\n".join(requests.lines))]
        if requests.body is not None:
            arguments.append(_written(folder, "body", requests.body))
        headers = [f"-H{name}: {value}" for name, value in requests.headers.items()]
        # wrk counts whole seconds.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s"]
        command += ["--timeout", "60s", "-s", str(SCRIPT), *headers, requests.base_url, "--"]
        ran = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchmarkError(f"wrk failed: {ran.stderr or ran.stdout}")
    return parse(ran.stdout)


def parse(output: str) -> Load:
    """The line that ``load.lua`` prints at the end."""
    found = re.search(r"^measured (\{.*\})$", output, re.MULTILINE)
    if not found:
        raise BenchmarkError(f"wrk said nothing that was measured: {output!r}")
    said = json.loads(found[1])
    wrong = said["refused"] + said["broken"]
    if wrong or not said["requests"]:
        raise BenchmarkError(
            f"of {said['requests']} requests {said['refused']} were refused and "
            f"{said['broken']} broke: this measures nothing"
        )
    return Load(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        p50=said["p50"] / 1e6,
        p99=said["p99"] / 1e6,
    )


def _written(folder: str, name: str, text: str) -> str:
    file = Path(folder) / name
    file.write_text(text)
    return str(file)
