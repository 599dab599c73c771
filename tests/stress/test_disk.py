"""A full disk under the server's Postgres."""

from __future__ import annotations

import asyncio

import pytest

from stress import disk


def test_full_disk_loses_nothing_and_server_recovers() -> None:
    tally = asyncio.run(disk.run())
    if tally.note:
        pytest.skip(tally.note)
    assert tally.wrong == []
    assert tally.full == 2
    # Without room for tables, writes alone are refused; without room for the log, Postgres goes.
    assert tally.answers["no room"]["GET 200"] == 20
    assert tally.answers["no room for the log"]["PUT 201"]
    assert tally.read_back > 100
