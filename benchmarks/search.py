"""How fast items are found by their words: searches as they are typed, over many made-up items."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from case_server.db.pool import Database
from case_server.db.read import search as items_found
from case_server.db.read import tree
from case_server.settings import Settings

from .lab import FULL_ITEMS, Lab, say
from .results import Row, below, duration

MOST = 0.05
ITEMS = 100_000
"""How many items are searched in a full run."""

TYPED = (
    *("3.OA.A.1", "3.oa", "7.NF", "12.G.B.4", "3", "K"),
    *("frac", "fraction", "equal parts", "compare fractions", "s", "th", "the", "number line"),
    *(
        "multiply whole numbers",
        "represent and solve",
        "unheard",
        "word5 word7",
        "area of a circle",
    ),
)
"""What somebody types: codes whole and begun, rare words and very common ones, and nothing."""

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
VALUES ('{"identifier": "benchmark", "title": "A benchmark", "creator": "nobody"}', now())"""

TIMES = 7
"""How often each is searched for in one round."""


def search(lab: Lab) -> Iterator[Row]:
    """Searches as they are typed, each with the ways to what it finds: 50 ms at the median."""
    items = lab.sizes.items * ITEMS // FULL_ITEMS
    url = lab.postgres.database("search")
    taken = asyncio.run(_measured(url, items, lab.rounds * TIMES))
    slowest, seconds = max(taken.items(), key=lambda one: median(one[1]))
    every = [second for several in taken.values() for second in several]
    title = f"search of {items:,} items"
    row = below(title, median(every), MOST, duration)
    yield replace(row, note=f"{len(taken)} searches, {len(every) // len(taken)} times each")
    row = below(f"{title}, the slowest", median(seconds), MOST, duration)
    yield replace(row, note=f"that for {slowest!r}")


async def _measured(url: str, items: int, times: int) -> dict[str, list[float]]:
    """The seconds that each search took."""
    taken: dict[str, list[float]] = {typed: [] for typed in TYPED}
    async with Database.open(url, Settings(database_url=url)) as database:
        async with database.connection() as connection:
            if not await connection.fetchval("SELECT count(*) FROM documents"):
                say(f"making {items:,} items up")
                await connection.execute(DOCUMENT)
                await connection.execute(FILL, items, WORDS, timeout=600)
                await connection.execute("VACUUM ANALYZE items")
        for _ in range(times):
            for typed, seconds in taken.items():
                started = time.perf_counter()
                found = await items_found.search_items(database, typed, None, 21, 0)
                await tree.fetch_paths(database, [record["identifier"] for record in found[:20]])
                seconds.append(time.perf_counter() - started)
    return taken
