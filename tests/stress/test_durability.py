"""A few kills of the server and of Postgres; ``make stress`` kills each thirty times."""

from __future__ import annotations

import asyncio

from stress import durability


def test_acknowledged_writes_survive_kills() -> None:
    report = asyncio.run(durability.run(kills=2, seed=1))
    assert report.wrong == []
    assert report.kills.total() == 2
    assert report.acknowledged.keys() == {"items", "associations", "packages"}
    assert report.read_back > 0
