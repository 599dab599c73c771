"""A short run of slow filters; ``make stress`` runs them over 100,000 items."""

from pathlib import Path

from stress import slow_reads
from stress.server import create_client, run_server


async def test_slow_filters_block_no_item(database_url: str, tmp_path: Path, clean: None) -> None:
    items = 5_000
    with run_server(tmp_path, database_url) as live:
        async with create_client(live) as http:
            await slow_reads.insert_items(database_url, http, items)
            report = await slow_reads.run_slow_filters(http, seconds=2)
    assert report.violations == [], str(report)
    assert report.counts[slow_reads.FILTERS] >= slow_reads.FILTERING_CLIENTS
