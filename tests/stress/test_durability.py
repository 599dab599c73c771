"""A few kills of the server and of Postgres; ``make stress`` kills each thirty times."""

import asyncio

import pytest

from stress import durability


@pytest.mark.slow
def test_acknowledged_writes_survive_kills() -> None:
    report = asyncio.run(durability.run_durability(kill_count=2, seed=1))
    assert report.violations == []
    for name in (durability.SERVER_KILLS, durability.POSTGRES_KILLS):
        assert report.counts[name] == 1
    for kind in ("items", "associations", "packages"):
        assert report.counts[f"acknowledged {kind}"]
    assert report.counts[durability.READ_BACK]
