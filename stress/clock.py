"""The time limit of a scenario, and progress messages at intervals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

PROGRESS_INTERVAL_SECONDS = 10.0


class Clock:
    """A stopwatch with an optional time limit, which also prints progress at intervals.

    The loops of a scenario end when the limit is reached.
    """

    def __init__(
        self, seconds: float = math.inf, show: Callable[[str], None] = lambda _: None
    ) -> None:
        self.seconds, self._show = seconds, show
        self._started = self._last_shown = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def remaining(self) -> float:
        """Seconds until the limit, at least 0."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def is_expired(self) -> bool:
        """Whether the time limit is reached, so that the scenario should end."""
        return self.remaining == 0

    def report_progress(self, progress: str) -> None:
        """Show a progress message, unless one was shown within the last 10 seconds."""
        now = time.monotonic()
        if now - self._last_shown >= PROGRESS_INTERVAL_SECONDS:
            self._last_shown = now
            self._show(f"{progress}, {self.elapsed:.0f} s")


def list_shortfalls(counts: Mapping[str, int], minimums: Mapping[str, int]) -> list[str]:
    """Describe each count that is below its minimum, for example "3 of 30 kills".

    Without these counts, a scenario has not tested enough.
    """
    return [
        f"{counts.get(name, 0):,} of {minimum:,} {name}"
        for name, minimum in minimums.items()
        if counts.get(name, 0) < minimum
    ]
