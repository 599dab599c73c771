"""A full disk under the server's Postgres."""

from __future__ import annotations

import asyncio

import pytest

from stress import disk


def test_full_disk_loses_nothing_and_server_recovers() -> None:
    report = asyncio.run(disk.run())
    if report.note:
        pytest.skip(report.note)
    assert report.wrong == []
    assert report.full == 2
    # Without space for tables, only writes fail; without space for the log, Postgres stops.
    assert report.responses["no space"]["GET 200"] == 20
    assert report.responses["no space for the log"]["PUT 201"]
    assert report.read_back > 100
