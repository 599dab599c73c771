"""A short run of the Postgres outages; ``make stress`` sends a thousand requests."""

import asyncio

import pytest

from stress import outage
from stress.faults import FAULTS


@pytest.mark.slow
def test_outage_returns_503_and_server_recovers() -> None:
    report = asyncio.run(outage.run_outages(requests_per_fault=8))
    assert report.violations == []
    names = (*FAULTS, "pool full")
    assert report.counts.keys() == {outage.REQUESTS, *(f"{name} 503" for name in names)}
    # Without permission to mount a disk, a limit is used instead.
    assert report.remarks["no space: errors"] <= {
        "DiskFullError",
        "ConfigurationLimitExceededError",
    }
    assert len(report.remarks["no space: errors"]) == 1
