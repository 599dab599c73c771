"""Throttle failed logins with exponential back-off, per client and per address."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["pair", "address", "client"]
Key = tuple[Kind, str, str]

FREE_FAILURES: dict[Kind, int] = {"pair": 5, "address": 20, "client": 100}
"""Failures without a delay: of one client from one address, of any clients from one address, and of
one client from any addresses."""

MAX_DELAY_SECONDS = 60.0
"""Longest delay after a failure; it begins with one second and doubles."""

RESET_AFTER_SECONDS = 900.0
"""A counter without a failure for this long starts from zero."""

MAX_COUNTERS = 10_000
MAX_KEY_CHARS = 255


class TooManyAttempts(Exception):
    """Raised after too many failed logins; ``seconds`` is the time to wait before the next one."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts; retry in {seconds} s")
        self.seconds = seconds


@dataclass(slots=True)
class _Counter:
    failures: int = 0
    last_failure: float = 0.0
    blocked_until: float = 0.0


class LoginThrottle:
    """Limits failed logins: counts them per client and IP address, and delays further logins.

    Each process has its own counters. Beyond ``MAX_COUNTERS``, it drops the least recently updated.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[Key, _Counter] = OrderedDict()

    def check_login_allowed(
        self, client_id: str, address: str, *, was_recently_verified: bool = False
    ) -> None:
        """Raise ``TooManyAttempts`` if this client or address must wait before the next login.

        ``was_recently_verified`` is True if the client's secret is known to be right. Failures from
        other addresses then do not count, so that they cannot lock out a client that is in use.
        """
        keys = _get_counter_keys(client_id, address)
        blocked_until = [
            self._counts[key].blocked_until
            for key in (keys[:2] if was_recently_verified else keys)
            if key in self._counts
        ]
        wait = max(blocked_until, default=0.0) - self._clock()
        if wait > 0:
            raise TooManyAttempts(math.ceil(wait))

    def record_failure(self, client_id: str, address: str) -> None:
        """Count a failed login of a client from an address, which may delay the next login."""
        now = self._clock()
        for key in _get_counter_keys(client_id, address):
            count = self._counts.pop(key, None)
            if count is None or now - count.last_failure > RESET_AFTER_SECONDS:
                count = _Counter()
            count.failures += 1
            count.last_failure = now
            if (excess := count.failures - FREE_FAILURES[key[0]]) >= 0:
                count.blocked_until = now + min(MAX_DELAY_SECONDS, 2.0 ** min(excess, 10))
            self._counts[key] = count
        while len(self._counts) > MAX_COUNTERS:
            self._counts.popitem(last=False)

    def record_success(self, client_id: str, address: str) -> None:
        """Forget the failed logins of this client from this address.

        Failures of other clients stay counted, so that an attacker who knows one secret cannot
        guess others without delay.
        """
        pair, *totals = _get_counter_keys(client_id, address)
        pair_counter = self._counts.pop(pair, None)
        if pair_counter is None or self._clock() - pair_counter.last_failure > RESET_AFTER_SECONDS:
            return
        for key in totals:
            if count := self._counts.get(key):
                count.failures -= pair_counter.failures
                if count.failures <= 0:
                    del self._counts[key]

    def clear(self) -> None:
        """Forget all failed logins."""
        self._counts.clear()


def _get_counter_keys(client_id: str, address: str) -> tuple[Key, Key, Key]:
    name, source = client_id[:MAX_KEY_CHARS], get_rate_limit_key(address)
    return ("pair", name, source), ("address", "", source), ("client", name, "")


def get_rate_limit_key(address: str) -> str:
    """Return the key under which rate limits count a client's IP address.

    An IPv4 address is its own key, also in the form ``::ffff:192.0.2.1`` that a socket for IPv6 and
    IPv4 reports. The key of an IPv6 address is its /64 network, because one client may use all
    addresses of that network.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:MAX_KEY_CHARS]
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip.packed[:8] + bytes(8), 64)))
