"""What a client must have sent, compared with the journal, and the difference told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .request_log import Entry, Journal, Wanted

SHOWN = 20
"""How many requests a difference lists."""

Number = Annotated[int, Field(ge=0)]


class Expectation(BaseModel):
    """Requests that must have been made: which, and how many."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = None
    path: str | None = None
    """A pattern without a namespace's prefix: ``*`` stands for anything, slashes too."""
    status: int | None = None
    client: str | None = None
    body: Any = None
    """A part of the body: objects may say more, everything else is equal."""
    count: Number | None = None
    at_least: Number | None = None
    at_most: Number | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Expectation:
        if self.count is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("count is exact: leave out at_least and at_most, or count")
        return self

    def met_by(self, entries: Sequence[Entry]) -> int:
        """How many of these requests are meant."""
        wanted = Wanted(self.method, self.path, None, self.client, self.status)
        return sum(wanted.fits(entry) and self._body_fits(entry) for entry in entries)

    def _body_fits(self, entry: Entry) -> bool:
        return self.body is None or is_part(self.body, entry.json())

    def accepts(self, number: int) -> bool:
        """Whether so many are right."""
        if self.count is not None:
            return number == self.count
        least = 1 if self.at_least is None and self.at_most is None else self.at_least or 0
        return least <= number and (self.at_most is None or number <= self.at_most)

    def __str__(self) -> str:
        bounds = [
            f"{words} {bound}"
            for words, bound in (
                ("exactly", self.count),
                ("at least", self.at_least),
                ("at most", self.at_most),
            )
            if bound is not None
        ]
        details = [self.method or "any method", self.path or "on any path"]
        details += [f"with status {self.status}"] if self.status else []
        details += [f"by client {self.client}"] if self.client else []
        details += [f"with {self.body!r} in the body"] if self.body is not None else []
        return f"{' and '.join(bounds) or 'at least 1'} {' '.join(details)}"


def is_part(expected: Any, sent: Any) -> bool:
    """Whether ``sent`` says at least what ``expected`` does."""
    if isinstance(expected, dict) and isinstance(sent, dict):
        return all(name in sent and is_part(part, sent[name]) for name, part in expected.items())
    if isinstance(expected, list) and isinstance(sent, list) and len(expected) == len(sent):
        return all(is_part(*pair) for pair in zip(expected, sent, strict=True))
    return bool(expected == sent)


def differences(journal: Journal, expectations: Sequence[Expectation]) -> Iterator[str]:
    """What is not as expected, each with the requests that come nearest."""
    for expectation in expectations:
        near = journal.find(Wanted(path=expectation.path))
        number = expectation.met_by(near)
        if not expectation.accepts(number):
            listed = "\n".join(_listed(near, expectation.path))
            yield f"expected {expectation}, found {number}\n{listed}"


def _listed(near: Sequence[Entry], path: str | None) -> Iterator[str]:
    if not near:
        yield f"  no requests on {path or 'any path'}"
    for entry in near[:SHOWN]:
        fault = f", injected fault: {entry.fault}" if entry.fault else ""
        status = f"status {entry.status}" if entry.status else "no response"
        yield f"  {entry.number}. {entry.method} {entry.path}: {status}{fault}"
    if len(near) > SHOWN:
        yield f"  and {len(near) - SHOWN} more"
