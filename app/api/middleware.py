"""Outermost middleware: request IDs, Host, HEAD, security headers, access log, errors.

It also removes a trailing slash from the path. HEAD is handled as GET without the body (RFC 9110,
section 9.3.2).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..exceptions import CaseServerError, ServiceUnavailable
from ..log_config import REQUEST_LINE, REQUEST_LOGGER, UPLOAD_LINE
from .allowed_hosts import PROBE_PATHS, HostValidator, build_host_error_response
from .dependencies import CALLER_ID, CHANGES
from .exception_handlers import build_error_response

log = logging.getLogger("case_server")
requests = logging.getLogger(REQUEST_LOGGER)

REQUEST_ID_HEADER = b"x-request-id"
REQUEST_ID = "case_server.request_id"
"""Scope key of the request ID, as bytes."""

ROUTE_PATH = "case_server.route_path"
"""Scope key of a path without the prefix of its namespace (test mode)."""

TRANSPORT = "case_server.transport"
"""Name in a request's state of its ``asyncio.Transport``, which test mode may close."""

REQUEST_ID_PATTERN = re.compile(rb"[\x21-\x7e]{1,128}")
"""Request IDs accepted from clients; other characters could forge headers or log lines."""

CLIENT_CLOSED_REQUEST = 499
"""Status to log if the client disconnected before the response, as nginx does."""

SHUTTING_DOWN = ServiceUnavailable("the server is shutting down; retry later", retry_after=5)
"""The error for requests that are still running when the shutdown timeout ends."""

Header = tuple[bytes, bytes]

SECURITY_HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"private, no-cache"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Default security headers of responses; headers that a response sets itself win."""
HTTPS_ONLY: Header = (b"strict-transport-security", b"max-age=31536000")


class RequestMiddleware:
    """Outermost middleware: checks the Host header, assigns a request ID, and logs each request.

    It also adds the default security headers to responses.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: HostValidator, https: bool = False, access_log: bool = True
    ) -> None:
        self.app, self.hosts = app, hosts
        self.access_log = access_log
        self.headers = (*SECURITY_HEADERS, HTTPS_ONLY) if https else SECURITY_HEADERS
        self.header_names = {name for name, _ in self.headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle and log an HTTP request; turn unhandled exceptions into responses (ASGI).

        Other ASGI events, such as start-up and shutdown, are passed on unchanged.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, start = _get_or_create_request_id(scope), time.perf_counter()
        path, method, status = scope["path"], scope["method"], 0
        if method == "HEAD":
            # A copy, because uvicorn reads the method in its own scope to leave out the body.
            scope = {**scope, "method": "GET"}
            send = _drop_response_body(send)
        scope[REQUEST_ID] = request_id
        if path.endswith("/"):
            scope["path"] = _strip_trailing_slash(scope)
        CALLER_ID.set("")
        CHANGES.set({})

        async def send_complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                missing_headers = self._get_missing_headers(headers)
                message["headers"] = [*headers, *missing_headers, (REQUEST_ID_HEADER, request_id)]
            await send(message)

        try:
            host_error = self.hosts.find_host_error(scope)
            app = self.app if not host_error else build_host_error_response(scope, host_error)
            await app(scope, receive, send_complete)
        except (Exception, asyncio.CancelledError) as error:
            reported = _log_and_convert_error(error, scope, method, request_id.decode())
            if not status:
                response = build_error_response(scope.get(ROUTE_PATH, path), reported)
                await response(scope, receive, send_complete)
            elif method != "HEAD":
                # The status has been sent: only a closed connection can tell that it is wrong.
                raise
        finally:
            if self.access_log and path not in PROBE_PATHS:
                _log_request(scope, method, status, start, request_id)

    def _get_missing_headers(self, headers: list[Header]) -> tuple[Header, ...]:
        names = {name for name, _ in headers}
        if names.isdisjoint(self.header_names):
            return self.headers
        return tuple(header for header in self.headers if header[0] not in names)


def _drop_response_body(send: Send) -> Send:
    """Wrap an ASGI ``send`` function so that it sends only the headers, as HEAD requires.

    The response is complete after its headers, so later messages are ignored.
    """

    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return send_headers


def _strip_trailing_slash(scope: Scope) -> str:
    """Return the path of a request, which ends with a slash, without this slash.

    A percent-encoded slash (%2F) is part of an identifier and remains.
    """
    path: str = scope["path"]
    return path if len(path) == 1 or scope["raw_path"].upper().endswith(b"%2F") else path[:-1]


def _log_and_convert_error(
    error: BaseException, scope: Scope, method: str, request_id: str
) -> CaseServerError:
    """Log an unhandled exception and return the ``CaseServerError`` to send to the client.

    A request that the shutdown cancels is not logged.
    """
    if isinstance(error, asyncio.CancelledError):
        return SHUTTING_DOWN
    log.error(
        "request %s: %s %s failed", request_id, method, _encode_path_for_log(scope), exc_info=error
    )
    return CaseServerError(f"internal server error: see the server log, request ID {request_id}")


def _get_or_create_request_id(scope: Scope) -> bytes:
    value = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER), b"")
    return value if REQUEST_ID_PATTERN.fullmatch(value) else os.urandom(16).hex().encode()


def _encode_path_for_log(scope: Scope) -> str:
    """Return the path percent-encoded as received; a decoded path could forge log lines."""
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii", "backslashreplace")


def _log_request(scope: Scope, method: str, status: int, start: float, request_id: bytes) -> None:
    client = CALLER_ID.get().encode("unicode_escape").decode()[:255] or "-"
    milliseconds = round((time.perf_counter() - start) * 1000, 1)
    path, status = _encode_path_for_log(scope), status or CLIENT_CLOSED_REQUEST
    fields = (method, path, status, milliseconds, client, request_id.decode())
    changes = CHANGES.get()
    requests.info(UPLOAD_LINE if changes else REQUEST_LINE, *fields, *changes.values())
