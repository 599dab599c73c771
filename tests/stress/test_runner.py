"""``python -m stress``: time limits, minimum counts and exit codes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from click.testing import CliRunner

from stress import __main__ as runner
from stress.clock import Clock, too_few

Say = list[str]


def test_clock_expires_after_its_share() -> None:
    assert Clock(0).is_up
    assert not Clock().is_up
    assert Clock().left == math.inf
    assert 0 < Clock(60).left <= 60


def test_clock_reports_progress_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Say = []
    clock = Clock(60, told.append)
    clock.tell("too soon")
    monkeypatch.setattr("stress.clock.SECONDS_OF_SILENCE", 0)
    clock.tell("3 of 4")
    assert [line.split(",")[0] for line in told] == ["3 of 4"]


def test_too_few_lists_missed_counts() -> None:
    assert too_few({"kills": 3}, {"kills": 30, "reads": 1}) == ["3 of 30 kills", "0 of 1 reads"]
    assert too_few({"kills": 30}, {"kills": 30}) == []


def outcome(done: int, wrong: Say) -> Any:
    async def run(_: int, __: Clock) -> runner.Outcome:
        return runner.Outcome(f"{done} done", wrong, {"kills": done})

    return run


@pytest.mark.parametrize(
    ("done", "wrong", "code", "said"),
    [
        (32, [], 0, "32 done"),
        (31, [], 0, "it came to 31 of 32 kills only\n"),
        (29, [], 1, "too few, so it has failed: 29 of 30 kills\n"),
        (32, ["an item is lost"], 1, "  an item is lost"),
    ],
)
def test_scenario_below_minimum_fails(
    monkeypatch: pytest.MonkeyPatch, done: int, wrong: Say, code: int, said: str
) -> None:
    part = runner.Part(outcome(done, wrong), 1, {"kills": 32}, promised={"kills": 30})
    monkeypatch.setitem(runner.PARTS, "durability", part)
    result = CliRunner().invoke(runner.main, ["durability", "--minutes", "1", "--seed", "7"])
    assert said in result.output
    assert result.exit_code == code
    assert ("again with --seed 7 durability" in result.output) == bool(code)


def test_scenario_without_time_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SECONDS_TO_END", 120)
    result = CliRunner().invoke(runner.main, ["model", "--minutes", "1"])
    assert "model: not begun, as the time is over" in result.output
    assert result.exit_code == 1


def test_minimums_of_full_run() -> None:
    promised = {name: part.promised for name, part in runner.PARTS.items() if part.promised}
    assert promised["durability"] == {runner.SERVER: 30, runner.POSTGRES: 30}
    assert promised["away"] == {runner.FAULTS: 1000}
    for part in runner.PARTS.values():
        assert all(part.wanted[what] >= number for what, number in part.promised.items())
