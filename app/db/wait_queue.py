"""The line of those who wait for a connection: in order, and not for ever.

Waiting costs nothing but a future: one task looks now and then at who has waited long enough.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

STALLED_TIMEOUT_SECONDS = 1.75
"""How long somebody waits before he is told to come again, if nobody leaves meanwhile."""

ACQUIRE_TIMEOUT_SECONDS = 15.0
"""How long he waits while the line moves: many large reads are no reason to turn anybody away."""

CHECK_INTERVAL_SECONDS = 0.1
"""How often it is looked at who has waited long enough."""


class WaitQueue:
    """Lets in so many at a time, in the order in which they came."""

    def __init__(self, size: int) -> None:
        self._room = size
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._moved = 0.0

    @property
    def free(self) -> int:
        """How many may enter without waiting."""
        return self._room

    async def enter(self) -> None:
        """Wait for a turn; ``TimeoutError`` when it does not come in time."""
        if self._room:
            self._room -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((time.monotonic(), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.leave()  # it came at the very moment when nobody waited any more
            raise

    def leave(self) -> None:
        """Let the next one in."""
        self._moved = time.monotonic()
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._room += 1

    async def watch(self) -> None:
        """Turn away, as long as this runs, who has waited too long."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)
            now = time.monotonic()
            stands = now - self._moved > STALLED_TIMEOUT_SECONDS
            for since, turn in list(self._waiting):
                waited = now - since
                if waited > ACQUIRE_TIMEOUT_SECONDS or (
                    stands and waited > STALLED_TIMEOUT_SECONDS
                ):
                    self._waiting.remove((since, turn))
                    if not turn.done():
                        turn.set_exception(TimeoutError("the pool is full"))
