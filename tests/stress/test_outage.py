"""A short run of the Postgres outages; ``make stress`` sends a thousand requests."""

from __future__ import annotations

import asyncio

from stress import outage
from stress.faults import FAULTS


def test_outage_returns_503_and_server_recovers() -> None:
    report = asyncio.run(outage.run(each=8))
    assert report.wrong == []
    assert report.responses == {503: report.faults.total()}
    assert report.faults.keys() == {*FAULTS, "pool full"}
    # Without permission to mount a disk, a limit is used instead.
    assert report.errors["no space"] <= {"DiskFullError", "ConfigurationLimitExceededError"}
    assert len(report.errors["no space"]) == 1
