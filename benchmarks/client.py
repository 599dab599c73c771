"""One connection to a server, with as little between the socket and the clock as can be."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from .errors import BenchmarkError

LAST_CHUNK = b"\r\n0\r\n\r\n"
IDLE = 2.0
"""Seconds after which a connection is made anew: servers close what nobody uses."""


@dataclass(frozen=True)
class Answer:
    """One answer. Times are in seconds from the first byte sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    """As it was sent: chunks and all, still compressed."""
    first_byte: float
    seconds: float


class Client:
    """Sends one request at a time and waits for the whole answer."""

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

    def get(self, path: str, *, status: int | None = 200, **headers: str) -> Answer:
        """Ask for a path; names of headers are written with ``_`` for ``-``."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("GET", path, status=status, headers=more)

    def put(self, path: str, body: bytes, *, status: int | None = None) -> Answer:
        """Send a body."""
        return self.send("PUT", path, body, status=status)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        status: int | None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. Raises ``BenchmarkError`` on another status than the one expected."""
        given = {**self.headers, **(headers or {})}
        if body:
            given |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {one}" for name, one in given.items())]
        answer = self._exchange("\r\n".join([*lines, "", ""]).encode() + body)
        good = answer.status == status if status else answer.status < 400
        if not good:
            said = answer.body[:500].decode(errors="replace")
            raise BenchmarkError(f"{method} {path} was answered {answer.status}: {said}")
        return answer

    def _exchange(self, request: bytes) -> Answer:
        if time.monotonic() - self._used > IDLE:
            self._socket.close()
            self._connect()
        started = time.perf_counter()
        self._socket.sendall(request)
        received = bytearray(self._receive())
        first_byte = time.perf_counter() - started
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        head = received[:end].decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:])
        pieces, size = [bytes(received[end + 4 :])], len(received) - end - 4
        status = int(head[0].split()[1])
        length = 0 if status == 304 else int(headers.get("content-length", -1))
        chunked = headers.get("transfer-encoding") == "chunked"
        tail = b"\r\n" + pieces[0][-8:]
        while not (tail.endswith(LAST_CHUNK) if chunked else size >= length):
            pieces.append(self._receive())
            size += len(pieces[-1])
            tail = (tail + pieces[-1])[-8:]
        seconds = time.perf_counter() - started
        self._used = time.monotonic()
        return Answer(status, headers, b"".join(pieces), first_byte, seconds)

    def _receive(self) -> bytes:
        received = self._socket.recv(1 << 20)
        if not received:
            raise BenchmarkError("the server closed the connection in the middle of an answer")
        return received
