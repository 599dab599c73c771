"""Reading the standard profiles without a token (``CASE_SERVER_PUBLIC_READ=standard``)."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from ..auth.scopes import Scope as Permission
from ..auth.throttle import network
from ..auth.verifier import Caller
from ..exceptions import TooManyRequests
from .profiles import PROFILES, canonical_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_ADDRESSES = 10_000
"""Addresses that are counted; those that asked longest ago are forgotten."""
MAX_PREFLIGHT_AGE_SECONDS = "86400"
PREFIXES = tuple(f"{profile.prefix}/" for profile in PROFILES if not profile.writes)
"""Paths of the standard profiles, which only read."""
ANONYMOUS = Caller("", frozenset({Permission.READONLY}))


class AnonymousReadLimiter:
    """Admits reads without a token, so many a minute from each address: a token bucket."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity, self._rate = float(per_minute), per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, address: str) -> Caller:
        """Return the anonymous caller; raises ``TooManyRequests`` when an address has to wait."""
        now, key = self._clock(), network(address)
        left, before = self._buckets.pop(key, (self._capacity, now))
        left = min(self._capacity, left + (now - before) * self._rate)
        is_admitted = left >= 1
        self._buckets[key] = (left - 1 if is_admitted else left, now)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if is_admitted:
            return ANONYMOUS
        seconds = max(1, math.ceil((1 - left) / self._rate))
        raise TooManyRequests(
            f"this address read {self._capacity:.0f} times a minute without a token: retry in "
            f"{seconds} s, or send a token",
            headers={"Retry-After": str(seconds)},
        )


class AnonymousReadCORS:
    """Lets scripts of all origins read the standard profiles (Fetch standard, "CORS protocol")."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer preflight requests, and mark responses (ASGI)."""
        if scope["type"] != "http" or not canonical_path(scope["path"]).startswith(PREFIXES):
            await self.app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=[*message["headers"]])
                headers["Access-Control-Allow-Origin"] = "*"
                headers["Access-Control-Expose-Headers"] = (
                    "ETag, Link, Retry-After, X-Request-ID, X-Total-Count"
                )
                message = {**message, "headers": headers.raw}
            await send(message)

        asked = Headers(scope=scope).get("access-control-request-method")
        if scope["method"] == "OPTIONS" and asked in {"GET", "HEAD"}:
            headers = [
                (b"access-control-allow-methods", b"GET, HEAD"),
                (b"access-control-allow-headers", b"Authorization, If-None-Match, X-Request-ID"),
                (b"access-control-max-age", MAX_PREFLIGHT_AGE_SECONDS.encode()),
            ]
            await send_marked({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send_marked)
