"""Random sequences of requests whose responses are compared with a reference model."""

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from stress.report import ScenarioReport
from stress.state_machine import ApiStateMachine, InProcessServer
from stress.timer import ScenarioTimer

HISTORIES = "histories"
BATCH_SIZE = 20
"""Number of histories between two checks of the time limit."""


def run_histories(
    server_url: str,
    name: str,
    examples: int,
    steps: int,
    seed: int,
    timer: ScenarioTimer | None = None,
) -> ScenarioReport:
    """Send random requests to the application and compare it with a reference model.

    There are ``examples`` sequences of up to ``steps`` requests. The application runs in this
    process, on a new database ``name`` of the Postgres at ``server_url``. Stops early if the time
    limit of ``timer`` is reached. If a response differs from the model, raises the failure of the
    shortest failing sequence that Hypothesis finds.
    """
    server, timer = InProcessServer(server_url, name), timer or ScenarioTimer()
    report = ScenarioReport(server.responses)
    try:
        while report.counts[HISTORIES] < examples and not timer.is_expired:
            count = min(BATCH_SIZE, examples - report.counts[HISTORIES])
            _run_batch(server, count, steps, seed + report.counts[HISTORIES])
            report.counts[HISTORIES] += count
            timer.report_progress(f"{report.counts[HISTORIES]} of {examples} histories")
        return report
    finally:
        server.close()


def _run_batch(server: InProcessServer, count: int, steps: int, seed: int) -> None:
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
