"""Startup time, and memory when idle and after large reads."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from case_server.db.postgres.embedded import embedded_postgres

from . import memory
from .context import SEED, BenchmarkContext, build_package_path, measure_seconds, report_progress
from .errors import BenchmarkError
from .processes import run_case_server
from .results import ResultRow, compare_durations, compare_with_maximum, format_megabytes

IMPORTS = (sys.executable, "-c", "import fastapi, sqlalchemy")
READERS = 32
MAX_IDLE_BYTES, MAX_BYTES_AFTER_READS = 120e6, 300e6


def measure_startup(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure the startup time of ``serve``, compared with imports and the start of Postgres."""
    report_progress("starting servers")
    with tempfile.TemporaryDirectory(dir=context.folder) as folder:
        server_dir, postgres_dir = Path(folder) / "server", Path(folder) / "postgres"
        _time_serve(context, server_dir)
        _time_postgres_start(postgres_dir)
        baseline, measured = context.run_interleaved(
            lambda: _time_baseline_start(postgres_dir), lambda: _time_serve(context, server_dir)
        )
        yield compare_durations("start, warm data directory", baseline, measured, 1.5)
        numbers = iter(range(2 * context.rounds))
        baseline, measured = context.run_interleaved(
            lambda: _time_baseline_start(Path(folder) / f"empty{next(numbers)}"),
            lambda: _time_serve(context, Path(folder) / f"empty{next(numbers)}"),
        )
        yield compare_durations("start, empty data directory", baseline, measured, 1.5)


def _time_serve(context: BenchmarkContext, data_dir: Path) -> float:
    with run_case_server(context.get_log_path(), CASE_SERVER_DATA_DIR=str(data_dir)) as server:
        return server.seconds_to_start


def _time_postgres_start(data_dir: Path) -> float:
    postgres = embedded_postgres(data_dir)
    seconds = measure_seconds(postgres.__enter__)
    postgres.__exit__(None, None, None)
    return seconds


def _time_baseline_start(data_dir: Path) -> float:
    imports = measure_seconds(lambda: subprocess.run(IMPORTS, check=True))
    return imports + _time_postgres_start(data_dir)


def measure_memory(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure the memory of one worker when idle and after concurrent reads of a large package."""
    with context.run_server(context.ensure_framework_database()) as server:
        idle = memory.get_resident_memory_bytes(server.pid)
        yield compare_with_maximum("memory, idle", idle, MAX_IDLE_BYTES, format_megabytes)

        def read(_: int) -> str:
            with server.open_client() as client:
                try:
                    client.get(build_package_path(SEED), Accept_Encoding="gzip")
                except BenchmarkError as error:
                    return str(error)
            return ""

        with ThreadPoolExecutor(READERS) as readers:
            errors = [error for error in readers.map(read, range(READERS)) if error]
        bytes_after = memory.get_resident_memory_bytes(server.pid)
        peak = memory.get_peak_memory_bytes(server.pid)
    title = f"memory, after {READERS} concurrent packages"
    row = compare_with_maximum(title, bytes_after, MAX_BYTES_AFTER_READS, format_megabytes)
    if errors:
        note = f"{len(errors)} of {READERS} failed: {errors[0][:250]}"
        row = replace(row, meets_target=False, note=note)
    yield row
    yield ResultRow(f"memory, peak while {READERS} packages are read", "", format_megabytes(peak))
