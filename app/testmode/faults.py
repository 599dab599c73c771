"""Fault injection: rules that select requests, and the faulty responses they get."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import orjson
from fastapi import Response
from pydantic import Field, model_validator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.dependencies import TOKEN_PATHS
from ..api.exception_handlers import build_error_response
from ..api.middleware import TRANSPORT
from ..exceptions import CaseServerError, ErrorCode
from .request_log import LoggedRequest, RequestFilter

Seconds = Annotated[float, Field(gt=0, le=300)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""An integer that orjson can write, because the test API returns the faults as JSON."""

STATUSES_WITHOUT_BODY = {204, 304}
"""Statuses whose responses end after the header section (RFC 9112, section 6.3)."""

SLOW_BODY_CHUNKS = 10
"""Number of chunks in which a slow body is sent."""

LINGER_ZERO = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of 0: closing the socket discards unsent data and sends a TCP RST."""

ERROR_CODES: dict[int, ErrorCode] = {
    401: "unauthorised",
    403: "forbidden",
    404: "unknown",
    405: "unsupported",
    409: "conflict",
    413: "too_large",
    **dict.fromkeys((429, 502, 503, 504), "busy"),
}
CHALLENGE = 'Bearer error="invalid_token", error_description="injected fault"'
OAUTH_ERRORS = {401: "invalid_client", **dict.fromkeys((429, 503), "temporarily_unavailable")}
"""Error codes of RFC 6749; other 4xx are ``invalid_request``, other 5xx ``server_error``."""

SELECTION_FIELDS = {"method", "path", "path_regex", "client", "nth", "probability", "seed", "times"}
"""The fields of a fault that select requests; the others describe the response."""


class Fault(RequestFilter):
    """A fault to inject: the conditions that select requests, and how their responses fail."""

    path_regex: str | None = None

    nth: list[Int64] | Int64 | None = None
    """The number of the matching request that fails, counted from 1."""
    probability: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Int64 = 0
    """Seed for ``probability``; the same seed selects the same requests."""
    times: Annotated[Int64, Field(ge=1)] | None = None
    """Maximum number of requests that fail."""

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    retry_after: Annotated[Int64, Field(ge=0)] | None = None
    """Value of Retry-After in seconds; by default 1 for 429 and 503, else no header field."""
    description: str | None = None
    delay: Seconds | None = None
    """Seconds to wait before the request is handled."""
    reset: bool = False
    """Reset the connection instead of responding."""
    body: Literal["truncated", "malformed"] | None = None
    """Close the connection after half of the body, or send half of the JSON as the whole body."""
    slow_body: Seconds | None = None
    """Seconds over which the body is sent."""
    apply_request: bool = False
    """With ``status`` and ``reset``: handle the request before the response fails."""

    def list_request_numbers(self) -> list[int]:
        """Return the 1-based numbers of the matching requests that get the fault, from ``nth``.

        An empty list means that all matching requests get it.
        """
        return [self.nth] if isinstance(self.nth, int) else self.nth or []

    @model_validator(mode="after")
    def _is_consistent(self) -> Fault:
        problems = []
        effects = [name for name in ("status", "reset", "body", "slow_body") if getattr(self, name)]
        if not effects and not self.delay:
            problems.append("a fault needs one of status, delay, reset, body and slow_body")
        if len(effects) > 1:
            problems.append(f"{' and '.join(effects)} cannot be combined")
        if any(number < 1 for number in self.list_request_numbers()):
            problems.append("nth counts from 1, so that 0 would select no request")
        if self.status is None and (self.retry_after is not None or self.description):
            problems.append("retry_after and description need a status")
        if self.apply_request and not (self.status or self.reset):
            problems.append("apply_request is for status and reset; other faults always apply it")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _has_valid_regex(self) -> Fault:
        try:
            re.compile(self.path_regex or "")
        except re.error as error:
            raise ValueError(f"path_regex is not a regular expression: {error}") from error
        return self

    def matches(self, entry: LoggedRequest) -> bool:
        """Return whether a logged request meets the fault's conditions on method, path and client.

        ``FaultRule`` then applies ``nth``, ``probability`` and ``times``.
        """
        return super().matches(entry) and bool(re.search(self.path_regex or "", entry.path))

    def get_response_fields(self) -> dict[str, Any]:
        """Return the fields that are set and describe the response, such as ``{"status": 503}``."""
        return self.model_dump(exclude_defaults=True, exclude=SELECTION_FIELDS)


class FaultRule:
    """A fault, with counts of the requests that matched it and of those it was injected into."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.matched = self.applied = 0
        self._random = random.Random(fault.seed)  # noqa: S311  must be repeatable, not secret
        self._nth = set(fault.list_request_numbers())

    def count_and_check_request(self, entry: LoggedRequest) -> bool:
        """Count a request if it matches the fault, and return whether to inject the fault into it.

        A fault can be limited to some of the matching requests, such as the first two.
        """
        fault = self.fault
        if not fault.matches(entry):
            return False
        self.matched += 1
        is_selected = not self._nth or self.matched in self._nth
        if fault.probability is not None:
            # Drawn for every match, so that the seed alone determines which requests fail.
            is_selected = self._random.random() < fault.probability and is_selected
        return is_selected and (fault.times is None or self.applied < fault.times)

    def to_dict(self) -> dict[str, Any]:
        """Return the fault's fields with its counts ``matched`` and ``applied``, as a dict."""
        fields = self.fault.model_dump(exclude_defaults=True)
        return {**fields, "matched": self.matched, "applied": self.applied}


