"""Writers that meet on purpose, on a server of their own."""

from __future__ import annotations

from pathlib import Path

from torture import load, writers
from torture.server import client, server


async def test_writers_that_meet_lose_nothing(
    database_url: str, tmp_path: Path, clean: None
) -> None:
    with server(tmp_path, database_url) as live:
        async with client(live) as http:
            tally = await writers.run(http, rounds=2, seed=1)
    assert tally.wrong == []
    # Whoever met another waits for its turn and is not sent away.
    assert not any(answers[503] for answers in tally.answers.values())
    assert tally.answers["same item"] == {201: 2 * writers.WRITERS}


async def test_large_reads_and_bad_company_harm_nobody() -> None:
    tally = await load.run(items=300, seconds=2, slow=4, seed=1)
    assert tally.wrong == []
    assert all(memory.added < 150 for memory in tally.memory.values())
    assert tally.quantile(0.99) < 2
