"""HTTP protocol: limits on the number of connections, on header sections, and on time.

These limits apply to clients without a token, before the application receives the request. The
protocol also follows RFC 9112 where uvicorn does not: unchunked responses to HTTP/1.0, closing in
stages, and half-closed connections.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..api.exception_handlers import build_error_response
from ..api.middleware import SECURITY_HEADERS
from ..exceptions import (
    BadRequest,
    CaseServerError,
    HeaderFieldsTooLarge,
    RequestTimeout,
    ServiceUnavailable,
)

MAX_HEADER_SECTION_BYTES = 65_536
"""Maximum total size of the request line and the header section."""

MAX_WAITING_SHARE = 0.75
"""Share of the connections that may wait for a complete request."""

EVICTION_ITERATIONS = 4
"""Iterations of the event loop after which an accepted connection has been read."""

BODILESS_STATUSES = {204, 304}


class ConnectionLimiter:
    """Limits how many connections a worker has open, and how many may wait for their clients.

    A connection is called waiting while the server needs its client to act: to send a request or
    the rest of one, or to read the response. If too many wait, the oldest are closed. All other
    connections are busy and are never closed by this class.
    """

    def __init__(self, max_connections: int) -> None:
        self.max_connections = max_connections
        self.max_waiting = max(1, int(max_connections * MAX_WAITING_SHARE))
        self._open: set[HttpConnection] = set()
        self._waiting: dict[HttpConnection, None] = {}
        """Ordered by the time at which they began to wait."""
        self._is_evicting = False

    def admit(self, connection: HttpConnection) -> bool:
        """Register a new connection and return whether it is within the limit.

        If the result is False, because all other connections are busy, the caller must close it.
        """
        is_full = len(self._open) >= self.max_connections and not self._waiting
        self._open.add(connection)
        self.mark_waiting(connection)
        return not is_full

    def mark_waiting(self, connection: HttpConnection) -> None:
        """Mark a connection as waiting for its client to send a request or read the response.

        If too many connections are open or waiting, closes those that have waited longest. Ignores
        a connection that was released.
        """
        if connection not in self._open:
            return
        self._waiting.pop(connection, None)
        self._waiting[connection] = None
        if len(self._open) > 2 * self.max_connections:
            self._evict_oldest()
        elif self._exceeds_limits() and not self._is_evicting:
            self._is_evicting = True
            self._evict_waiting_after(EVICTION_ITERATIONS, connection.loop)

    def _exceeds_limits(self) -> bool:
        """Return whether too many connections are open or waiting, so one must be closed."""
        # The newest stays open, so that its client can read the error response.
        is_full = len(self._open) > self.max_connections and len(self._waiting) > 1
        return is_full or len(self._waiting) > self.max_waiting

    def _evict_waiting_after(self, iterations: int, loop: asyncio.AbstractEventLoop) -> None:
        """Let the event loop iterate, then close the oldest waiting connections beyond the limits.

        If many connections are accepted at once, all count as waiting until ``loop`` has read their
        requests, which takes up to ``iterations`` iterations.
        """
        if iterations:
            loop.call_soon(self._evict_waiting_after, iterations - 1, loop)
            return
        self._is_evicting = False
        while self._exceeds_limits():
            self._evict_oldest()

    def _evict_oldest(self) -> None:
        oldest = next(iter(self._waiting))
        self.release(oldest)
        oldest.evict()

    def mark_busy(self, connection: HttpConnection) -> None:
        """Mark a connection as busy, because its request is complete and is being answered."""
        self._waiting.pop(connection, None)

    def release(self, connection: HttpConnection) -> None:
        """Stop counting a closed connection."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class ServerConfig(uvicorn.Config):
    """The configuration of uvicorn, extended with a connection limit and a request timeout."""

    request_seconds: int = 20
    """Seconds until a request must have arrived."""
    connection_limit: ConnectionLimiter


