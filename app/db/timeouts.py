"""Timeouts of reads and other waits, without the time in which the event loop could not run.

On an overloaded machine, a process may not run for a second. It reads the responses that arrived
meanwhile only after that, so this time does not show that Postgres is slow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..exceptions import QueryTimeout

log = logging.getLogger("case_server")

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


class ReadDeadline:
    """Context manager that cancels a read after the read timeout, and raises ``QueryTimeout``.

    It is cheaper than ``asyncio.timeout``, because one task checks the deadlines of all reads.
    """

    # asyncio.timeout needs a timer for each read, which took 5 of the 35 us of CPU that asyncpg
    # needs for a small read.
    __slots__ = (
        "_cancel_requests",
        "_clock",
        "_deadlines",
        "_is_expired",
        "_task",
        "_timeout",
        "expires_at",
        "started_at",
    )

    def __init__(self, deadlines: set[ReadDeadline], timeout: float, clock: LoopClock) -> None:
        self._deadlines, self._timeout, self._clock = deadlines, timeout, clock

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task
        self._task, self._cancel_requests = task, task.cancelling()
        self._is_expired = False
        self.started_at = self._clock.time()
        self.expires_at = self.started_at + self._timeout
        self._deadlines.add(self)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._deadlines.discard(self)
        if not self._is_expired:
            return
        is_only_request = self._task.uncancel() <= self._cancel_requests
        if is_only_request and isinstance(error, asyncio.CancelledError):
            log.warning("a read exceeded the timeout of %g s and is cancelled", self._timeout)
            raise QueryTimeout(self._timeout) from error

    def cancel_read(self, reported_timeout: float | None = None) -> None:
        """Cancel the task that runs this read; asyncpg then cancels the SQL statement in Postgres.

        The task gets ``QueryTimeout``, which names ``reported_timeout`` as the limit in seconds, or
        the read timeout if it is None.
        """
        self._is_expired = True
        self._timeout = reported_timeout or self._timeout
        self._deadlines.discard(self)
        self._task.cancel()
