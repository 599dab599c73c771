"""Postgres away in every way, in short: ``make stress`` sends a thousand requests into it."""

from __future__ import annotations

import asyncio

from stress import outage
from stress.faults import FAULTS


def test_who_asks_while_the_database_is_away_is_told_so_and_then_it_is_back() -> None:
    tally = asyncio.run(outage.run(each=8))
    assert tally.wrong == []
    assert tally.answers == {503: tally.faults.total()}
    assert tally.faults.keys() == {*FAULTS, "pool full"}
    # Where nothing may be mounted, a limit takes the place of the disk.
    assert tally.errors["no space"] <= {"DiskFullError", "ConfigurationLimitExceededError"}
    assert len(tally.errors["no space"]) == 1
