"""Faults carried out: answers that are late, wrong, cut off, or never come."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import orjson
from fastapi import Response

from ..api.exception_handlers import error_response
from ..api.middleware import TRANSPORT
from ..api.routes.token import TOKEN_PATHS
from ..exceptions import CaseServerError, ErrorCode

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .faults import Fault

PIECES = 10
"""Into how many a slow body is cut."""

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing throws away what is unsent, and says so to the other side."""

REASONS: dict[int, ErrorCode] = {
    401: "unauthorised",
    403: "forbidden",
    404: "unknown",
    405: "unsupported",
    409: "conflict",
    413: "too_large",
    429: "busy",
    502: "busy",
    503: "busy",
    504: "busy",
}
CHALLENGE = 'Bearer error="invalid_token", error_description="a fault was asked for"'
OAUTH_ERRORS = {
    401: "invalid_client",
    429: "temporarily_unavailable",
    503: "temporarily_unavailable",
}
"""RFC 6749 has few words; other errors of the client are ``invalid_request``."""


async def fail(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request as a fault says (ASGI)."""
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if not (fault.status or fault.reset or fault.body or fault.slow_body):
        await app(scope, receive, send)
        return
    answer = _Answer()
    if fault.apply_request or not (fault.status or fault.reset):
        await app(scope, receive, answer.take)
    else:
        await _read_to_the_end(receive)
    if fault.status:
        await _refusal(fault, fault.status, scope["path"])(scope, receive, send)
    elif fault.reset:
        _Connection(scope["state"][TRANSPORT]).reset()
        await _until_gone(receive)
    elif fault.body == "truncated":
        await answer.send_half(send)
        _Connection(scope["state"][TRANSPORT]).close()
        await _until_gone(receive)
    else:
        await answer.send(send, malformed=fault.body == "malformed", seconds=fault.slow_body or 0)


class _Answer:
    """An answer that is held back until it is whole."""

    def __init__(self) -> None:
        self._start: Message = {}
        self._body = bytearray()

    async def take(self, message: Message) -> None:
        """Hold a part of the answer back (ASGI's send)."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    async def send(self, send: Send, *, malformed: bool, seconds: float) -> None:
        """Send it, with half of its JSON or in pieces over some seconds."""
        body = bytes(self._body)
        if malformed:
            body = body[: len(body) // 2] or b"{"
        await send(self._with_length(len(body)))
        step = max(1, -(-len(body) // PIECES))
        pieces = [body[at : at + step] for at in range(0, len(body), step)] if seconds else [body]
        for piece in pieces:
            await asyncio.sleep(seconds / len(pieces))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def send_half(self, send: Send) -> None:
        """Announce all of it, and send half."""
        body = bytes(self._body)
        await send(self._with_length(max(1, len(body))))
        await send(
            {"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True}
        )

    def _with_length(self, length: int) -> Message:
        others = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        return {**self._start, "headers": [*others, (b"content-length", str(length).encode())]}


class _Connection:
    """The way to a client, to be ended otherwise than by an answer."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        """End it once all is sent."""
        self._transport.close()

    def reset(self) -> None:
        """End it at once, so that the client reads "connection reset by peer"."""
        found = self._transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._transport.abort()


async def _read_to_the_end(receive: Receive) -> None:
    """Read a request as if it were to be carried out."""
    while (message := await receive())["type"] == "http.request":
        if not message.get("more_body"):
            return


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refusal(fault: Fault, status: int, path: str) -> Response:
    """The error in the words of whoever is asked: OAuth's for tokens, else the profile's."""
    description = fault.description or f"a fault asks for {status} here"
    headers = {}
    retry_after = fault.retry_after
    if retry_after is None and status in {429, 503}:
        retry_after = 1
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if path in TOKEN_PATHS:
        other = "invalid_request" if status < 500 else "server_error"  # noqa: PLR2004  HTTP's own
        told = {"error": OAUTH_ERRORS.get(status, other), "error_description": description}
        return Response(orjson.dumps(told), status, headers, "application/json")
    if status == 401:  # noqa: PLR2004  HTTP's own
        headers["WWW-Authenticate"] = CHALLENGE
    other_reason: ErrorCode = "invalid" if status < 500 else "internal"  # noqa: PLR2004  HTTP's own
    error = CaseServerError(description, code=REASONS.get(status, other_reason), headers=headers)
    answer = error_response(path, error)
    answer.status_code = status
    return answer
