"""What hostile requests were answered, and what of that is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import httpx

from stress.server import Memory, Others


@dataclass
class Tally:
    """What was tried and how it was answered."""

    tried: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: Memory | None = None
    others: Others | None = None
    slowest: float = 0.0
    slowest_was: str = ""

    def __str__(self) -> str:
        return (
            f"{self.tried:,} hostile requests, answers {dict(sorted(self.answers.items()))}, "
            f"slowest {self.slowest:.2f} s ({self.slowest_was}), {self.memory}, {self.others}; "
            f"{len(self.wrong)} wrong"
        )

    def judge(self, what: str, answer: httpx.Response, allowed: range) -> None:
        """Whether a refusal is one, and says why."""
        self.tried += 1
        self.answers[answer.status_code] += 1
        seconds = answer.elapsed.total_seconds()
        if seconds > self.slowest:
            self.slowest, self.slowest_was = seconds, what
        if answer.status_code not in allowed:
            self.wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code >= 400:
            try:
                body = answer.json()
            except ValueError:
                body = {}
            if not (body.get("imsx_description") or body.get("error_description")):
                self.wrong.append(f"{what}: {answer.status_code} says nothing: {answer.text[:200]}")
