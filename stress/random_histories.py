"""Random histories beside the model: so many, and how often what was answered to what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from stress.clock import Clock
from stress.state_machine import Machine, Server

AT_ONCE = 20
"""How many histories are drawn before somebody looks at the clock."""


@dataclass
class Tally:
    """What the model agreed with."""

    histories: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    """How often what was answered to what."""

    def __str__(self) -> str:
        told = ", ".join(f"{what} {count:,}" for what, count in sorted(self.asked.items()))
        return (
            f"{self.histories:,} histories, {self.asked.total():,} requests agree with the model "
            f"({told})"
        )


def run(
    server_url: str, name: str, examples: int, steps: int, seed: int, clock: Clock | None = None
) -> Tally:
    """So many random histories of at most so many steps, as far as the clock allows."""
    server, clock = Server(server_url, name), clock or Clock()
    tally = Tally(asked=server.asked)
    try:
        while tally.histories < examples and not clock.is_up:
            count = min(AT_ONCE, examples - tally.histories)
            _histories(server, count, steps, seed + tally.histories)
            tally.histories += count
            clock.tell(f"{tally.histories} of {examples} histories")
        return tally
    finally:
        server.close()


def _histories(server: Server, count: int, steps: int, seed: int) -> None:
    """Histories that agree with the model; the shortest that does not is raised."""
    kind = type("Seeded", (Machine,), {"server": server, "_hypothesis_internal_use_seed": seed})
    chosen = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(kind, settings=chosen)
