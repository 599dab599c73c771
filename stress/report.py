"""The report of a scenario: counts, durations, memory and violations."""

from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from httpx import Response

from stress.server import MemoryUsage


@dataclass
class ScenarioReport:
    """The result of a scenario: counts, durations, memory use, and what the server did wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Durations of requests or events, by their kind, such as "recovery"."""
    memory: dict[str, MemoryUsage] = field(default_factory=dict)
    remarks: dict[str, Any] = field(default_factory=dict)
    """Other observations by name, printed as they are."""
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{count:,} {name}" for name, count in sorted(self.counts.items())]
        parts += [
            f"{name}: median {1000 * self.get_quantile(name, 0.5):.0f} ms, "
            f"p99 {1000 * self.get_quantile(name, 0.99):.0f} ms, slowest {max(durations):.2f} s"
            for name, durations in self.seconds.items()
            if durations
        ]
        parts += [f"{name}: {value}" for name, value in (self.memory | self.remarks).items()]
        return "; ".join([*parts, f"{len(self.violations)} violations"])

    def get_quantile(self, kind: str, quantile: float) -> float:
        """Return a quantile, such as 0.5 for the median, of one kind of durations in seconds."""
        ordered = sorted(self.seconds[kind])
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

    def record_violation(self, violation: str) -> None:
        """Record something that the server did wrong, so that the scenario fails."""
        self.violations.append(violation)

    def record_response(
        self, kind: str, response: Response, allowed: Container[int], request: str = ""
    ) -> None:
        """Count a response by its status; record a violation if the status is not in ``allowed``.

        ``kind`` groups the counts, for example "reads". A violation describes the request with
        ``request``, or with ``kind`` if ``request`` is empty.
        """
        status = response.status_code
        self.counts[f"{kind} {status}"] += 1
        if status not in allowed:
            self.record_violation(f"{request or kind}: {status} {response.text[:200]}")

    def record_timed_response(
        self, kind: str, request: str, response: Response, allowed: Container[int]
    ) -> None:
        """Count a response as ``record_response`` does, and record how long it took.

        An allowed error response is also a violation if its body does not describe the problem.
        """
        self.record_response(kind, response, allowed, request)
        seconds = response.elapsed.total_seconds()
        if seconds > max(self.seconds[kind], default=0):
            self.remarks[f"slowest {kind}"] = request
        self.seconds[kind].append(seconds)
        if response.status_code in allowed and response.status_code >= 400:
            try:
                body = response.json()
            except ValueError:
                body = {}
            if not (body.get("imsx_description") or body.get("error_description")):
                self.record_violation(
                    f"{request}: {response.status_code} without description: {response.text[:200]}"
                )
