"""Random sequences of requests whose responses are compared with a reference model."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from stress.clock import Clock
from stress.report import Report
from stress.state_machine import ApiStateMachine, InProcessServer

HISTORIES = "histories"
BATCH_SIZE = 20
"""Number of histories between two checks of the time limit."""


def run(
    server_url: str, name: str, examples: int, steps: int, seed: int, clock: Clock | None = None
) -> Report:
    """Send random sequences of requests to the application and compare it with the model.

    There are ``examples`` sequences of up to ``steps`` requests. The application runs in this
    process, on a new database ``name`` of the Postgres at ``server_url``. Ends at the time limit.
    If a response differs from the model, raises the error of the shortest such sequence that
    Hypothesis finds.
    """
    server, clock = InProcessServer(server_url, name), clock or Clock()
    report = Report(server.responses)
    try:
        while report.counts[HISTORIES] < examples and not clock.is_expired:
            count = min(BATCH_SIZE, examples - report.counts[HISTORIES])
            _run_batch(server, count, steps, seed + report.counts[HISTORIES])
            report.counts[HISTORIES] += count
            clock.report_progress(f"{report.counts[HISTORIES]} of {examples} histories")
        return report
    finally:
        server.close()


def _run_batch(server: InProcessServer, count: int, steps: int, seed: int) -> None:
    """Run ``count`` random sequences of up to ``steps`` requests.

    If responses differ from the model, raises the error of the shortest such sequence.
    """
    kind = type(
        "Seeded", (ApiStateMachine,), {"server": server, "_hypothesis_internal_use_seed": seed}
    )
    profile = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(kind, settings=profile)
