"""The request log of a namespace, and the verification of requests against expectations.

The log holds the newest requests and the start of their bodies, within fixed limits. It holds no
secrets: the Authorization header field only yields the client ID, and queries and bodies are
redacted.
"""

from __future__ import annotations

import fnmatch
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..formatting import format_timestamp
from .redaction import Redactor

MAX_ENTRIES = 10_000
MAX_BODY_BYTES = 64 * 1024
"""Maximum logged part of a body."""

MAX_TOTAL_BODY_BYTES = 32 * 1024 * 1024
"""Maximum total size of the logged bodies; the oldest ones are removed."""

MAX_LISTED_REQUESTS = 20
"""Number of requests that a difference lists."""

RequestCount = Annotated[int, Field(ge=0)]


@dataclass
class LoggedRequest:
    """An entry of the request log: a request, the start of its body, and its response's status."""

    number: int
    method: str
    path: str
    query: str
    client: str | None
    request_id: str
    started: float
    status: int | None = None
    """None until the response starts, and if the connection was reset."""
    request_bytes: int = 0
    response_bytes: int = 0
    milliseconds: float | None = None
    fault: dict[str, Any] | None = None
    body: bytes | None = field(default=b"", repr=False)
    """The start of the redacted body; None if it was removed to limit memory use."""

    @property
    def is_body_complete(self) -> bool:
        """Return whether the log contains the whole request body, not only its start."""
        return self.body is not None and self.request_bytes <= MAX_BODY_BYTES

    def to_dict(self, *, include_body: bool) -> dict[str, Any]:
        """Return the entry as a dict for the test API; ``include_body`` adds the request body."""
        names = ("number", "method", "path", "query", "status", "client", "request_id")
        entry = {name: getattr(self, name) for name in names}
        entry["time"] = format_timestamp(datetime.fromtimestamp(self.started, UTC))
        for name in ("milliseconds", "request_bytes", "response_bytes", "fault"):
            entry[name] = getattr(self, name)
        if include_body:
            entry["body"] = None if self.body is None else self.body.decode(errors="replace")
            entry["body_is_whole"] = self.is_body_complete
        return entry

    def parse_json_body(self) -> Any:
        """Return the request body parsed as JSON, or None if it is incomplete or not JSON."""
        try:
            return orjson.loads(self.body) if self.body and self.is_body_complete else None
        except ValueError:
            return None


class RequestFilter(BaseModel):
    """Conditions on the method, path and client of logged requests.

    A condition that is None matches every request.
    """

    model_config = ConfigDict(extra="forbid")

    method: str | None = None
    path: str | None = None
    """A pattern without the prefix of a namespace: ``*`` matches any characters, slashes too."""
    client: str | None = None

    def matches(self, entry: LoggedRequest) -> bool:
        """Return whether a logged request meets all conditions of this filter."""
        return (
            (self.method is None or self.method.upper() == entry.method)
            and (self.path is None or fnmatch.fnmatchcase(entry.path, self.path))
            and (self.client is None or self.client == entry.client)
        )


