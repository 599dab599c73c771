"""Work that a process does while it serves requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

WARM_UP_DELAY_SECONDS = 0.1
"""Time between the start of the application and that of warm-up work, which competes with it."""


@asynccontextmanager
async def background_task(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run a coroutine in the background and cancel it when the ``async with`` block ends."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()


async def run_warm_up(work: Callable[[], object]) -> None:
    """Run ``work`` in a thread shortly after start-up, so that no request has to wait for it.

    Returns when ``work`` has ended, and raises its errors.
    """
    await asyncio.sleep(WARM_UP_DELAY_SECONDS)
    await asyncio.to_thread(work)
