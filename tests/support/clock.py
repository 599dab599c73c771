"""A clock whose time tests set."""

import time


class FixedClock:
    """A replacement for ``time.monotonic``: it returns ``now``, which only tests change."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now
