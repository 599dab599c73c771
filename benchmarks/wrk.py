"""Generate load with wrk: different requests over many connections."""

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
MISSING = (
    "wrk, which generates the load, is not on PATH: run apt-get install wrk (or brew install wrk)"
)


@dataclass(frozen=True)
class WrkResult:
    """What wrk measured in one run: number of requests, duration and latencies in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def requests_per_second(self) -> float:
        """The number of requests per second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class WrkRequests:
    """The requests that wrk repeats, one for each line.

    A line is the path of a GET request, or for PUT requests the path and the values that replace
    the placeholders in ``body``, separated by tabs.
    """

    base_url: str
    lines: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


def require_wrk() -> None:
    """Raise ``BenchmarkError`` unless wrk is installed."""
    if not shutil.which("wrk"):
        raise BenchmarkError(MISSING)


def run_wrk(requests: WrkRequests, seconds: float, connections: int = CONNECTIONS) -> WrkResult:
    """Send requests with the load generator wrk for ``seconds``; return the rate and latencies.

    Raises ``BenchmarkError`` if any request fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = [_write_file(folder, "lines", "\n".join(requests.lines))]
        if requests.body is not None:
            arguments.append(_write_file(folder, "body", requests.body))
        headers = [f"-H{name}: {value}" for name, value in requests.headers.items()]
        # wrk accepts only whole seconds.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s"]
        command += ["--timeout", "60s", "-s", str(SCRIPT), *headers, requests.base_url, "--"]
        process = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False
        )
    if process.returncode:
        raise BenchmarkError(f"wrk failed: {process.stderr or process.stdout}")
    return parse_wrk_output(process.stdout)


def parse_wrk_output(output: str) -> WrkResult:
    """Parse the totals that ``load.lua`` prints at the end of wrk's output."""
    match = re.search(r"^measured (\{.*\})$", output, re.MULTILINE)
    if not match:
        raise BenchmarkError(f"wrk printed no result: {output!r}")
    result = json.loads(match[1])
    failures = result["rejected"] + result["broken"]
    if failures or not result["requests"]:
        raise BenchmarkError(
            f"of {result['requests']} requests {result['rejected']} were rejected and "
            f"{result['broken']} lost their connection, so the result is invalid"
        )
    return WrkResult(
        requests=result["requests"],
        seconds=result["microseconds"] / 1e6,
        p50=result["p50"] / 1e6,
        p99=result["p99"] / 1e6,
    )


def _write_file(folder: str, name: str, text: str) -> str:
    file = Path(folder) / name
    file.write_text(text)
    return str(file)
