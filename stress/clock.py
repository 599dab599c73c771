"""Time that is shared out: a part has so much of it, says how far it is, and ends with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

SECONDS_OF_SILENCE = 10.0


class Clock:
    """The time of one part, in seconds since it began; without a limit, it never ends."""

    def __init__(
        self, seconds: float = math.inf, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self.seconds, self._tell = seconds, tell
        self._begun = self._told = time.monotonic()

    @property
    def passed(self) -> float:
        """How much of it is over."""
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        """How much of it is left, 0 once it is up."""
        return max(0.0, self.seconds - self.passed)

    @property
    def is_up(self) -> bool:
        """Whether a loop should end now, in good order."""
        return self.left == 0

    def part(self, share: float) -> Clock:
        """A clock of its own for a share of what is left."""
        return Clock(self.left * share, self._tell)

    def tell(self, how_far: str) -> None:
        """Say how far it is, now and then."""
        now = time.monotonic()
        if now - self._told >= SECONDS_OF_SILENCE:
            self._told = now
            self._tell(f"{how_far}, {self.passed:.0f} s")


def too_few(counts: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    """What was wanted and not reached, in words."""
    return [
        f"{counts.get(what, 0):,} of {number:,} {what}"
        for what, number in wanted.items()
        if counts.get(what, 0) < number
    ]
