"""Processes of Postgres that tests suspend."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil


def list_postgres_processes(pgdata: Path) -> list[psutil.Process]:
    """Return the processes of a running Postgres server, the postmaster first."""
    pid = int((pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
    postmaster = psutil.Process(pid)
    return [postmaster, *postmaster.children(recursive=True)]


@contextmanager
def suspend_processes(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Suspend processes during a block, and resume those that still run."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.resume()
