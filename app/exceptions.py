"""Exceptions with an HTTP status and a message that says what to do.

They know nothing of response bodies: ``api/exception_handlers.py`` renders them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, TypedDict

ErrorCode = Literal[
    "invalid",
    "unauthorised",
    "forbidden",
    "unknown",
    "invalid_id",
    "conflict",
    "too_large",
    "bad_selection",
    "bad_sort",
    "bad_filter",
    "unsupported",
    "busy",
    "internal",
]
"""Why a request failed. Each API profile maps these to the minor codes of its responses."""

CONFORMANT_UUID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""The identifiers that the standard allows. Real packages contain others, so they are accepted."""


class CommandError(Exception):
    """Raised when a command cannot continue; users see its message without a traceback."""


class Problem(TypedDict):
    """A validation error: a path in the body, such as ``CFItems[3].uri``, and a message."""

    path: str
    message: str


class CaseServerError(Exception):
    """Base class of the errors that clients receive as an HTTP response.

    Each subclass has a ``status`` and a default ``code``, the reason in one word. ``problems`` are
    validation errors, and ``headers`` are response headers such as ``Retry-After``.
    """

    status: ClassVar[int] = 500
    code: ErrorCode = "internal"

    def __init_subclass__(cls, *, status: int | None = None, code: ErrorCode | None = None) -> None:
        super().__init_subclass__()
        cls.status, cls.code = status or cls.status, code or cls.code

    def __init__(
        self,
        description: str,
        *,
        code: ErrorCode | None = None,
        problems: Iterable[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.description = description
        self.code = code or self.code
        self.problems = list(problems)
        self.headers = dict(headers or {})


class BadRequest(CaseServerError, status=400, code="invalid"):
    """Raised (400) for a malformed request, such as invalid JSON or an invalid parameter."""


class Unauthorized(CaseServerError, status=401, code="unauthorised"):
    """Raised (401) if a request has no access token, or one that is not accepted."""


class Forbidden(CaseServerError, status=403, code="forbidden"):
    """Raised (403) if a valid token lacks the scope that the operation requires."""


class NotFound(CaseServerError, status=404, code="unknown"):
    """Raised (404) if no entity of a type such as CFItem has the identifier, or it was deleted.

    The error code is ``unknown``, or ``invalid_id`` if the identifier is not a UUID in the form
    that the standard requires.
    """

    def __init__(self, kind: str, identifier: str, advice: str = "") -> None:
        description = f"no {kind} has the identifier {identifier!r}"
        conformant = re.fullmatch(CONFORMANT_UUID_PATTERN, identifier)
        super().__init__(
            f"{description}: {advice}" if advice else description,
            code="unknown" if conformant else "invalid_id",
        )


class MethodNotAllowed(CaseServerError, status=405, code="unsupported"):
    """Raised (405) for writes to a server whose database is a read-only standby."""


class Conflict(CaseServerError, status=409, code="conflict"):
    """Raised (409) when a write contradicts stored data; the message says which data."""


class Gone(CaseServerError, status=410, code="invalid"):
    """Raised (410) if a cursor of the change feed is no longer valid.

    The message tells the client how to start again.
    """


class MisdirectedRequest(CaseServerError, status=421, code="forbidden"):
    """Raised (421) if the Host header does not name this server."""


class RequestTimeout(CaseServerError, status=408, code="invalid"):
    """Raised (408) if the header section or the body of a request did not arrive in time."""


class UnsupportedMediaType(CaseServerError, status=415, code="invalid"):
    """Raised (415) for a body whose media type or encoding is not supported."""


class ContentTooLarge(CaseServerError, status=413, code="too_large"):
    """Raised (413) for a body that is too large, or would take too much memory once parsed."""


class HeaderFieldsTooLarge(CaseServerError, status=431, code="too_large"):
    """Raised (431) if the request line and the header section exceed their size limit."""


class UnprocessableContent(CaseServerError, status=422, code="invalid"):
    """Raised (422) if a body is JSON, but not valid CASE data.

    ``problems`` lists the first validation errors, and ``omitted`` counts the others.
    ``exhaustive`` is False if validation stopped before it had counted all errors.
    """

    def __init__(
        self,
        description: str,
        *,
        problems: Iterable[Problem],
        omitted: int = 0,
        exhaustive: bool = True,
    ) -> None:
        super().__init__(description, problems=problems)
        self.omitted = omitted
        self.exhaustive = exhaustive


class TooManyRequests(CaseServerError, status=429, code="busy"):
    """Raised (429) if a client exceeds a rate limit; ``Retry-After`` says how long to wait."""


class ServiceUnavailable(CaseServerError, status=503, code="busy"):
    """Raised (503) if the server or its database cannot respond now; a retry may succeed.

    ``retry_after`` is the value of ``Retry-After`` in seconds; without it, the response has no such
    header field.
    """

    def __init__(self, description: str, *, retry_after: int | None = 1) -> None:
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        super().__init__(description, headers=headers)


class RecoveryConflict(ServiceUnavailable):
    """Raised (503) when a standby cancels a read because the primary removed rows that it needs."""


class QueryTimeout(ServiceUnavailable):
    """Raised (503) when a database query exceeded its timeout and was cancelled."""

    def __init__(self, seconds: float, subject: str = "this") -> None:
        super().__init__(
            f"reading {subject} took longer than {seconds:g} s and was cancelled; request "
            "less, for example with a filter on an indexed field, or retry later",
            retry_after=max(1, round(seconds)),
        )
        self.seconds = seconds
