"""``python -m stress``: time is shared out, and too little done is told and is a failure."""

from __future__ import annotations

import math
from typing import Any

import pytest
from click.testing import CliRunner

from stress import __main__ as runner
from stress.clock import Clock, too_few

Say = list[str]


def test_a_clock_is_up_when_its_share_is_over() -> None:
    assert Clock(0).is_up
    assert not Clock().is_up
    assert Clock().left == math.inf
    assert 0 < Clock(60).left <= 60


def test_a_clock_tells_how_far_it_is_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Say = []
    clock = Clock(60, told.append)
    clock.tell("too soon")
    monkeypatch.setattr("stress.clock.SECONDS_OF_SILENCE", 0)
    clock.tell("3 of 4")
    assert [line.split(",")[0] for line in told] == ["3 of 4"]


def test_too_few_of_what_was_wanted() -> None:
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
def test_a_part_that_did_too_little_has_failed(
    monkeypatch: pytest.MonkeyPatch, done: int, wrong: Say, code: int, said: str
) -> None:
    part = runner.Part(outcome(done, wrong), 1, {"kills": 32}, promised={"kills": 30})
    monkeypatch.setitem(runner.PARTS, "durability", part)
    result = CliRunner().invoke(runner.main, ["durability", "--minutes", "1", "--seed", "7"])
    assert said in result.output
    assert result.exit_code == code
    assert ("again with --seed 7 durability" in result.output) == bool(code)


def test_what_there_is_no_time_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SECONDS_TO_END", 120)
    result = CliRunner().invoke(runner.main, ["model", "--minutes", "1"])
    assert "model: not begun, as the time is over" in result.output
    assert result.exit_code == 1


def test_the_promises_are_those_of_the_whole_run() -> None:
    promised = {name: part.promised for name, part in runner.PARTS.items() if part.promised}
    assert promised["durability"] == {runner.SERVER: 30, runner.POSTGRES: 30}
    assert promised["away"] == {runner.FAULTS: 1000}
    for part in runner.PARTS.values():
        assert all(part.wanted[what] >= number for what, number in part.promised.items())
