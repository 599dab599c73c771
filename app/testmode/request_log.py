"""What clients sent, kept in order and within bounds; never a secret.

Kept are the newest requests, and of their bodies the first bytes of the newest. Tokens are never
read into it: the Authorization header says who sent a request, and is left out.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson

from ..formatting import format_timestamp
from .redaction import Redactor

MOST = 10_000
"""Requests that are remembered."""

LONGEST_BODY = 64 * 1024
"""Bytes that are kept of a body."""

ALL_BODIES = 32 * 1024 * 1024
"""Bytes that are kept of all bodies together."""


@dataclass
class Entry:
    """One request, and what became of it."""

    number: int
    method: str
    path: str
    query: str
    client: str | None
    request_id: str
    started: float
    status: int | None = None
    """None while it is being answered, and for good where the connection was reset."""
    request_bytes: int = 0
    response_bytes: int = 0
    milliseconds: float | None = None
    fault: dict[str, Any] | None = None
    body: bytes | None = field(default=b"", repr=False)
    """What was sent, without secrets; None where there was no room any more."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the body is kept."""
        return self.body is not None and self.request_bytes <= LONGEST_BODY

    def told(self, *, body: bool) -> dict[str, Any]:
        """The entry as JSON."""
        names = ("number", "method", "path", "query", "status", "client", "request_id")
        told = {name: getattr(self, name) for name in names}
        told["time"] = format_timestamp(datetime.fromtimestamp(self.started, UTC))
        for name in ("milliseconds", "request_bytes", "response_bytes", "fault"):
            told[name] = getattr(self, name)
        if body:
            told["body"] = None if self.body is None else self.body.decode(errors="replace")
            told["body_is_whole"] = self.is_whole
        return told

    def json(self) -> Any:
        """The body as JSON; None where it is not, or not whole."""
        try:
            return orjson.loads(self.body) if self.body and self.is_whole else None
        except ValueError:
            return None


@dataclass(frozen=True)
class Wanted:
    """Which requests are meant; what is None does not matter."""

    method: str | None = None
    path: str | None = None
    """A pattern: ``*`` stands for anything, slashes too."""
    path_regex: str | None = None
    client: str | None = None
    status: int | None = None
    since: float | None = None
    """Seconds since 1970."""

    def fits(self, entry: Entry) -> bool:
        """Whether a request is one of them."""
        return (
            (self.method is None or self.method.upper() == entry.method)
            and (self.path is None or fnmatch.fnmatchcase(entry.path, self.path))
            and (self.path_regex is None or bool(re.search(self.path_regex, entry.path)))
            and (self.client is None or self.client == entry.client)
            and (self.status is None or self.status == entry.status)
            and (self.since is None or self.since <= entry.started)
        )


class Journal:
    """The newest requests of a namespace."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Keep nothing yet; ``secrets`` are values that are never to be kept."""
        self._redactor = Redactor(secrets)
        self._entries: deque[Entry] = deque(maxlen=MOST)
        self._with_body: deque[Entry] = deque()
        self._bytes = self._count = 0

    def begin(
        self, method: str, path: str, query: str, client: str | None, request_id: str
    ) -> Entry:
        """Remember that a request has come."""
        self._count += 1
        query, path = self._redactor.query(query), self._redactor.text(path)
        entry = Entry(self._count, method, path, query, client, request_id, time.time())
        self._entries.append(entry)
        return entry

    def keep_body(
        self, entry: Entry, raw: bytes, content_type: str, content_encoding: str = ""
    ) -> None:
        """Keep the start of a body, and forget older ones where there is too much."""
        entry.body = self._redactor.body(raw[:LONGEST_BODY], content_type, content_encoding)
        self._with_body.append(entry)
        self._bytes += len(entry.body)
        while self._bytes > ALL_BODIES:
            oldest = self._with_body.popleft()
            self._bytes -= len(oldest.body or b"")
            oldest.body = None

    def find(self, wanted: Wanted) -> list[Entry]:
        """The requests that are meant, the oldest first."""
        return [entry for entry in self._entries if wanted.fits(entry)]

    def newest(self, most: int) -> list[Entry]:
        """The newest requests, the newest first."""
        return list(islice(reversed(self._entries), most))

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything; numbers go on."""
        self._entries.clear()
        self._with_body.clear()
        self._bytes = 0
