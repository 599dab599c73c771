"""What the server costs before and after it works: time to start, memory idle and worked."""

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
from .lab import SEED, Lab, package_path, say, timed
from .processes import case_server
from .results import Row, below, megabytes, times

IMPORTS = (sys.executable, "-c", "import fastapi, sqlalchemy")
READERS = 32
IDLE, WORKED = 120e6, 300e6


def start(lab: Lab) -> Iterator[Row]:
    """``serve`` until it says it is ready, beside its imports and the start of its Postgres."""
    say("starting servers")
    with tempfile.TemporaryDirectory(dir=lab.folder) as folder:
        ours, plain = Path(folder) / "ours", Path(folder) / "plain"
        _serve(lab, ours)
        _postgres(plain)
        limit, measured = lab.interleaved(lambda: _limit(plain), lambda: _serve(lab, ours))
        yield times("start, warm data directory", limit, measured, 1.5)
        numbers = iter(range(2 * lab.rounds))
        limit, measured = lab.interleaved(
            lambda: _limit(Path(folder) / f"empty{next(numbers)}"),
            lambda: _serve(lab, Path(folder) / f"empty{next(numbers)}"),
        )
        yield times("start, empty data directory", limit, measured, 1.5)


def _serve(lab: Lab, data_dir: Path) -> float:
    with case_server(lab.log(), CASE_SERVER_DATA_DIR=str(data_dir)) as server:
        return server.seconds_to_start


def _postgres(data_dir: Path) -> float:
    """Seconds until the embedded Postgres of a directory answers."""
    held = embedded_postgres(data_dir)
    seconds = timed(held.__enter__)
    held.__exit__(None, None, None)
    return seconds


def _limit(data_dir: Path) -> float:
    return timed(lambda: subprocess.run(IMPORTS, check=True)) + _postgres(data_dir)


def worked(lab: Lab) -> Iterator[Row]:
    """Memory of one worker, idle, and after many have read a large package at once."""
    with lab.serve(lab.framework()) as server:
        yield below("memory, idle", memory.resident(server.pid), IDLE, megabytes)

        def read(_: int) -> str:
            with Client(server.base_url, server.headers) as client:
                try:
                    client.get(package_path(SEED), Accept_Encoding="gzip")
                except BenchmarkError as error:
                    return str(error)
            return ""

        with ThreadPoolExecutor(READERS) as readers:
            refusals = [refusal for refusal in readers.map(read, range(READERS)) if refusal]
        after, highest = memory.resident(server.pid), memory.peak(server.pid)
    row = below(f"memory, after {READERS} packages at once", after, WORKED, megabytes)
    if refusals:
        note = f"{len(refusals)} of {READERS} were refused: {refusals[0][:250]}"
        row = replace(row, met=False, note=note)
    yield row
    yield Row(f"memory, the most while {READERS} packages were read", "", megabytes(highest))