class Http10RequestResponseCycle(RequestResponseCycle):
    """A request of an HTTP/1.0 client and its response, which is sent without chunked encoding.

    Such clients do not know Transfer-Encoding (RFC 9112, section 6.1), but uvicorn would send it.
    If the length of the body is unknown, the server ends the body by closing the connection.
    """

    is_delimited_by_close = False

    async def send(self, message: Any) -> None:
        """Send an ASGI message without chunked encoding, which HTTP/1.0 clients do not know.

        After a body of unknown length, closes the connection, which marks the end of the body.
        """
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            has_body = self.scope["method"] != "HEAD" and message["status"] not in BODILESS_STATUSES
            self.is_delimited_by_close = has_body and b"content-length" not in names
            if self.is_delimited_by_close:
                # uvicorn adds the header only while it has not decided on a framing.
                self.chunked_encoding = True
        elif self.is_delimited_by_close:
            await self._send_body(message)
            return
        await super().send(message)

    async def _send_body(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.response_complete:
            return
        self.transport.write(message.get("body", b""))
        if not message.get("more_body", False):
            self.response_complete = True
            self.message_event.set()
            self.transport.close()
            self.on_response()


class ExpectContinueRequestResponseCycle(RequestResponseCycle):
    """uvicorn's handler of a request with ``Expect: 100-continue`` (RFC 9110, section 10.1.1).

    The client of such a request waits for a response before it sends the body, or never sends it.
    """

    async def send(self, message: Any) -> None:
        """Send an ASGI message, and close the connection if the response precedes the body.

        After such a response, the client may send the body or omit it, so the server could not tell
        whether the next bytes are the body or another request.
        """
        if self.waiting_for_100_continue and self.more_body:
            self.keep_alive = False
        await super().send(message)


class LingeringTransport:
    """A transport that closes in two stages, so that clients receive the whole response.

    It first stops sending, and then closes once the client has stopped sending as well. If a socket
    is closed with unread data, the kernel resets the connection, and the client may lose a response
    that it has not read yet (RFC 9112, section 9.6).
    """

    def __init__(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        self._transport, self._connection = transport, connection
        self.write = transport.write
        self.is_lingering = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed and so accepts no more data."""
        return self.is_lingering or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection, without resetting it if the client is still sending a request.

        If a request has arrived only in part, the server first sends no more, and closes the
        connection when the client has stopped sending as well or a timeout has passed.
        """
        if self.is_closing():
            return
        if self._connection.is_request_partial:
            self.is_lingering = True
            self._connection.discard_input()
            self._transport.write_eof()
        else:
            self._transport.close()

    def close_without_lingering(self) -> None:
        """Close the connection once all buffered data is sent, without waiting for the client."""
        self._transport.close()


class UpgradeIgnoringParser(httptools.HttpRequestParser):
    """A request parser that ignores the ``Upgrade`` header, as RFC 9110, section 7.8, allows.

    httptools stops parsing such a request after its header section, and would parse its body as the
    next request. Java's HTTP client asks for HTTP/2 in this way with every request.
    """

    def __init__(self, connection: HttpConnection) -> None:
        super().__init__(connection)
        self._connection = connection
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def feed_data(self, data: Any) -> None:
        """Parse received bytes, and treat a request with an ``Upgrade`` header as if it had none.

        When httptools stops at such a request, its header section is parsed again without the
        header, and then the remaining bytes. Raises ``httptools.HttpParserError`` for a malformed
        request.
        """
        while data:
            try:
                super().feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                (end,) = upgrade.args
                super().feed_data(self._connection.build_head_without_upgrade())
                data = data[end:]
            else:
                return


class HttpConnection(HttpToolsProtocol):
    """An HTTP/1.1 connection that has timeouts and counts toward a ``ConnectionLimiter``."""

    config: ServerConfig
    cycle: Any
    """The latest request; None before the first."""
    transport: Any

    header_bytes = 0
    """Received bytes of the current header section."""
    is_request_partial = False
    """True if a request has arrived in part."""
    is_body_partial = False
    """True if a header section has arrived, but not all of its body."""
    timeout: asyncio.TimerHandle | None = None
    """Runs while a request is awaited."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = UpgradeIgnoringParser(self)

    # uvicorn narrows the types of asyncio's protocol in the same way, and accepts such a transport.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request, or reject the connection if the limit is reached."""
        super().connection_made(LingeringTransport(transport, self))  # type: ignore[arg-type]
        self.limit = self.config.connection_limit
        self._start_timeout()
        if not self.limit.admit(self):
            # Its request is about to arrive; the client reads the response after it was received.
            self.is_request_partial = True
            self._reject(
                ServiceUnavailable(
                    f"all {self.limit.max_connections} connections of this server process are "
                    "busy; retry later (CASE_SERVER_MAX_CONNECTIONS)"
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the request timeout, and remove the connection from the ``ConnectionLimiter``.

        Called by the event loop once the connection is closed.
        """
        self._stop_timeout()
        self.limit.release(self)
        super().connection_lost(exc)

    # uvicorn declares that nothing is returned; asyncio reads the result.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Return True to keep the connection open after the client has stopped sending.

        It stays open while the server responds to a complete request.
        """
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self.transport.is_lingering or self.is_body_partial or not is_answering:
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Parse received data, and respond 431 to a header section that exceeds the size limit."""
        if self.transport.is_lingering:
            return
        previous_cycle = self.cycle
        if self.is_body_partial:
            if previous_cycle.response_complete:
                self._start_timeout()
            else:
                # The client is sending, so it moves to the end of the waiting connections.
                self.limit.mark_waiting(self)
            super().data_received(data)
        else:
            self._receive_header_section(data)
        if self.cycle is not previous_cycle:
            self.header_bytes = 0
            self._stop_timeout()
        elif previous_cycle is None or previous_cycle.response_complete:
            self._start_timeout()

    def _receive_header_section(self, data: bytes) -> None:
        previous_cycle, remaining_bytes = self.cycle, MAX_HEADER_SECTION_BYTES - self.header_bytes
        super().data_received(data[:remaining_bytes])
        self.header_bytes += min(len(data), remaining_bytes)
        if self.transport.is_closing():
            return
        if self.cycle is previous_cycle and self.header_bytes == MAX_HEADER_SECTION_BYTES:
            self._reject(
                HeaderFieldsTooLarge(
                    f"the request line and the header section are longer than "
                    f"{MAX_HEADER_SECTION_BYTES:,} bytes: send a shorter query or fewer fields"
                )
            )
        elif len(data) > remaining_bytes:
            super().data_received(data[remaining_bytes:])

    def on_message_begin(self) -> None:
        """Record that a request begins; called by the parser."""
        self.is_request_partial = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start responding to a request, whose body may still follow; called by the parser."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise httptools.HttpParserInvalidMethodError("CONNECT is for proxies")
            return
        if b"://" in self.url and not self.url.startswith(b"/"):
            self._use_host_of_target()
        super().on_headers_complete()
        self.is_body_partial = True
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = Http10RequestResponseCycle
            self.cycle.waiting_for_100_continue = False  # RFC 9110, section 10.1.1
        elif self.expect_100_continue:
            self.cycle.__class__ = ExpectContinueRequestResponseCycle

    def on_message_complete(self) -> None:
        """Record that the whole request was received; called by the parser."""
        if self.parser.should_upgrade():
            return
        self.is_request_partial = self.is_body_partial = False
        super().on_message_complete()
        if not self.cycle.response_complete:
            self.limit.mark_busy(self)

    def _use_host_of_target(self) -> None:
        """Set the Host header to the host in an absolute request target such as http://host/path.

        See RFC 9112, section 3.2.2.
        """
        host = self.url.partition(b"://")[2].partition(b"/")[0]
        # In place, because the scope refers to this list.
        self.headers[:] = [
            (name, host if name == b"host" else value) for name, value in self.headers
        ]

    def build_head_without_upgrade(self) -> bytes:
        """Return the current request line and header section as bytes, without ``Upgrade``."""
        version = self.parser.get_http_version().encode()
        lines = [
            b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version),
            *(b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_response_complete(self) -> None:
        """Mark the connection as waiting, unless the client's next request has already arrived."""
        super().on_response_complete()
        if self.cycle.response_complete or self.is_body_partial:
            self.limit.mark_waiting(self)

    def pause_writing(self) -> None:
        """Pause the response because the client reads too slowly; called by the transport."""
        super().pause_writing()
        self.limit.mark_waiting(self)

    def resume_writing(self) -> None:
        """Continue the response because the client has read enough; called by the transport."""
        super().resume_writing()
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and not self.is_body_partial:
            self.limit.mark_busy(self)

    def shutdown(self) -> None:
        """Close the connection after the current response; called when the server stops."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close_without_lingering()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the message of uvicorn
        """Reject a malformed request in the server's error format; uvicorn's ``msg`` is unused."""
        message = "invalid HTTP: the request line, a header field or a chunk is malformed"
        self._reject(BadRequest(message))

    def discard_input(self) -> None:
        """Discard all further data from the client, until it closes the connection or times out."""
        self.flow.resume_reading()
        self._start_timeout()
        self.limit.mark_waiting(self)

    def evict(self) -> None:
        """Close this connection, whose client sends or reads nothing, to make room for others."""
        if self.transport.get_write_buffer_size():
            # A close would wait until the client has read what is buffered.
            self.transport.abort()
        elif self.is_request_partial:
            self._reject(
                RequestTimeout(
                    f"the request was incomplete when more than {self.limit.max_waiting} "
                    "connections waited; retry later (CASE_SERVER_MAX_CONNECTIONS)"
                )
            )
        self.transport.close_without_lingering()

    def _start_timeout(self) -> None:
        if self.timeout is None:
            self.timeout = self.loop.call_later(self.config.request_seconds, self._on_timeout)

    def _stop_timeout(self) -> None:
        if self.timeout is not None:
            self.timeout.cancel()
            self.timeout = None

    def _on_timeout(self) -> None:
        self.timeout = None
        if self.header_bytes and not self.transport.is_closing():
            seconds = self.config.request_seconds
            message = f"no complete request arrived within {seconds} seconds; send it again"
            self._reject(RequestTimeout(message))
        self.transport.close_without_lingering()

    def _reject(self, error: CaseServerError) -> None:
        """Respond with ``error``, a ``CaseServerError``, and close the connection.

        If a response has already started, only closes the connection.
        """
        self._stop_timeout()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        response, status = build_error_response("/", error), HTTPStatus(error.status)
        headers = (*response.raw_headers, *SECURITY_HEADERS, (b"connection", b"close"))
        lines = (
            b"HTTP/1.1 %d %s" % (status, status.phrase.encode()),
            *(name + b": " + value for name, value in headers),
        )
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()
