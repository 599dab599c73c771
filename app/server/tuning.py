"""Process-wide settings of the Python interpreter and of glibc for serving requests."""

from __future__ import annotations

import ctypes
import gc
import sys

M_ARENA_MAX = -8
"""The parameter of glibc's ``mallopt`` for the number of arenas (malloc.h)."""

SWITCH_INTERVAL_SECONDS = 0.0005
"""Python's default of 5 ms would delay requests while a thread parses a large body."""


def tune_process() -> None:
    """Tune this process for serving; call it once the application is created."""
    # Nearly all objects live as long as the process. Without this, each full garbage collection
    # would scan them and delay requests by a quarter of a second.
    gc.freeze()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    limit_malloc_arenas()


def limit_malloc_arenas() -> None:
    """Limit glibc to one malloc arena, so that memory freed by one thread can be reused by others.

    Otherwise each thread that ever parsed a large body keeps an arena of that size.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_ARENA_MAX, 1)
