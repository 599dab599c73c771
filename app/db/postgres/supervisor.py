"""Restart the embedded Postgres when it crashes.

A full disk or a killed process stops it, nothing else would start it again, and the server would
answer 503 until someone restarts it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...exceptions import CommandError

log = logging.getLogger("case_server")

CHECK_INTERVAL_SECONDS = 1.0
MAX_RETRY_DELAY_SECONDS = 8.0
"""Delay between failed attempts to restart; the first ones follow sooner."""


@contextmanager
def restart_on_crash(
    is_running: Callable[[], bool], start: Callable[[], str], url: str
) -> Iterator[None]:
    """Return a context manager that restarts Postgres whenever it has stopped during its block.

    A thread calls ``is_running`` about once a second. If it returns False, the thread calls
    ``start``, which starts Postgres and returns its new URL. ``url`` is the first URL; if the new
    one has another port, this is logged.
    """
    stop = threading.Event()

    def monitor() -> None:
        delay = CHECK_INTERVAL_SECONDS
        while not stop.wait(delay):
            has_failed = not is_running() and not _restart(start, url)
            delay = (
                min(2 * delay, MAX_RETRY_DELAY_SECONDS) if has_failed else CHECK_INTERVAL_SECONDS
            )

    thread = threading.Thread(target=monitor, name="Postgres supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _restart(start: Callable[[], str], url: str) -> bool:
    log.warning("the embedded Postgres is not running: restarting it")
    try:
        new_url = start()
    except (OSError, CommandError) as error:
        log.warning("the embedded Postgres did not start: %s", str(error).partition("\n")[0])
        return False
    if new_url != url:
        log.warning("the embedded Postgres has a new port; new connections use it")
    return True
