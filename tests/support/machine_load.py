"""Measure how much other processes slow this machine down, for tests of durations."""

import time

CPU_SECONDS = 0.2


def measure_slowdown() -> float:
    """Return how many wall-clock seconds one second of computing takes now, at least 1.

    A time limit multiplied by it means the same on a quiet and on a busy machine.
    """
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < CPU_SECONDS:
        pass
    return max(1.0, (time.monotonic() - wall) / CPU_SECONDS)
