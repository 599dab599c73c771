"""What clients sent, kept in order and within bounds; never a secret.

Kept are the newest requests, and of their bodies the first bytes of the newest. Tokens are never
read into it: the Authorization header says who sent a request, and is left out.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

MOST = 10_000
"""Requests that are remembered."""

LONGEST_BODY = 64 * 1024
"""Bytes that are kept of a body."""

ALL_BODIES = 32 * 1024 * 1024
"""Bytes that are kept of all bodies together."""

SECRETS = {"client_secret", "client_assertion", "access_token", "token", "password"}


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
        started = datetime.fromtimestamp(self.started, UTC).isoformat(timespec="milliseconds")
        told["time"] = started.replace("+00:00", "Z")
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

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MOST)
        self._with_body: deque[Entry] = deque()
        self._bytes = self._count = 0

    def begin(
        self, method: str, path: str, query: str, client: str | None, request_id: str
    ) -> Entry:
        """Remember that a request has come."""
        self._count += 1
        kept = without_secrets_in_query(query)
        entry = Entry(self._count, method, path, kept, client, request_id, time.time())
        self._entries.append(entry)
        return entry

    def keep_body(self, entry: Entry, raw: bytes, content_type: str) -> None:
        """Keep the start of a body, and forget older ones where there is too much."""
        entry.body = without_secrets(raw[:LONGEST_BODY], content_type)
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


def without_secrets_in_query(query: str) -> str:
    """A query string in which the values of secrets are not said."""
    if not any(name in query for name in SECRETS):
        return query
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, "" if name in SECRETS else value) for name, value in pairs])


def without_secrets(raw: bytes, content_type: str) -> bytes:
    """A body less its secrets; nothing of it where they cannot be told from the rest."""
    is_form = content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
    if is_form:
        pairs = parse_qsl(raw.decode(errors="replace"), keep_blank_values=True)
        return urlencode([pair for pair in pairs if pair[0] not in SECRETS]).encode()
    if b"client_secret" not in raw and b"client_assertion" not in raw:
        return raw
    try:
        parsed = orjson.loads(raw)
    except ValueError:
        return b""
    if not isinstance(parsed, Mapping):
        return b""
    return orjson.dumps({name: value for name, value in parsed.items() if name not in SECRETS})
