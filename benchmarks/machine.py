"""Description of the machine and the software of a run."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from . import memory
from .errors import BenchmarkError
from .postgres import fetch_value

PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "asyncpg",
    "sqlalchemy",
    "pydantic",
    "orjson",
)


def describe_machine(postgres_url: str) -> list[tuple[str, str]]:
    """Return the processor, memory and software versions as (name, value) pairs for the report."""
    versions = "; ".join(f"{name} {version(name)}" for name in PACKAGES)
    available = "SELECT name FROM pg_available_extensions WHERE name = 'pg_trgm'"
    extension = fetch_value(postgres_url, available)
    server, fsync = (fetch_value(postgres_url, f"SHOW {n}") for n in ("server_version", "fsync"))
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("memory", _memory()),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("Postgres", f"{server}, fsync {fsync}, {extension or 'without pg_trgm'}"),
        ("wrk", _wrk()),
        ("case-server", f"{version('case-server')}, one worker, tokens verified, no access log"),
        ("packages", versions),
    ]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    match = info.exists() and re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{memory.get_total_memory_bytes() / 2**30:.1f} GiB"
    except BenchmarkError:
        return "unknown"


def _wrk() -> str:
    process = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    first = (process.stdout + process.stderr).split("\n")[0]
    return first.removeprefix("wrk ").split(" Copyright")[0]
