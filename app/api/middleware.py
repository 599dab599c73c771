"""What every request passes first and every answer last.

In: its id, its Host, its path without a trailing slash, HEAD as GET without the body (RFC 9110,
section 9.3.2). Out: the id, the headers that keep browsers from harm, a line in the log, and a last
resort for what nobody caught.
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

from ..exceptions import CaseServerError, ServiceUnavailable
from ..log_config import REQUEST_LINE, REQUEST_LOGGER, UPLOAD_LINE
from .allowed_hosts import PROBE_PATHS, HostCheck, host_error_response
from .dependencies import CALLER_ID, CHANGES
from .exception_handlers import error_response

log = logging.getLogger("case_server")
requests = logging.getLogger(REQUEST_LOGGER)

ID_HEADER = b"x-request-id"
REQUEST_ID = "case_server.request_id"
"""Where a request carries its id, as bytes."""

ROUTE_PATH = "case_server.route_path"
"""Where a request to a namespace carries its path without the namespace's prefix."""

TRANSPORT = "case_server.transport"
"""The name under which a request's state holds its connection, an ``asyncio.Transport``, where
something may want to break it."""

GOOD_ID = re.compile(rb"[\x21-\x7e]{1,128}")
"""What is taken from a client and given back: anything else could forge headers or logs."""

GONE = 499
"""What is logged, as proxies do, of a client that left before there was an answer."""

STOPPING = ServiceUnavailable(
    "the server is stopping, and this took too long; try again", headers={"Retry-After": "5"}
)
"""For a request that took longer than a server that stops waits."""

Header = tuple[bytes, bytes]

SECURITY_HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"private, no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""For answers that are data. What an answer says itself stands."""
HTTPS_ONLY: Header = (b"strict-transport-security", b"max-age=31536000")


class RequestMiddleware:
    """Gives each answer an ``X-Request-ID`` (the client's own, or a new one) and its headers."""

    def __init__(
        self, app: ASGIApp, *, hosts: HostCheck, https: bool = False, access_log: bool = True
    ) -> None:
        self.app, self.hosts = app, hosts
        self.access_log = access_log
        self.data = (*SECURITY_HEADERS, HTTPS_ONLY) if https else SECURITY_HEADERS
        self.names = {name for name, _ in self.data}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response back (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, begun = _request_id(scope), time.perf_counter()
        path, method, status = scope["path"], scope["method"], 0
        if method == "HEAD":
            # A copy: the server looks at its own scope to see that no body may follow.
            scope = {**scope, "method": "GET"}
            send = _without_body(send)
        scope[REQUEST_ID] = request_id
        if path.endswith("/"):
            scope["path"] = _without_slash(scope)
        CALLER_ID.set("")
        CHANGES.set({})

        async def send_complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                own = self._own(headers)
                message["headers"] = [*headers, *own, (ID_HEADER, request_id)]
            await send(message)

        try:
            await self._respond(scope, receive, send_complete)
        except (Exception, asyncio.CancelledError) as error:
            last = _last_resort(error, scope, method, request_id.decode())
            if not status:
                await error_response(scope.get(ROUTE_PATH, path), last)(
                    scope, receive, send_complete
                )
            elif method != "HEAD":
                # The response is under way: cutting it off is the only way left to say so.
                raise
        finally:
            if self.access_log and path not in PROBE_PATHS:
                _log(scope, method, status, begun, request_id)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self.hosts.error(scope)
        app = self.app if error is None else host_error_response(scope, error)
        await app(scope, receive, send)

    def _own(self, headers: list[Header]) -> tuple[Header, ...]:
        """The headers that an answer does not have yet."""
        theirs = {name for name, _ in headers}
        if theirs.isdisjoint(self.names):
            return self.data
        return tuple(header for header in self.data if header[0] not in theirs)


def _without_body(send: Send) -> Send:
    """Return a ``send`` that ends a response with its header section (RFC 9110, section 9.3.2).

    Ended there, a package is not read to its end for nothing: what streams it is told that the
    response is complete.
    """

    async def send_header_section(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return send_header_section


def _without_slash(scope: Scope) -> str:
    """Return a path without the slash at its end, unless that is part of an identifier."""
    path: str = scope["path"]
    return path if len(path) == 1 or scope["raw_path"].endswith(b"%2F") else path[:-1]


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
    fields = (method, path, status or GONE, milliseconds, client, request_id.decode())
    changes = CHANGES.get()
    requests.info(UPLOAD_LINE if changes else REQUEST_LINE, *fields, *changes.values())
