"""Reads of the standard profiles without a token (``CASE_SERVER_PUBLIC_READ=standard``)."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth.scopes import Scope as Permission
from ..auth.throttle import get_rate_limit_key
from ..auth.verifier import Caller
from ..exceptions import TooManyRequests
from .profiles import NAMESPACE_PREFIX, PROFILES, resolve_path_alias

MAX_ADDRESSES = 10_000
"""Addresses with a token bucket; the least recently used ones are dropped."""
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    # Those of configured origins, because their preflight requests are also answered here.
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match, "
    "X-CASE-Namespace, X-Request-ID",
    "Access-Control-Max-Age": "86400",  # seconds
}
READ_ONLY_PREFIXES = tuple(f"{profile.prefix}/" for profile in PROFILES if not profile.writes)
"""Path prefixes of the standard profiles, which are read-only."""
ANONYMOUS = Caller("", frozenset({Permission.READONLY}))


class AnonymousReadLimiter:
    """Limits how often each IP address may read without an access token.

    Each address (for IPv6, each /64 network) has a token bucket of ``per_minute`` reads; an empty
    bucket refills evenly over a minute.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity, self._rate = float(per_minute), per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit_anonymous_read(self, address: str) -> Caller:
        """Count a read against the rate limit of an IP address and return the anonymous caller.

        Raises ``TooManyRequests`` if the address has exceeded its limit.
        """
        now, key = self._clock(), get_rate_limit_key(address)
        tokens, updated_at = self._buckets.pop(key, (self._capacity, now))
        tokens = min(self._capacity, tokens + (now - updated_at) * self._rate)
        is_admitted = tokens >= 1
        self._buckets[key] = (tokens - 1 if is_admitted else tokens, now)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if is_admitted:
            return ANONYMOUS
        seconds = max(1, math.ceil((1 - tokens) / self._rate))
        raise TooManyRequests(
            f"too many reads without a token, the limit is {self._capacity:.0f} per minute and "
            f"address: retry in {seconds} s, or send a token",
            headers={"Retry-After": str(seconds)},
        )


class AnonymousReadCORS:
    """Middleware that lets web pages from any origin read the standard API profiles (CORS)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer CORS preflight requests, and add CORS headers to other responses (ASGI).

        Requests outside the standard API profiles are passed on unchanged.
        """
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith("/ns/"):
            path = NAMESPACE_PREFIX.sub("", path)
        if not resolve_path_alias(path).startswith(READ_ONLY_PREFIXES):
            await self.app(scope, receive, send)
            return

        async def send_with_cors_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Access-Control-Allow-Origin"] = "*"
                headers["Access-Control-Expose-Headers"] = (
                    "ETag, Link, Retry-After, X-Request-ID, X-Total-Count"
                )
            await send(message)

        method = Headers(scope=scope).get("access-control-request-method")
        if scope["method"] == "OPTIONS" and method in {"GET", "HEAD"}:
            response = Response(status_code=204, headers=PREFLIGHT_HEADERS)
            await response(scope, receive, send_with_cors_headers)
            return
        await self.app(scope, receive, send_with_cors_headers)
