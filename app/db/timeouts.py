"""Timeouts that do not count time in which the event loop could not run.

On an overloaded machine, a process may not run for a second. It reads the responses that arrived
meanwhile only after that, so this time does not show that Postgres is slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK_SECONDS = 0.1
"""Interval at which a clock should be advanced."""

MAX_ADVANCE_SECONDS = 2 * TICK_SECONDS
"""A clock that is advanced later than this did not run, and misses the rest of the time."""


class LoopClock:
    """A clock that stands still while the event loop does not run.

    ``advance`` must be called every ``TICK_SECONDS``.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._advanced_at = time.monotonic()

    def time(self) -> float:
        """Return the seconds in which the event loop ran."""
        return self._seconds + min(time.monotonic() - self._advanced_at, MAX_ADVANCE_SECONDS)

    def advance(self) -> None:
        """Count the time since the last call, but at most ``MAX_ADVANCE_SECONDS``."""
        self._seconds, self._advanced_at = self.time(), time.monotonic()


@asynccontextmanager
async def loop_timeout(seconds: float) -> AsyncIterator[None]:
    """Return a context manager that raises ``TimeoutError`` after ``seconds``.

    As on a ``LoopClock``, time in which the event loop does not run is not counted.
    """
    loop, clock = asyncio.get_running_loop(), LoopClock()
    timer: asyncio.TimerHandle | None = None

    def tick() -> None:
        nonlocal timer
        clock.advance()
        remaining = seconds - clock.time()
        if remaining <= 0:
            timeout.reschedule(loop.time())
        else:
            timer = loop.call_later(min(TICK_SECONDS, remaining), tick)

    async with asyncio.timeout(None) as timeout:
        tick()
        try:
            yield
        finally:
            if timer:
                timer.cancel()
