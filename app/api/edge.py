"""What every request passes first and every answer last.

In: its id, its path without a trailing slash, HEAD as GET without the body (RFC 9110, section
9.3.2). Out: the id, the headers that keep browsers from harm, a line in the log, and a last resort
for what nobody caught.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import CaseServerError, Unavailable
from ..logs import LINE, REQUESTS
from .deps import CALLER_ID
from .errors import refusal

log = logging.getLogger("case_server")
requests = logging.getLogger(REQUESTS)

ID_HEADER = b"x-request-id"
REQUEST_ID = "case_server.request_id"
"""Where a request carries its id, as bytes."""

TRANSPORT = "case_server.transport"
"""The name under which a request's state holds its connection, an ``asyncio.Transport``, where
something may want to break it."""

GOOD_ID = re.compile(rb"[\x21-\x7e]{1,128}")
"""What is taken from a client and given back: anything else could forge headers or logs."""

PROBES = {"/health", "/ready"}
"""Who asks every few seconds whether the server lives would fill the log."""
GONE = 499
"""What is logged, as proxies do, of a client that left before there was an answer."""

STOPPING = Unavailable(
    "the server is stopping, and this took too long; try again", headers={"Retry-After": "5"}
)
"""For a request that took longer than a server that stops waits."""

Header = tuple[bytes, bytes]

DATA: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"private, no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""For answers that are data. What an answer says itself stands."""
HTTPS_ONLY: Header = (b"strict-transport-security", b"max-age=31536000")


class Edge:
    """Gives each answer an ``X-Request-ID`` (the client's own, or a new one) and its headers."""

    def __init__(self, app: ASGIApp, *, https: bool = False, access_log: bool = True) -> None:
        self.app = app
        self.access_log = access_log
        self.data = (*DATA, HTTPS_ONLY) if https else DATA
        self.names = {name for name, _ in self.data}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, begun = _request_id(scope), time.perf_counter()
        scope[REQUEST_ID] = request_id
        path, method, status = scope["path"], scope["method"], 0
        if len(path) > 1 and path.endswith("/") and not scope["raw_path"].endswith(b"%2F"):
            scope["path"] = path[:-1]
        head = method == "HEAD"
        if head:
            scope["method"] = "GET"
        CALLER_ID.set("")

        async def send_complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                own = self._own(headers)
                message["headers"] = [*headers, *own, (ID_HEADER, request_id)]
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(scope, receive, send_complete)
        except (Exception, asyncio.CancelledError) as error:
            last = _last_resort(error, scope, method, request_id.decode())
            if status:
                # The answer is under way: cutting it off is the only way left to say so.
                raise
            await refusal(path, last)(scope, receive, send_complete)
        finally:
            if self.access_log and path not in PROBES:
                _log(scope, method, status, begun, request_id)

    def _own(self, headers: list[Header]) -> tuple[Header, ...]:
        """The headers that an answer does not have yet."""
        theirs = {name for name, _ in headers}
        if theirs.isdisjoint(self.names):
            return self.data
        return tuple(header for header in self.data if header[0] not in theirs)


def _last_resort(
    error: BaseException, scope: Scope, method: str, request_id: str
) -> CaseServerError:
    """What is said of an error that nobody caught; the log has all of it."""
    if isinstance(error, asyncio.CancelledError):
        return STOPPING
    log.error("request %s: %s %s failed", request_id, method, _told(scope), exc_info=error)
    return CaseServerError(f"the server failed; its log has the reason under request {request_id}")


def _request_id(scope: MutableMapping[str, Any]) -> bytes:
    sent = next((value for name, value in scope["headers"] if name == ID_HEADER), b"")
    return sent if GOOD_ID.fullmatch(sent) else os.urandom(16).hex().encode()


def _told(scope: Scope) -> str:
    """The path as it was sent, percent-encoded: what it decodes to could forge lines."""
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii", "backslashreplace")


def _log(scope: Scope, method: str, status: int, begun: float, request_id: bytes) -> None:
    client = CALLER_ID.get().encode("unicode_escape").decode()[:255] or "-"
    milliseconds = round((time.perf_counter() - begun) * 1000, 1)
    path = _told(scope)
    requests.info(LINE, method, path, status or GONE, milliseconds, client, request_id.decode())
