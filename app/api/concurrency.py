"""Work that is dear, done by few at a time, while others wait in line and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..exceptions import ServiceUnavailable

SECONDS_IN_LINE = 30.0


class Turns:
    """Lets in so many at once; who waits too long is told to come again."""

    def __init__(self, at_once: int, seconds: float = SECONDS_IN_LINE) -> None:
        self._free, self._seconds = asyncio.Semaphore(at_once), seconds

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A turn. Raises ``Unavailable``."""
        try:
            await asyncio.wait_for(self._free.acquire(), self._seconds)
        except TimeoutError:
            raise ServiceUnavailable(
                "too many packages are being uploaded now; try again",
                headers={"Retry-After": "5"},
            ) from None
        try:
            yield
        finally:
            self._free.release()