class RequestLog:
    """An in-memory log of the newest 10,000 requests of a test namespace.

    The request bodies take at most 64 KiB each and 32 MiB in total.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Create an empty request log.

        ``secrets`` are strings that the log must never contain.
        """
        self._redactor = Redactor(secrets)
        self._entries: deque[LoggedRequest] = deque()
        self._with_body: dict[int, LoggedRequest] = {}
        """The entries with a body that is not empty, by number, in the order of their bodies."""
        self._total_body_bytes = self._count = 0

    def add_request(
        self, method: str, path: str, query: str, client: str | None, request_id: str
    ) -> LoggedRequest:
        """Log a request that has just started, with secrets redacted, and return its log entry.

        The response status and the body are added to the entry later.
        """
        self._count += 1
        query, path = self._redactor.redact_query(query), self._redactor.redact_text(path)
        entry = LoggedRequest(self._count, method, path, query, client, request_id, time.time())
        if len(self._entries) == MAX_ENTRIES:
            self._remove_body(self._entries.popleft())
        self._entries.append(entry)
        return entry

    def set_body(
        self, entry: LoggedRequest, raw: bytes, content_type: str, content_encoding: str = ""
    ) -> None:
        """Store the first 64 KiB of a request's body in its log entry, with secrets redacted.

        Removes the oldest bodies until all bodies in the log fit in 32 MiB.
        """
        entry.body = self._redactor.redact_body(
            raw[:MAX_BODY_BYTES], content_type, content_encoding
        )
        is_removed = not self._entries or entry.number < self._entries[0].number
        if is_removed or not entry.body:
            return
        self._with_body[entry.number] = entry
        self._total_body_bytes += len(entry.body)
        while self._total_body_bytes > MAX_TOTAL_BODY_BYTES:
            self._remove_body(next(iter(self._with_body.values())))

    def _remove_body(self, entry: LoggedRequest) -> None:
        if self._with_body.pop(entry.number, None):
            self._total_body_bytes -= len(entry.body or b"")
            entry.body = None

    def find_entries(self, request_filter: RequestFilter) -> list[LoggedRequest]:
        """Return the logged requests that match a filter, oldest first."""
        return [entry for entry in self._entries if request_filter.matches(entry)]

    def list_newest(self, limit: int) -> list[LoggedRequest]:
        """Return up to ``limit`` logged requests, newest first."""
        return list(islice(reversed(self._entries), limit))

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Remove all requests from the log, but continue their numbering."""
        self._entries.clear()
        self._with_body.clear()
        self._total_body_bytes = 0


class RequestExpectation(RequestFilter):
    """Criteria for requests that clients must have sent, and the expected number of requests."""

    status: int | None = None
    body: Any = None
    """A subset of the body: objects may have more fields, other values must be equal."""
    count: RequestCount | None = None
    at_least: RequestCount | None = None
    at_most: RequestCount | None = None

    @model_validator(mode="after")
    def _has_consistent_bounds(self) -> RequestExpectation:
        if self.count is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("count cannot be combined with at_least and at_most")
        return self

    def matches(self, entry: LoggedRequest) -> bool:
        """Return whether a logged request meets the criteria, apart from the expected number."""
        return (
            super().matches(entry)
            and (self.status is None or self.status == entry.status)
            and (self.body is None or is_json_subset(self.body, entry.parse_json_body()))
        )

    def is_expected_count(self, count: int) -> bool:
        """Return whether ``count`` matching requests meet this expectation.

        Without ``count``, ``at_least`` and ``at_most``, the expectation is at least one request.
        """
        if self.count is not None:
            return count == self.count
        minimum = 1 if self.at_least is None and self.at_most is None else self.at_least or 0
        return minimum <= count and (self.at_most is None or count <= self.at_most)

    def __str__(self) -> str:
        limits = {"exactly": self.count, "at least": self.at_least, "at most": self.at_most}
        bounds = [f"{words} {limit}" for words, limit in limits.items() if limit is not None]
        details = [self.method or "any method", self.path or "on any path"]
        details += [f"with status {self.status}"] if self.status else []
        details += [f"by client {self.client}"] if self.client else []
        details += [f"with {self.body!r} in the body"] if self.body is not None else []
        return f"{' and '.join(bounds) or 'at least 1'} {' '.join(details)}"


def is_json_subset(expected: Any, actual: Any) -> bool:
    """Return whether ``actual`` equals ``expected``, ignoring additional fields in ``actual``.

    ``{"a": 1}`` is a subset of ``{"a": 1, "b": 2}``. Lists must have the same length.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(
            name in actual and is_json_subset(value, actual[name])
            for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return all(is_json_subset(*pair) for pair in zip(expected, actual, strict=True))
    return bool(expected == actual)


def find_unmet_expectations(
    log: RequestLog, expectations: Sequence[RequestExpectation]
) -> Iterator[str]:
    """Yield a message for each expectation that the logged requests do not meet.

    Each message also lists the logged requests for the expected path.
    """
    for expectation in expectations:
        candidates = log.find_entries(RequestFilter(path=expectation.path))
        count = sum(map(expectation.matches, candidates))
        if not expectation.is_expected_count(count):
            requests = "\n".join(_format_requests(candidates, expectation.path))
            yield f"expected {expectation}, found {count}\n{requests}"


def _format_requests(entries: Sequence[LoggedRequest], path: str | None) -> Iterator[str]:
    if not entries:
        yield f"  no requests on {path or 'any path'}"
    for entry in entries[:MAX_LISTED_REQUESTS]:
        fault = f", injected fault: {entry.fault}" if entry.fault else ""
        status = f"status {entry.status}" if entry.status else "no response"
        yield f"  {entry.number}. {entry.method} {entry.path}: {status}{fault}"
    if len(entries) > MAX_LISTED_REQUESTS:
        yield f"  and {len(entries) - MAX_LISTED_REQUESTS} more"
