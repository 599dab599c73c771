"""The report on hostile requests: responses, slowest response and memory use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import httpx

from stress.server import BackgroundRequests, Memory


@dataclass
class Report:
    """The responses to hostile requests and what they cost."""

    requests: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: Memory | None = None
    background: BackgroundRequests | None = None
    slowest: float = 0.0
    slowest_request: str = ""

    def __str__(self) -> str:
        return (
            f"{self.requests:,} hostile requests, answers {dict(sorted(self.answers.items()))}, "
            f"slowest {self.slowest:.2f} s ({self.slowest_request}), {self.memory}, "
            f"{self.background}; {len(self.wrong)} wrong"
        )

    def check(self, description: str, answer: httpx.Response, allowed: range) -> None:
        """Record a response; it is wrong if its status is not allowed or it has no description."""
        self.requests += 1
        self.answers[answer.status_code] += 1
        seconds = answer.elapsed.total_seconds()
        if seconds > self.slowest:
            self.slowest, self.slowest_request = seconds, description
        if answer.status_code not in allowed:
            self.wrong.append(f"{description}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code >= 400:
            try:
                body = answer.json()
            except ValueError:
                body = {}
            if not (body.get("imsx_description") or body.get("error_description")):
                self.wrong.append(
                    f"{description}: {answer.status_code} without description: {answer.text[:200]}"
                )
