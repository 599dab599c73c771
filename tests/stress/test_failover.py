"""The failover scenario runs, and finds nothing wrong."""

import shutil

import pytest

from stress import failover
from stress.timer import ScenarioTimer


@pytest.mark.slow
async def test_failover_scenario_finds_no_violation() -> None:
    if missing := [name for name in failover.PROGRAMS if not shutil.which(name)]:
        pytest.skip(f"{' and '.join(missing)} not installed (Debian: patroni, etcd-server)")
    report = await failover.run_failovers(ScenarioTimer(200))
    assert report.counts[failover.EVENTS] == len(failover.ACTIONS)
    assert report.violations == []