def count_and_choose_fault(rules: Iterable[FaultRule], entry: LoggedRequest) -> Fault | None:
    """Return the first fault that applies to a request, or None.

    Increments ``matched`` of every fault whose conditions the request meets, and ``applied`` of the
    returned fault.
    """
    matching_rules = [rule for rule in rules if rule.count_and_check_request(entry)]
    if not matching_rules:
        return None
    matching_rules[0].applied += 1
    return matching_rules[0].fault


async def inject_fault(
    fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Respond to a request with a fault: a delay, error, altered body or connection reset.

    ``app`` is the ASGI application. It handles the request if the fault only delays or alters the
    response. If ``fault.apply_request`` is true, it handles the request in every case, so that a
    write takes effect although the client gets an error.
    """
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if not (fault.status or fault.reset or fault.body or fault.slow_body):
        await app(scope, receive, send)
        return
    response = _BufferedResponse()
    if fault.apply_request or not (fault.status or fault.reset):
        await app(scope, receive, response.buffer)
    else:
        await _read_to_end(receive)
    if fault.status:
        await _build_injected_error(fault, fault.status, scope["path"])(scope, receive, send)
    elif fault.reset:
        _abort_with_tcp_reset(scope["state"][TRANSPORT])
        await _wait_for_disconnect(receive)
    elif fault.body == "truncated":
        await response.send_half_of_body(send)
        scope["state"][TRANSPORT].close()
        await _wait_for_disconnect(receive)
    else:
        await response.send(send, malformed=fault.body == "malformed", seconds=fault.slow_body or 0)


class _BufferedResponse:
    """A response that is held in memory until it is complete, so that a fault can alter it."""

    def __init__(self) -> None:
        self._start: Message = {}
        self._body = bytearray()

    async def buffer(self, message: Message) -> None:
        """Store a part of the response, as the ASGI ``send`` function of the application."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    async def send(self, send: Send, *, malformed: bool, seconds: float) -> None:
        """Send the response in ten chunks over ``seconds``, or at once if this is 0.

        If ``malformed`` is true, sends only half of the body, with the Content-Length of that half.
        A response whose status allows no body is sent unchanged after ``seconds``.
        """
        body = bytes(self._body)
        if self._start["status"] in STATUSES_WITHOUT_BODY:
            await asyncio.sleep(seconds)
            await send(self._start)
            await send({"type": "http.response.body", "body": b""})
            return
        if malformed:
            body = body[: len(body) // 2] or b"{"
        await send(self._start_with_length(len(body)))
        size = max(1, -(-len(body) // SLOW_BODY_CHUNKS))
        chunks = [body[at : at + size] for at in range(0, len(body), size)] if seconds else [body]
        for chunk in chunks:
            await asyncio.sleep(seconds / len(chunks))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def send_half_of_body(self, send: Send) -> None:
        """Send the headers with the full Content-Length, but only the first half of the body.

        The caller then closes the connection, which the client sees as a truncated response.
        """
        body = bytes(self._body)
        await send(self._start_with_length(max(1, len(body))))
        half = body[: len(body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})

    def _start_with_length(self, length: int) -> Message:
        headers = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        return {**self._start, "headers": [*headers, (b"content-length", str(length).encode())]}


def _abort_with_tcp_reset(transport: asyncio.Transport) -> None:
    """Close a connection with a TCP reset: the client gets "connection reset by peer"."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    transport.abort()


async def _read_to_end(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request":
        if not message.get("more_body"):
            return


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _build_injected_error(fault: Fault, status: int, path: str) -> Response:
    """Build the error response of a fault with the given status, as a Starlette ``Response``.

    The body is an OAuth 2 error for token endpoints, and for other paths an error of the path's API
    profile.
    """
    description = fault.description or f"injected fault: {status} (test mode)"
    default_delay = 1 if status in {429, 503} else None
    retry_after = default_delay if fault.retry_after is None else fault.retry_after
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    is_client_error = status < 500  # noqa: PLR2004  RFC 9110, section 15
    if path in TOKEN_PATHS:
        default = "invalid_request" if is_client_error else "server_error"
        body = {"error": OAUTH_ERRORS.get(status, default), "error_description": description}
        return Response(orjson.dumps(body), status, headers, "application/json")
    if status == 401:  # noqa: PLR2004  RFC 9110, section 15.5.2
        headers["WWW-Authenticate"] = CHALLENGE
    code = ERROR_CODES.get(status, "invalid" if is_client_error else "internal")
    error = CaseServerError(description, code=code, headers=headers)
    response = build_error_response(path, error)
    response.status_code = status
    return response
