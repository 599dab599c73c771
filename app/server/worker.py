"""The application of a server process, which is tuned for serving and ends with its parent."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from threading import Thread

from fastapi import FastAPI

from ..main import create_app
from ..settings import Settings

PARENT_PID_VARIABLE = "CASE_SERVER_PARENT"
"""Environment variable with the ID of the process whose end ends this one."""

PARENT_CHECK_INTERVAL_SECONDS = 1

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's ``mallopt`` (malloc.h)."""

LARGE_ALLOCATION_BYTES = 4 * 1024 * 1024

SWITCH_INTERVAL_SECONDS = 0.0005
"""Python's default of 5 ms would delay requests while a thread parses a large body."""


def create_worker_app(settings: Settings) -> FastAPI:
    """Create the application of a server process, and tune the process's memory and threads.

    A worker process stops as soon as its parent process has ended.
    """
    app = create_app(settings)
    _tune_process()
    if parent := os.environ.get(PARENT_PID_VARIABLE):
        Thread(target=_exit_with_parent, args=(int(parent),), daemon=True).start()
    return app


def _exit_with_parent(parent: int) -> None:
    # An orphaned worker would keep the port and outlive its database.
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_INTERVAL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _tune_process() -> None:
    # Nearly all objects live as long as the process. Without this, each full garbage collection
    # would scan them and delay requests by a quarter of a second.
    gc.freeze()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    _limit_malloc_retention()


def _limit_malloc_retention() -> None:
    """Make glibc return freed memory to the operating system.

    All threads share one arena, because otherwise each thread that has parsed a large body keeps
    that much memory. Large blocks always use mmap. By default, freeing one would make glibc keep
    later blocks of its size: 16 MB after the first token request, 43 MB more after two uploads of
    24 MB.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_ARENA_MAX, 1)
            # By default, both thresholds grow to the size of each large block that is freed.
            libc.mallopt(M_MMAP_THRESHOLD, LARGE_ALLOCATION_BYTES)
            libc.mallopt(M_TRIM_THRESHOLD, LARGE_ALLOCATION_BYTES)
