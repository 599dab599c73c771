"""How fast items are found: the median of searches as they are typed, over many made-up items.

python benchmarks/search.py postgresql://user@host/empty-database [items]

The database must be for this alone; it is migrated and filled when it is empty.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from case_server.db import schema, search, tree
from case_server.db.database import Database
from case_server.settings import Settings

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

ROUNDS = 20


async def measure(url: str, items: int) -> None:
    """Fill the database if it is empty, and print the median of each search and of all."""
    async with Database.open(url, Settings(database_url=url)) as database:
        async with database.connection() as connection:
            if not await connection.fetchval("SELECT count(*) FROM documents"):
                await connection.execute(DOCUMENT)
                await connection.execute(FILL, items, WORDS, timeout=600)
                await connection.execute("VACUUM ANALYZE items")
        everything = []
        for typed in TYPED:
            taken = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                found = await search.search_items(database, typed, None, 21, 0)
                await tree.paths(database, [record["identifier"] for record in found[:20]])
                taken.append((time.perf_counter() - start) * 1000)
            everything += taken
            print(f"{statistics.median(taken):8.1f} ms  {len(found):3}  {typed}")
        print(f"{statistics.median(everything):8.1f} ms  median of all")


if __name__ == "__main__":
    schema.migrate(sys.argv[1])
    asyncio.run(measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
