"""One request as it passes: its body is kept while it is read, its answer measured."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from .request_log import LONGEST_BODY

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Message, Receive, Send

    from .request_log import Entry, Journal


class Recorder:
    """Stands between a client and the application, and writes into the journal's entry."""

    def __init__(
        self, journal: Journal, entry: Entry, receive: Receive, send: Send, headers: Headers
    ) -> None:
        self._journal, self._entry = journal, entry
        self._receive, self._send = receive, send
        self._content_type = headers.get("content-type", "")
        self._content_encoding = headers.get("content-encoding", "")
        self._ahead: list[Message] = []
        self._kept = bytearray()
        self._read = self._told = False
        self._reading = asyncio.Lock()
        self._begun = time.perf_counter()

    async def receive(self) -> Message:
        """The next part of the request (ASGI)."""
        if self._ahead:
            return self._ahead.pop(0)
        async with self._reading:
            message = await self._receive()
            self._take(message)
            return message

    async def read_ahead(self) -> bytes:
        """What is kept of the body, all of it read; the application still gets every part."""
        async with self._reading:
            while not self._read:
                message = await self._receive()
                self._take(message)
                self._ahead.append(message)
        return bytes(self._kept)

    async def send(self, message: Message) -> None:
        """A part of the answer (ASGI); the journal knows of it before the client does."""
        if message["type"] == "http.response.start":
            await self._read_rest()
            self._entry.status = message["status"]
            self.tell()
        if message["type"] == "http.response.body":
            self._entry.response_bytes += len(message.get("body", b""))
            self._stop_clock()
        await self._send(message)

    def tell(self) -> None:
        """Put the body into the journal, if it is not there yet."""
        if not self._told:
            self._told = True
            self._journal.keep_body(
                self._entry, bytes(self._kept), self._content_type, self._content_encoding
            )
            self._stop_clock()

    def _stop_clock(self) -> None:
        self._entry.milliseconds = round(1000 * (time.perf_counter() - self._begun), 3)

    async def _read_rest(self) -> None:
        """Read what the application did not want to know, such as the body of a refused PUT."""
        if self._read:
            return
        async with self._reading:
            while not self._read:
                self._take(await self._receive())

    def _take(self, message: Message) -> None:
        if message["type"] != "http.request":
            self._read = True
            return
        body = message.get("body", b"")
        self._entry.request_bytes += len(body)
        self._kept += body[: LONGEST_BODY - len(self._kept)]
        self._read = not message.get("more_body", False)
