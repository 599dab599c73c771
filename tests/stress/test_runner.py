"""``python -m stress``: time limits, minimum counts and exit codes."""

import math
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner

from stress import __main__ as runner
from stress.report import ScenarioReport
from stress.timer import ScenarioTimer, list_shortfalls


def test_clock_expires_after_its_share() -> None:
    assert ScenarioTimer(0).is_expired
    assert not ScenarioTimer().is_expired
    assert ScenarioTimer().remaining_seconds == math.inf
    assert 0 < ScenarioTimer(60).remaining_seconds <= 60


def test_clock_reports_progress_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    timer = ScenarioTimer(60, shown.append)
    timer.report_progress("too soon")
    monkeypatch.setattr("stress.timer.PROGRESS_INTERVAL_SECONDS", 0)
    timer.report_progress("3 of 4")
    assert [line.split(",")[0] for line in shown] == ["3 of 4"]


def test_too_few_lists_missed_counts() -> None:
    assert list_shortfalls({"kills": 3}, {"kills": 30, "reads": 1}) == [
        "3 of 30 kills",
        "0 of 1 reads",
    ]
    assert list_shortfalls({"kills": 30}, {"kills": 30}) == []


def scenario_run(done: int, faults: list[str]) -> Any:
    async def run(_: int, __: ScenarioTimer) -> ScenarioReport:
        return ScenarioReport(Counter(kills=done), violations=faults)

    return run


@pytest.mark.parametrize(
    ("done", "faults", "code", "line"),
    [
        (32, [], 0, "32 kills"),
        (31, [], 0, "below the target: 31 of 32 kills\n"),
        (29, [], 1, "failed, below the minimum: 29 of 30 kills\n"),
        (32, ["an item is lost"], 1, "  an item is lost"),
    ],
)
def test_scenario_below_minimum_fails(
    monkeypatch: pytest.MonkeyPatch, done: int, faults: list[str], code: int, line: str
) -> None:
    scenario = runner.ScenarioPlan(
        scenario_run(done, faults), 1, {"kills": 32}, minimums={"kills": 30}
    )
    monkeypatch.setitem(runner.SCENARIOS, "durability", scenario)
    result = CliRunner().invoke(runner.main, ["durability", "--minutes", "1", "--seed", "7"])
    assert line in result.output
    assert result.exit_code == code
    assert ("rerun with --seed 7 durability" in result.output) == bool(code)


def test_scenario_without_time_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "END_TIMEOUT_SECONDS", 120)
    result = CliRunner().invoke(runner.main, ["model", "--minutes", "1"])
    assert "model: not started, no time left" in result.output
    assert result.exit_code == 1


def test_targets_of_a_full_run_reach_the_minimums() -> None:
    minimums = {
        name: scenario.minimums for name, scenario in runner.SCENARIOS.items() if scenario.minimums
    }
    assert minimums["durability"] == {"kills of the server": 30, "kills of Postgres": 30}
    assert minimums["outage"] == {"requests during outages": 1000}
    for scenario in runner.SCENARIOS.values():
        assert all(scenario.targets[name] >= minimum for name, minimum in scenario.minimums.items())
