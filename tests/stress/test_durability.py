"""A few kills of the server and of Postgres; ``make stress`` kills each thirty times."""

from __future__ import annotations

import asyncio

from stress import durability


def test_acknowledged_writes_survive_kills() -> None:
    tally = asyncio.run(durability.run(kills=2, seed=1))
    assert tally.wrong == []
    assert tally.kills.total() == 2
    assert tally.acknowledged.keys() == {"items", "associations", "packages"}
    assert tally.read_back > 0
