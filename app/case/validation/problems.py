"""Collect the validation errors of a body, each with its path.

A body of a few megabytes can have a million errors. Only as many are listed as a user could read;
the others are counted, up to a limit at which the search ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from pydantic_core import ErrorDetails

from ...exceptions import Problem, UnprocessableContent
from ...formatting import format_count
from ..types import PATTERN_MESSAGES

Location: TypeAlias = tuple[int | str, ...]

MAX_LISTED_PROBLEMS = 50_000
"""Errors that are listed with their paths."""

MAX_COUNTED_PROBLEMS = 1_000_000
"""Number of errors at which the search ends."""

MAX_CHUNKS = 5000
"""Number of chunks of long lists within entities at which the search ends."""

UNKNOWN_FIELD = "not a field of the standard; put your own fields under extensions"
REQUIRED = "required"
NULL = "null is not allowed; leave the field out"
NULL_MEMBER = "null is not allowed; leave the element out"


class ProblemCollector:
    """Collects the validation errors of a body, each with its path and message.

    It keeps the first ``MAX_LISTED_PROBLEMS`` errors and only counts the others.
    """

    def __init__(self, max_count: int = MAX_COUNTED_PROBLEMS) -> None:
        self.listed: list[Problem] = []
        self.count = 0
        self.max_count = max_count
        self.chunks = 0

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def is_limit_reached(self) -> bool:
        """True if so many errors were found, or chunks validated, that validation should stop."""
        return self.count >= self.max_count or self.chunks >= MAX_CHUNKS

    def add_problem(self, path: str, message: str) -> None:
        """Count an error, and append it to ``listed`` up to ``MAX_LISTED_PROBLEMS`` errors.

        ``path`` is formatted for messages, such as ``CFItems[3].uri``.
        """
        self.count += 1
        if len(self.listed) < MAX_LISTED_PROBLEMS:
            self.listed.append(Problem(path=path, message=message))

    def add_pydantic_error(self, error: ErrorDetails, location: Location, value: Any) -> None:
        """Add an error that pydantic found in ``value``, with a message for clients.

        ``value`` is parsed JSON, and ``error`` a member of ``ValidationError.errors()``.
        ``location`` is the error's path in the whole body, such as ``("CFItems", 3, "uri")``.
        """
        if len(self.listed) < MAX_LISTED_PROBLEMS:
            self.add_problem(
                format_location(location), _format_validation_message(error, location, value)
            )
        else:
            self.count += 1

    def to_exception(self, class_name: str) -> UnprocessableContent:
        """Return an ``UnprocessableContent`` error that reports the collected errors to the client.

        ``class_name`` is the name of the body's class for the message, such as "CFItem".
        """
        omitted_count = self.count - len(self.listed)
        return create_validation_error(
            class_name, self.listed, omitted_count, exhaustive=not self.is_limit_reached
        )


def create_validation_error(
    class_name: str, problems: Sequence[Problem], omitted: int = 0, *, exhaustive: bool = True
) -> UnprocessableContent:
    """Return the ``UnprocessableContent`` error for an invalid body of a class such as CFItem.

    Its message states the first of ``problems`` and the number of others. ``omitted`` is the number
    of problems that are not in the list. ``exhaustive`` is False if validation stopped early, so
    that there may be more.
    """
    first_problem, other_count, suffix = problems[0], len(problems) - 1 + omitted, ""
    if other_count:
        suffix = (
            f", and {'' if exhaustive else 'at least '}{format_count(other_count, 'more problem')}"
        )
    elif not exhaustive:
        suffix = ", and perhaps more problems"
    return UnprocessableContent(
        f"the {class_name} is not valid: {first_problem['path']}: "
        f"{first_problem['message']}{suffix}",
        problems=problems,
        omitted=omitted,
        exhaustive=exhaustive,
    )


def format_location(location: Iterable[int | str]) -> str:
    """Format a location for messages: ``("CFItems", 3, "uri")`` becomes ``CFItems[3].uri``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".")


def _format_validation_message(error: ErrorDetails, location: Location, value: Any) -> str:
    if error["type"] == "missing":
        return REQUIRED
    if error["type"] == "extra_forbidden":
        return UNKNOWN_FIELD
    if _is_null(value, error["loc"]):
        # Optional fields accept null, so the field is a required one.
        return NULL_MEMBER if location and isinstance(location[-1], int) else REQUIRED
    if error["type"] == "string_too_long":
        return f"must be at most {error['ctx']['max_length']} characters"
    pattern = error.get("ctx", {}).get("pattern")
    return PATTERN_MESSAGES.get(str(pattern)) or error["msg"].replace("Input should", "must")


def _is_null(value: Any, location: Location) -> bool:
    for step in location:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    return value is None
