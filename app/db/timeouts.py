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
    """A clock in seconds that does not count time in which the event loop could not run.

    Its owner must call ``advance`` every ``TICK_SECONDS``. If a call comes later, the rest of the
    time is not counted.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._advanced_at = time.monotonic()

    def time(self) -> float:
        """Return the seconds since the clock was created in which the event loop could run."""
        return self._seconds + min(time.monotonic() - self._advanced_at, MAX_ADVANCE_SECONDS)

    def advance(self) -> None:
        """Add the time since the last call to the clock, but at most ``MAX_ADVANCE_SECONDS``."""
        self._seconds, self._advanced_at = self.time(), time.monotonic()


@asynccontextmanager
async def loop_timeout(seconds: float) -> AsyncIterator[None]:
    """Return a context manager that raises ``TimeoutError`` if its block takes over ``seconds``.

    Time in which the event loop could not run is not counted.
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
