"""Connections before they carry a request: a head is short, and comes in time.

Nobody has said who they are yet, so what they send costs little: a head of many megabytes, or one
that never ends, is cut off, and so is what is still sent after an answer.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .api.edge import DATA
from .api.errors import refusal
from .errors import BadRequest, CaseServerError, HeadTooLarge, TooSlow

MOST_BYTES = 65_536
"""The longest head of a request: its first line and its headers."""


class Config(uvicorn.Config):
    """How to serve; ``head_seconds`` is how long a connection may take to make a request."""

    head_seconds: int = 20


class Connection(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # chosen by what is there
    """A connection that is closed when no request comes over it in time."""

    config: Config
    cycle: Any
    """The last request; None before the first."""

    head = 0
    """How many bytes of a head have come."""
    patience: asyncio.TimerHandle | None = None
    """Runs while a request is to come whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what was sent, of a head no more than its most."""
        before = self.cycle
        if before is not None and before.more_body:
            super().data_received(data)
        else:
            self._take_head(data)
        if self.cycle is not before:
            self.head = 0
            self._rest()
        elif before is None or before.response_complete:
            self._wait()

    def _take_head(self, data: bytes) -> None:
        before, room = self.cycle, MOST_BYTES - self.head
        super().data_received(data[:room])
        self.head += min(len(data), room)
        if self.transport.is_closing():
            return
        if self.cycle is before and self.head == MOST_BYTES:
            self._refuse(
                HeadTooLarge(
                    f"the first line and the headers of the request are longer than "
                    f"{MOST_BYTES:,} bytes"
                )
            )
        elif len(data) > room:
            super().data_received(data[room:])

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the words are ours
        """Refuse what is not HTTP, in the shape of every refusal."""
        told = "the request is not HTTP: its first line, a header or a chunk is malformed"
        self._refuse(BadRequest(told))

    def _wait(self) -> None:
        if self.patience is None:
            seconds = self.config.head_seconds
            self.patience = self.loop.call_later(seconds, self._give_up, seconds)

    def _rest(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def _give_up(self, seconds: int) -> None:
        self.patience = None
        if self.head:
            self._refuse(TooSlow(f"no whole request arrived within {seconds} seconds"))
        else:
            self.transport.close()

    def _refuse(self, error: CaseServerError) -> None:
        """Answer what is not a request yet, and hang up."""
        self._rest()
        if self.transport.is_closing():
            return
        answer, status = refusal("/", error), HTTPStatus(error.status)
        headers = (*answer.raw_headers, *DATA, (b"connection", b"close"))
        lines = (
            b"HTTP/1.1 %d %s" % (status, status.phrase.encode()),
            *(name + b": " + value for name, value in headers),
        )
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(answer.body))
        self.transport.close()
