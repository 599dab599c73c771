"""Measure how much other processes slow this machine down, for tests of durations."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

CPU_SECONDS = 0.2
SLEEP_SECONDS = 0.02


def measure_slowdown() -> float:
    """Return how many wall-clock seconds one second of computing takes now, at least 1.

    A time limit multiplied by it means the same on a quiet and on a busy machine.
    """
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < CPU_SECONDS:
        pass
    return max(1.0, (time.monotonic() - wall) / CPU_SECONDS)


@dataclass
class Lateness:
    """The total time in seconds by which the sleeps of an event loop ended late."""

    seconds: float = 0.0


@asynccontextmanager
async def measure_lateness() -> AsyncIterator[Lateness]:
    """Measure during a block how late the event loop is, which waits for the processor or a lock.

    Yields the ``Lateness``, which is updated. A time limit of a wait, plus these seconds, means the
    same on a quiet and on a busy machine, also if the load changes meanwhile.
    """
    lateness = Lateness()

    async def sample() -> None:
        while True:
            started = time.monotonic()
            await asyncio.sleep(SLEEP_SECONDS)
            lateness.seconds += max(0.0, time.monotonic() - started - SLEEP_SECONDS)

    sampling = asyncio.create_task(sample())
    try:
        yield lateness
    finally:
        sampling.cancel()
