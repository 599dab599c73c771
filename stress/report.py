"""The report on hostile requests: responses, slowest response and memory use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import httpx

from stress.server import BackgroundRequests, Memory


@dataclass
class Report:
    """The responses to hostile requests, and the time and memory that they took."""

    requests: int = 0
    responses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: Memory | None = None
    background: BackgroundRequests | None = None
    slowest: float = 0.0
    slowest_request: str = ""

    def __str__(self) -> str:
        return (
            f"{self.requests:,} hostile requests, "
            f"responses {dict(sorted(self.responses.items()))}, "
            f"slowest {self.slowest:.2f} s ({self.slowest_request}), {self.memory}, "
            f"{self.background}; {len(self.wrong)} wrong"
        )

    def check(self, description: str, response: httpx.Response, allowed: range) -> None:
        """Record a response; it is wrong if its status is not allowed or it has no description."""
        self.requests += 1
        self.responses[response.status_code] += 1
        seconds = response.elapsed.total_seconds()
        if seconds > self.slowest:
            self.slowest, self.slowest_request = seconds, description
        if response.status_code not in allowed:
            self.wrong.append(f"{description}: {response.status_code} {response.text[:200]}")
        elif response.status_code >= 400:
            try:
                body = response.json()
            except ValueError:
                body = {}
            if not (body.get("imsx_description") or body.get("error_description")):
                self.wrong.append(
                    f"{description}: {response.status_code} without description: "
                    f"{response.text[:200]}"
                )
