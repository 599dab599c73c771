"""What can go wrong, as classes with a status and a sentence a client can act on.

Nothing here knows HTTP bodies: ``api/errors.py`` alone turns these into answers.
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
"""Why a request failed, in our words; each profile spells it in its own minor codes."""


CONFORMANT_UUID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""What the standard asks of an identifier; not every real one is like that."""


class StartupError(Exception):
    """A command cannot start or go on; the message says what to do about it."""


class Problem(TypedDict):
    """One thing wrong with a body: where it stands and what is wrong there."""

    path: str
    message: str


class CaseServerError(Exception):
    """A request that cannot be answered as asked."""

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
    """The request itself is malformed: body not JSON, ids that differ, bad list parameters."""

    status = 400
    code: ErrorCode = "invalid"


class Unauthorized(CaseServerError):
    """No token, or one that this server does not accept."""

    status = 401
    code: ErrorCode = "unauthorised"


class Forbidden(CaseServerError):
    """A valid token without the scope that the operation needs."""

    status = 403
    code: ErrorCode = "forbidden"


class NotFound(CaseServerError):
    """No live entity of this kind has this identifier."""

    status = 404
    code: ErrorCode = "unknown"

    def __init__(self, kind: str, identifier: str, advice: str = "") -> None:
        description = f"no {kind} has the identifier {identifier!r}"
        conformant = re.fullmatch(CONFORMANT_UUID_PATTERN, identifier)
        super().__init__(
            f"{description}: {advice}" if advice else description,
            code="unknown" if conformant else "invalid_id",
        )


class Conflict(CaseServerError):
    """The write contradicts what is stored, and names what it contradicts."""

    status = 409
    code: ErrorCode = "conflict"


class Gone(CaseServerError):
    """What was asked about is no longer told; the message says where to begin again."""

    status = 410
    code: ErrorCode = "invalid"


class MisdirectedRequest(CaseServerError):
    """The request was sent to a host name that is not one of this server's."""

    status = 421
    code: ErrorCode = "forbidden"


class RequestTimeout(CaseServerError):
    """The request, or its body, did not arrive in the time there is for it."""

    status = 408
    code: ErrorCode = "invalid"


class UnsupportedMediaType(CaseServerError):
    """The body is written in a way that is not read here."""

    status = 415
    code: ErrorCode = "invalid"


class ContentTooLarge(CaseServerError):
    """The body is larger than this server reads."""

    status = 413
    code: ErrorCode = "too_large"


class HeaderFieldsTooLarge(CaseServerError):
    """The first line and the headers are longer than this server reads."""

    status = 431
    code: ErrorCode = "too_large"


class UnprocessableContent(CaseServerError):
    """The body was read, and what it says is not valid.

    ``problems`` holds every problem, or the first of very many and ``more`` the number of others;
    ``complete`` tells whether there are no others still.
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
    """The client asked too often; ``Retry-After`` says when to ask again."""

    status = 429
    code: ErrorCode = "busy"


class ServiceUnavailable(CaseServerError):
    """The database or the server cannot answer now; trying again later may help."""

    status = 503
    code: ErrorCode = "busy"


class ReadTimeout(ServiceUnavailable):
    """A read statement took longer than it may, and was cancelled."""

    def __init__(self, seconds: float, subject: str = "this") -> None:
        super().__init__(
            f"reading {subject} took longer than {seconds:g} s and was cancelled; ask for less, "
            "for example with a filter that an index answers, or retry later",
            headers={"Retry-After": str(max(1, round(seconds)))},
        )
        self.seconds = seconds
