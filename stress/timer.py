"""The time limit of a scenario, and progress messages at intervals."""

import math
import time
from collections.abc import Callable, Mapping

PROGRESS_INTERVAL_SECONDS = 10.0


class ScenarioTimer:
    """Measures a scenario's time against an optional limit, and prints progress at intervals.

    The loops of a scenario stop when the limit has been reached.
    """

    def __init__(
        self, seconds: float = math.inf, show: Callable[[str], None] = lambda _: None
    ) -> None:
        self.seconds, self._show = seconds, show
        self._started = self._last_shown = time.monotonic()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the limit, at least 0."""
        return max(0.0, self.seconds - self.elapsed_seconds)

    @property
    def is_expired(self) -> bool:
        """True if the time limit has been reached, so that the scenario should end."""
        return self.remaining_seconds == 0

    def report_progress(self, progress: str) -> None:
        """Show a progress message, unless one was shown within the last 10 seconds."""
        now = time.monotonic()
        if now - self._last_shown >= PROGRESS_INTERVAL_SECONDS:
            self._last_shown = now
            self._show(f"{progress}, {self.elapsed_seconds:.0f} s")


def list_shortfalls(counts: Mapping[str, int], minimums: Mapping[str, int]) -> list[str]:
    """Describe each count that is below its minimum, for example "3 of 30 kills"."""
    return [
        f"{counts.get(name, 0):,} of {minimum:,} {name}"
        for name, minimum in minimums.items()
        if counts.get(name, 0) < minimum
    ]
