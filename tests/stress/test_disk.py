"""A full disk under the server's Postgres."""

import asyncio

import pytest

from stress import disk


def test_full_disk_loses_nothing_and_server_recovers() -> None:
    report = asyncio.run(disk.run_full_disks())
    if disk.NOT_RUN in report.remarks:
        pytest.skip(report.remarks[disk.NOT_RUN])
    assert report.violations == []
    assert report.counts[disk.FULL] == 2
    # Without space for tables, only writes fail; without space for the log, Postgres stops.
    assert report.counts["no space GET 200"] == 20
    assert report.counts["no space for the log PUT 201"]
    assert report.counts[disk.READ_BACK] > 100
