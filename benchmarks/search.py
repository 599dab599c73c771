"""Full-text searches in many synthetic items, as a user types them."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from case_server.db.pool import Database
from case_server.db.read import tree
from case_server.db.read.lists import search as item_search
from case_server.settings import Settings

from .context import FULL_ITEMS, BenchmarkContext, report_progress
from .results import ResultRow, compare_with_maximum, format_duration

MAX_SECONDS = 0.05
FULL_SEARCH_ITEMS = 100_000
"""Number of items in a full run."""

QUERIES = (
    *("3.OA.A.1", "3.oa", "7.NF", "12.G.B.4", "3", "K"),
    *("frac", "fraction", "equal parts", "compare fractions", "s", "th", "the", "number line"),
    *("multiply whole numbers", "represent and solve", "unmatched", "word5 word7"),
    "area of a circle",
)
"""Complete and partial codes, rare and common words, and words without a match."""

WORDS = (
    "the a of and to in number numbers whole fraction fractions compare represent equal parts "
    "multiply divide area circle line unit model explain interpret product quotient decimal place "
    "value measure length time data graph shape angle symmetry pattern equation expression"
)

FILL = """
WITH words AS (SELECT string_to_array($2, ' ') AS w), made AS (
    SELECT i, (SELECT string_agg(CASE WHEN random() < 0.3 THEN 'word' || (random() * 3000)::int
                                 ELSE w[1 + (random() * (cardinality(w) - 1))::int] END, ' ')
               FROM words, generate_series(1, 22 + i * 0) AS each) AS statement
    FROM generate_series(1, $1::int) AS i)
INSERT INTO items (body, last_change_date_time, document_identifier)
SELECT json_build_object(
    'identifier', 'item-' || i, 'uri', 'urn:item:' || i, 'fullStatement', statement,
    'humanCodingScheme', (i / 1000 % 13) || '.' || (ARRAY['OA','NBT','NF','MD','G'])[1 + i % 5]
        || '.' || chr(65 + i / 5 % 4) || '.' || (i / 20 % 50),
    'conceptKeywords', json_build_array('keyword ' || i % 100)), now(), 'benchmark' FROM made
"""

DOCUMENT = """INSERT INTO documents (body, last_change_date_time)
VALUES ('{"identifier": "benchmark", "title": "A benchmark", "creator": "none"}', now())"""

REPETITIONS = 7
"""Number of runs of each query in a round."""


def measure_search(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure searches for items and their paths in the tree; the target is a median of 50 ms."""
    items = context.sizes.item_count * FULL_SEARCH_ITEMS // FULL_ITEMS
    url = context.postgres.ensure_database("search")
    durations = asyncio.run(_measure_queries(url, items, context.rounds * REPETITIONS))
    slowest, seconds = max(durations.items(), key=lambda entry: median(entry[1]))
    all_durations = [duration for seconds in durations.values() for duration in seconds]
    title = f"search of {items:,} items"
    row = compare_with_maximum(title, median(all_durations), MAX_SECONDS, format_duration)
    times = len(all_durations) // len(durations)
    yield replace(row, note=f"{len(durations)} searches, {times} times each")
    title = f"{title}, the slowest"
    row = compare_with_maximum(title, median(seconds), MAX_SECONDS, format_duration)
    yield replace(row, note=f"query {slowest!r}")


async def _measure_queries(url: str, item_count: int, repetitions: int) -> dict[str, list[float]]:
    """Return the durations in seconds of each query in ``QUERIES``.

    The database is filled with ``item_count`` items if it is empty.
    """
    durations: dict[str, list[float]] = {query: [] for query in QUERIES}
    async with Database.open(url, Settings(database_url=url)) as database:
        async with database.connection() as connection:
            if not await connection.fetchval("SELECT count(*) FROM documents"):
                report_progress(f"generating {item_count:,} items")
                await connection.execute(DOCUMENT)
                await connection.execute(FILL, item_count, WORDS, timeout=600)
                await connection.execute("VACUUM ANALYZE items")
        for _ in range(repetitions):
            for query, seconds in durations.items():
                start = time.perf_counter()
                rows = await item_search.search_items(database, query, None, 21, 0)
                await tree.fetch_ancestors(database, [record["identifier"] for record in rows[:20]])
                seconds.append(time.perf_counter() - start)
    return durations
