"""Guessing made slow: who failed often waits, longer each time, and nobody else does."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["pair", "address", "client"]
Key = tuple[Kind, str, str]

FREE_FAILURES: dict[Kind, int] = {"pair": 5, "address": 20, "client": 100}
"""Failures before anybody waits: for one client from one address, for any client from one
address, and for one client from anywhere."""
MAX_DELAY_SECONDS = 60.0
"""Seconds that one more failure costs at most."""
RESET_AFTER_SECONDS = 900.0
"""Seconds without a failure after which a count starts again."""
MAX_COUNTERS = 10_000
LONGEST_NAME = 255


class TooManyAttempts(Exception):
    """Too many failures lately; ``seconds`` says when to come again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts; try again in {seconds} s")
        self.seconds = seconds


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0


class Throttle:
    """Counts the failures of one process, in bounded memory: the least recent are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[Key, _Count] = OrderedDict()

    def check(self, client_id: str, address: str, *, is_verified: bool = False) -> None:
        """Raise ``TooManyAttempts`` if this attempt has to wait.

        ``proven``: the same secret was right lately. Then what others failed at elsewhere does
        not matter: they cannot lock a client out that is in use.
        """
        now = self._clock()
        kinds: tuple[Kind, ...] = (
            ("pair", "address") if is_verified else ("pair", "address", "client")
        )
        waits = [
            self._counts[key].until - now
            for key in _keys(client_id, address, kinds)
            if key in self._counts
        ]
        if (wait := max(waits, default=0)) > 0:
            raise TooManyAttempts(math.ceil(wait))

    def record_failure(self, client_id: str, address: str) -> None:
        """Count a failure."""
        now = self._clock()
        for key in _keys(client_id, address, tuple(FREE_FAILURES)):
            count = self._counts.pop(key, None)
            if count is None or now - count.last > RESET_AFTER_SECONDS:
                count = _Count()
            count.failures += 1
            count.last = now
            if (over := count.failures - FREE_FAILURES[key[0]]) >= 0:
                count.until = now + min(MAX_DELAY_SECONDS, 2.0 ** min(over, 10))
            self._counts[key] = count
        while len(self._counts) > MAX_COUNTERS:
            self._counts.popitem(last=False)

    def record_success(self, client_id: str, address: str) -> None:
        """Forget what this address failed at with this client, in every count: it was a slip.

        Failures at other clients stay counted: one known secret does not free an address to guess.
        """
        pair, *totals = _keys(client_id, address, tuple(FREE_FAILURES))
        slips = self._counts.pop(pair, None)
        if slips is None or self._clock() - slips.last > RESET_AFTER_SECONDS:
            return
        for key in totals:
            if (count := self._counts.get(key)) is None:
                continue
            count.failures -= slips.failures
            if count.failures <= 0:
                del self._counts[key]

    def clear(self) -> None:
        """Forget all failures."""
        self._counts.clear()


def _keys(client_id: str, address: str, kinds: tuple[Kind, ...]) -> list[Key]:
    name, place = client_id[:LONGEST_NAME], network(address)
    all_keys: dict[Kind, Key] = {
        "pair": ("pair", name, place),
        "address": ("address", "", place),
        "client": ("client", name, ""),
    }
    return [all_keys[kind] for kind in kinds]


def network(address: str) -> str:
    """Return the address to count for: of IPv6 the network of 64 bits, which one host may have."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:LONGEST_NAME]
    if found.version == 4:  # noqa: PLR2004  the version that it is
        return str(found)
    return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
