"""What is to go wrong, and when: rules that the control API sets, in order."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .request_log import Entry, Wanted

Seconds = Annotated[float, Field(gt=0, le=300)]


class Fault(BaseModel):
    """A rule: which requests, which of these, and what happens to them."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = None
    path: str | None = None
    """A pattern without a namespace's prefix: ``*`` stands for anything, slashes too."""
    path_regex: str | None = None
    client: str | None = None

    nth: list[int] | int | None = None
    """Only the nth request that matches, counted from 1; or several."""
    probability: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int = 0
    """With the same seed, the same requests are hit."""
    times: Annotated[int, Field(ge=1)] | None = None
    """How often at most."""

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    retry_after: Annotated[int, Field(ge=0)] | None = None
    """Seconds that Retry-After says; 429 and 503 say 1 when this is not set."""
    description: str | None = None
    delay: Seconds | None = None
    """Seconds before anything is done."""
    reset: bool = False
    """The connection is reset instead of an answer."""
    body: Literal["truncated", "malformed"] | None = None
    """Cut off in the middle; or whole as HTTP and not as JSON."""
    slow_body: Seconds | None = None
    """Seconds over which the body trickles."""
    apply_request: bool = False
    """With status and reset: what was asked is done, only its answer fails."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Fault:
        problems = []
        ends = [name for name in ("status", "reset", "body", "slow_body") if getattr(self, name)]
        if not ends and not self.delay:
            problems.append("say what happens: status, delay, reset, body or slow_body")
        if len(ends) > 1:
            problems.append(f"one answer cannot be {' and '.join(ends)} at once")
        if self.status is None and (self.retry_after is not None or self.description):
            problems.append("retry_after and description need a status")
        if self.apply_request and not (self.status or self.reset):
            problems.append("apply_request is for status and reset; other faults always apply it")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _can_be_searched(self) -> Fault:
        try:
            re.compile(self.path_regex or "")
        except re.error as error:
            raise ValueError(f"path_regex is no regular expression: {error}") from error
        return self

    def effect(self) -> dict[str, Any]:
        """What happens, without when."""
        return self.model_dump(exclude_defaults=True, exclude=WHEN)


WHEN = {"method", "path", "path_regex", "client", "nth", "probability", "seed", "times"}
"""The fields of a fault that choose requests."""


class Rule:
    """A fault with its counters."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.matched = self.applied = 0
        self._random = random.Random(fault.seed)  # noqa: S311  chance that can be repeated
        self._wanted = Wanted(fault.method, fault.path, fault.path_regex, fault.client)
        nth = fault.nth
        self._nth = {nth} if isinstance(nth, int) else set(nth or ())

    def hits(self, entry: Entry) -> bool:
        """Whether a request is to fail by this rule; counts it."""
        if not self._wanted.fits(entry):
            return False
        self.matched += 1
        fault = self.fault
        chosen = not self._nth or self.matched in self._nth
        if fault.probability is not None:
            # Drawn for every match, so that which ones are hit depends on the seed alone.
            chosen = self._random.random() < fault.probability and chosen
        return chosen and (fault.times is None or self.applied < fault.times)

    def told(self) -> dict[str, Any]:
        """The rule as it was set, and its counters."""
        rule = self.fault.model_dump(exclude_defaults=True)
        return {**rule, "matched": self.matched, "applied": self.applied}


class Faults:
    """The rules of a namespace."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def replace(self, faults: Sequence[Fault]) -> None:
        """These rules and no others, counted from now on."""
        self.rules = [Rule(fault) for fault in faults]

    def add(self, faults: Sequence[Fault]) -> None:
        """More rules, after those there are."""
        self.rules += [Rule(fault) for fault in faults]

    def choose(self, entry: Entry) -> Fault | None:
        """What happens to this request: the first rule that hits it. Every rule counts it."""
        hitting = [rule for rule in self.rules if rule.hits(entry)]
        if not hitting:
            return None
        hitting[0].applied += 1
        return hitting[0].fault
