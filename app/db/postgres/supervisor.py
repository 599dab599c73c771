"""A Postgres of ours that went down by itself is started again, for as long as somebody uses it.

A disk without room for its log, or somebody who ends processes, takes it down; nobody else would
start it again, and the server in front of it would answer 503 for ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...exceptions import StartupError

log = logging.getLogger("case_server")

SECONDS_BETWEEN_LOOKS = 1.0
LONGEST_PAUSE = 8.0
"""Seconds between two attempts that failed; the first ones come sooner."""


@contextmanager
def restart_on_crash(
    is_running: Callable[[], bool], start: Callable[[], str], url: str
) -> Iterator[None]:
    """While the block lasts, ``start`` the Postgres of ``url`` again whenever it does not run."""
    over = threading.Event()

    def watch() -> None:
        pause = SECONDS_BETWEEN_LOOKS
        while not over.wait(pause):
            failed = not is_running() and not _started(start, url)
            pause = min(2 * pause, LONGEST_PAUSE) if failed else SECONDS_BETWEEN_LOOKS

    thread = threading.Thread(target=watch, name="revival of Postgres", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _started(start: Callable[[], str], url: str) -> bool:
    """Start it; whether that came to something."""
    log.warning("the embedded Postgres is gone: starting it again")
    try:
        found = start()
    except (OSError, StartupError) as error:
        log.warning("the embedded Postgres did not start: %s", str(error).partition("\n")[0])
        return False
    if found != url:
        log.warning("the embedded Postgres is at another port now; new connections go there")
    return True
