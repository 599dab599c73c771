"""Processes of Postgres that tests suspend."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil


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
