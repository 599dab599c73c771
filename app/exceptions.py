"""Exceptions with an HTTP status and a message that says what to do.

They know nothing of response bodies: ``api/exception_handlers.py`` renders them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


class StartupError(Exception):
    """A command cannot start or continue."""


class Problem(TypedDict):
    """A validation error: the path within the body, such as ``CFItems[3].uri``, and a message."""

    path: str
    message: str


class CaseServerError(Exception):
    """Base class of all errors that are answered to a client.

    ``code`` says why the request failed; classes have a default. ``problems`` is for validation
    errors, ``headers`` for fields such as ``Retry-After``.
    """

    status: ClassVar[int] = 500
    code: ErrorCode = "internal"

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
        self.code = code or type(self).code
        self.problems = list(problems)
        self.headers = dict(headers or {})


class BadRequest(CaseServerError):
    """The request is malformed: no JSON, contradicting identifiers, invalid list parameters."""

    status = 400
    code: ErrorCode = "invalid"


class Unauthorized(CaseServerError):
    """The request has no token, or one that this server does not accept."""

    status = 401
    code: ErrorCode = "unauthorised"


class Forbidden(CaseServerError):
    """The token is valid, but lacks the scope of the operation."""

    status = 403
    code: ErrorCode = "forbidden"


class NotFound(CaseServerError):
    """No entity of a kind has an identifier, or it was deleted.

    The code is ``invalid_id`` if the identifier is not one that the standard allows.
    """

    status = 404
    code: ErrorCode = "unknown"

    def __init__(self, kind: str, identifier: str, advice: str = "") -> None:
        description = f"no {kind} has the identifier {identifier!r}"
        conformant = re.fullmatch(CONFORMANT_UUID_PATTERN, identifier)
        super().__init__(
            f"{description}: {advice}" if advice else description,
            code="unknown" if conformant else "invalid_id",
        )


class MethodNotAllowed(CaseServerError):
    """The database is a standby, which answers reads only."""

    status = 405
    code: ErrorCode = "unsupported"


class Conflict(CaseServerError):
    """The write contradicts stored data, which the message names."""

    status = 409
    code: ErrorCode = "conflict"


class Gone(CaseServerError):
    """A change-feed cursor is no longer valid; the message says where to start again."""

    status = 410
    code: ErrorCode = "invalid"


class MisdirectedRequest(CaseServerError):
    """The Host of the request is not a host name of this server."""

    status = 421
    code: ErrorCode = "forbidden"


class RequestTimeout(CaseServerError):
    """The header section or the body of the request did not arrive in time."""

    status = 408
    code: ErrorCode = "invalid"


class UnsupportedMediaType(CaseServerError):
    """The body has a media type or encoding that is not supported."""

    status = 415
    code: ErrorCode = "invalid"


class ContentTooLarge(CaseServerError):
    """The body exceeds a limit of size or density."""

    status = 413
    code: ErrorCode = "too_large"


class HeaderFieldsTooLarge(CaseServerError):
    """The request line and the header section exceed the limit of their size."""

    status = 431
    code: ErrorCode = "too_large"


class UnprocessableContent(CaseServerError):
    """The body is JSON, but not valid.

    ``problems`` lists the problems; of very many only the first, and ``omitted`` is the number of
    others. ``exhaustive`` is False if validation stopped before all were counted.
    """

    status = 422
    code: ErrorCode = "invalid"

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


class TooManyRequests(CaseServerError):
    """The client exceeded a rate limit; ``Retry-After`` says when to send the next request."""

    status = 429
    code: ErrorCode = "busy"


class ServiceUnavailable(CaseServerError):
    """The database or the server cannot handle the request now; a retry may succeed."""

    status = 503
    code: ErrorCode = "busy"


class RecoveryConflict(ServiceUnavailable):
    """A standby cancelled a read, because the primary removed rows that it needed."""


class ReadTimeout(ServiceUnavailable):
    """A read statement exceeded its timeout and was cancelled."""

    def __init__(self, seconds: float, subject: str = "this") -> None:
        super().__init__(
            f"reading {subject} took longer than {seconds:g} s and was cancelled; request "
            "less, for example with a filter on an indexed field, or retry later",
            headers={"Retry-After": str(max(1, round(seconds)))},
        )
        self.seconds = seconds
