"""What is wrong with a body, in words and with its place: the first problems, and how many more.

A body of a few megabytes can have a million problems. Those that a person could work on are named,
the others are counted, and in the end no more are looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ..exceptions import Problem, UnprocessableContent
from .types import PATTERN_MESSAGES

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Location: TypeAlias = tuple[int | str, ...]

MAX_LISTED_PROBLEMS = 50_000
"""How many problems are told with their places."""

MAX_COUNTED_PROBLEMS = 1_000_000
"""After how many no more are looked for."""

MAX_CHUNKS = 5000
"""After how many pieces of long lists inside entities no more are looked at."""

UNKNOWN_FIELD = "not a field of the standard; what is your own goes under extensions"
REQUIRED = "required"
NULL = "null is not allowed; leave the field out"
NULL_MEMBER = "null is not allowed; leave the element out"


class Problems:
    """The problems of one body, as they are found."""

    def __init__(self, most: int = MAX_COUNTED_PROBLEMS) -> None:
        self.listed: list[Problem] = []
        self.count = 0
        self.max_count = most
        self.chunks = 0

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def limit_reached(self) -> bool:
        """Whether looking for more is no use."""
        return self.count >= self.max_count or self.chunks >= MAX_CHUNKS

    def add(self, path: str, message: str) -> None:
        """One problem more."""
        self.count += 1
        if len(self.listed) < MAX_LISTED_PROBLEMS:
            self.listed.append(Problem(path=path, message=message))

    def add_pydantic_error(self, detail: ErrorDetails, where: Location, value: Any) -> None:
        """What pydantic found in ``value``, with the place it has in the body."""
        if len(self.listed) < MAX_LISTED_PROBLEMS:
            self.add(format_path(where), _message(detail, where, value))
        else:
            self.count += 1

    def add_all(self, found: UnprocessableContent) -> None:
        """What was found in a part of the body."""
        for one in found.problems:
            self.add(**one)
        self.count += found.omitted

    def to_exception(self, name: str) -> UnprocessableContent:
        """What a client is told of a body that is a ``name``."""
        more = self.count - len(self.listed)
        return to_exception(name, self.listed, more, exhaustive=not self.limit_reached)


def to_exception(
    name: str, problems: Sequence[Problem], omitted: int = 0, *, exhaustive: bool = True
) -> UnprocessableContent:
    """What a client is told: the first problem in words, how many others, and ``problems``.

    ``more`` is how many there are beside those, ``complete`` whether that is all.
    """
    first, others = problems[0], len(problems) - 1 + omitted
    told = f", and {others:,} more problem{'s' if others > 1 else ''}" if others else ""
    if not exhaustive:
        told = f", and at least {others:,} more problems"
    return UnprocessableContent(
        f"the {name} is not valid: {first['path']}: {first['message']}{told}",
        problems=problems,
        omitted=omitted,
        exhaustive=exhaustive,
    )


def format_path(location: Iterable[int | str]) -> str:
    """Where something stands, as a client reads it: ``CFItems[3].uri``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".")


def _message(detail: ErrorDetails, where: Location, value: Any) -> str:
    """Return what is wrong with the value at ``where``, and what would be valid."""
    if detail["type"] == "missing":
        return REQUIRED
    if detail["type"] == "extra_forbidden":
        return UNKNOWN_FIELD
    if _is_null(value, detail["loc"]):
        # In an optional field null is valid, so a field that is refused is a required one.
        return NULL_MEMBER if where and isinstance(where[-1], int) else REQUIRED
    if detail["type"] == "string_too_long":
        return f"must be at most {detail['ctx']['max_length']} characters"
    pattern = detail.get("ctx", {}).get("pattern")
    return PATTERN_MESSAGES.get(str(pattern)) or detail["msg"].replace("Input should", "must")


def _is_null(value: Any, location: Location) -> bool:
    """Whether a null is what stands there."""
    for step in location:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    return value is None
