"""A short run of the Postgres outages; ``make stress`` sends a thousand requests."""

from __future__ import annotations

import asyncio

from stress import outage
from stress.faults import FAULTS


def test_outage_returns_503_and_server_recovers() -> None:
    tally = asyncio.run(outage.run(each=8))
    assert tally.wrong == []
    assert tally.answers == {503: tally.faults.total()}
    assert tally.faults.keys() == {*FAULTS, "pool full"}
    # Where nothing may be mounted, a limit takes the place of the disk.
    assert tally.errors["no space"] <= {"DiskFullError", "ConfigurationLimitExceededError"}
    assert len(tally.errors["no space"]) == 1
