"""The directory in RAM that holds the files of a test run, above all those of Postgres."""

import os
import re
from pathlib import Path

RAM_DISK = Path("/dev/shm")
MIN_FREE_GIGABYTES = 6
"""A test run needs up to three; the rest is left to other programs."""


def is_ram_disk_usable(directory: Path) -> bool:
    """Return whether a directory in RAM has enough space and may hold programs.

    A container's /dev/shm usually has 64 MB and is mounted with ``noexec``.
    """
    if not directory.is_dir():
        return False
    status = os.statvfs(directory)
    memory = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    free_bytes = min(status.f_bavail * status.f_frsize, int(memory[1]) * 1024 if memory else 0)
    return free_bytes >= MIN_FREE_GIGABYTES * 2**30 and not status.f_flag & os.ST_NOEXEC
