"""Startup time, and memory when idle and after large reads."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from case_server.db.postgres.embedded import embedded_postgres

from . import memory
from .client import Client
from .errors import BenchmarkError
from .lab import SEED, Lab, package_path, report_progress, timed
from .processes import case_server
from .results import Row, below, megabytes, times

IMPORTS = (sys.executable, "-c", "import fastapi, sqlalchemy")
READERS = 32
MAX_IDLE_BYTES, MAX_BYTES_AFTER_READS = 120e6, 300e6


def start(lab: Lab) -> Iterator[Row]:
    """``serve`` until it is ready, compared with its imports and the start of Postgres."""
    report_progress("starting servers")
    with tempfile.TemporaryDirectory(dir=lab.folder) as folder:
        server_dir, postgres_dir = Path(folder) / "server", Path(folder) / "postgres"
        _serve(lab, server_dir)
        _start_postgres(postgres_dir)
        limit, measured = lab.interleaved(
            lambda: _start_limit(postgres_dir), lambda: _serve(lab, server_dir)
        )
        yield times("start, warm data directory", limit, measured, 1.5)
        numbers = iter(range(2 * lab.rounds))
        limit, measured = lab.interleaved(
            lambda: _start_limit(Path(folder) / f"empty{next(numbers)}"),
            lambda: _serve(lab, Path(folder) / f"empty{next(numbers)}"),
        )
        yield times("start, empty data directory", limit, measured, 1.5)


def _serve(lab: Lab, data_dir: Path) -> float:
    with case_server(lab.log(), CASE_SERVER_DATA_DIR=str(data_dir)) as server:
        return server.seconds_to_start


def _start_postgres(data_dir: Path) -> float:
    """Return the seconds until the embedded Postgres of a directory accepts connections."""
    postgres = embedded_postgres(data_dir)
    seconds = timed(postgres.__enter__)
    postgres.__exit__(None, None, None)
    return seconds


def _start_limit(data_dir: Path) -> float:
    return timed(lambda: subprocess.run(IMPORTS, check=True)) + _start_postgres(data_dir)


def memory_use(lab: Lab) -> Iterator[Row]:
    """Memory of one worker, idle, and after concurrent reads of a large package."""
    with lab.serve(lab.framework()) as server:
        yield below("memory, idle", memory.resident(server.pid), MAX_IDLE_BYTES, megabytes)

        def read(_: int) -> str:
            with Client(server.base_url, server.headers) as client:
                try:
                    client.get(package_path(SEED), Accept_Encoding="gzip")
                except BenchmarkError as error:
                    return str(error)
            return ""

        with ThreadPoolExecutor(READERS) as readers:
            errors = [error for error in readers.map(read, range(READERS)) if error]
        after, peak = memory.resident(server.pid), memory.peak(server.pid)
    row = below(
        f"memory, after {READERS} concurrent packages", after, MAX_BYTES_AFTER_READS, megabytes
    )
    if errors:
        note = f"{len(errors)} of {READERS} failed: {errors[0][:250]}"
        row = replace(row, meets_target=False, note=note)
    yield row
    yield Row(f"memory, peak while {READERS} packages are read", "", megabytes(peak))
