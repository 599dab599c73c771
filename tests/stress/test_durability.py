"""Kills of the server and of Postgres, in short: ``make stress`` kills thirty times and more."""

from __future__ import annotations

import asyncio

from stress import durability


def test_what_was_acknowledged_is_there_after_every_kill() -> None:
    tally = asyncio.run(durability.run(kills=2, seed=1))
    assert tally.wrong == []
    assert tally.kills.total() == 2
    assert tally.acknowledged.keys() == {"items", "associations", "packages"}
    assert tally.read_back > 0
