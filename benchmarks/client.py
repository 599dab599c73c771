"""A minimal HTTP client on one connection, so that it adds little to the measured times."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from .errors import BenchmarkError

LAST_CHUNK = b"\r\n0\r\n\r\n"
MAX_IDLE_SECONDS = 2.0
"""Idle time after which the client reconnects, because servers close idle connections."""


@dataclass(frozen=True)
class TimedResponse:
    """An HTTP response with its timings: seconds from the request to the first and last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    """The body as transferred, with chunk sizes and compression."""
    first_byte_seconds: float
    seconds: float


class TimedClient:
    """An HTTP client that sends one request at a time on one connection, for timed requests."""

    def __init__(self, base_url: str, headers: Mapping[str, str] | None = None) -> None:
        self.base_url, self.address = base_url, urlsplit(base_url)
        self.headers = {"Host": self.address.netloc, **(headers or {})}
        self._connect()

    def _connect(self) -> None:
        port = self.address.port or 80
        self._socket = socket.create_connection((self.address.hostname, port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def get(self, path: str, *, expected_status: int | None = 200, **headers: str) -> TimedResponse:
        """Send a GET request and return the response; keywords such as If_None_Match are headers.

        Raises ``BenchmarkError`` unless the status is ``expected_status``, as ``send`` does.
        """
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("GET", path, expected_status=expected_status, headers=fields)

    def put(self, path: str, body: bytes, *, expected_status: int | None = None) -> TimedResponse:
        """Send a PUT request with a JSON body and return the response, as ``send`` does."""
        return self.send("PUT", path, body, expected_status=expected_status)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        expected_status: int | None,
        headers: Mapping[str, str] | None = None,
    ) -> TimedResponse:
        """Send a request and return the response.

        Raises ``BenchmarkError`` unless the status is ``expected_status``, or is below 400 if
        ``expected_status`` is None.
        """
        fields = {**self.headers, **(headers or {})}
        if body:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        response = self._exchange("\r\n".join([*lines, "", ""]).encode() + body)
        is_expected = (
            response.status == expected_status if expected_status else response.status < 400
        )
        if not is_expected:
            text = response.body[:500].decode(errors="replace")
            raise BenchmarkError(f"{method} {path} returned {response.status}: {text}")
        return response

    def _exchange(self, request: bytes) -> TimedResponse:
        if time.monotonic() - self._used > MAX_IDLE_SECONDS:
            self._socket.close()
            self._connect()
        start = time.perf_counter()
        self._socket.sendall(request)
        received = bytearray(self._receive())
        first_byte = time.perf_counter() - start
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        head = received[:end].decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:])
        chunks, size = [bytes(received[end + 4 :])], len(received) - end - 4
        status = int(head[0].split()[1])
        length = 0 if status == 304 else int(headers.get("content-length", -1))
        is_chunked = headers.get("transfer-encoding") == "chunked"
        tail = b"\r\n" + chunks[0][-8:]
        while not (tail.endswith(LAST_CHUNK) if is_chunked else size >= length):
            chunks.append(self._receive())
            size += len(chunks[-1])
            tail = (tail + chunks[-1])[-8:]
        seconds = time.perf_counter() - start
        self._used = time.monotonic()
        return TimedResponse(status, headers, b"".join(chunks), first_byte, seconds)

    def _receive(self) -> bytes:
        received = self._socket.recv(1 << 20)
        if not received:
            raise BenchmarkError("the server closed the connection in the middle of a response")
        return received
