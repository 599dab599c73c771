"""Lists of a million items: what the server adds to Postgres' own time, and how it is searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from urllib.parse import quote

from . import data, loading
from .client import Client
from .lab import PREFIX, Lab, say
from .plans import Ran, explained, statements_since
from .postgres import explain, explaining
from .results import Row, duration

NAME = "million"
DOCUMENTS = 100
MOST_ADDED = 0.003
"""Seconds that the server may add to the best plan."""
REQUESTS, PATIENCE = 31, 4.0
"""How many requests are timed, unless that takes more seconds."""
PREPARED, SETTLED = 10, 5
"""How many there are at least, and how many of them are not counted: after five times Postgres
settles on a plan for a prepared statement."""


@dataclass(frozen=True)
class Search:
    """A list of items that people ask for."""

    title: str
    query: str
    condition: str
    """The same in SQL, in the form for which an index is easily made."""
    key: str = "identifier"


def searches(items: int) -> list[Search]:
    """By exact code, by words in the statement, and sorted by an indexed field."""
    share = -(-items // DOCUMENTS)
    code = data.node_of("million7", 7 * share + share // 2).title
    exact, words = quote(f"humanCodingScheme='{code}'"), quote(f"fullStatement~'{data.RARE}'")
    return [
        Search(
            "humanCodingScheme=",
            f"filter={exact}",
            f"lower(body ->> 'humanCodingScheme') = '{code.lower()}'",
        ),
        Search(
            "fullStatement~",
            f"filter={words}",
            f"lower(body ->> 'fullStatement') LIKE '%{data.RARE}%'",
        ),
        Search(
            "sort=humanCodingScheme",
            "sort=humanCodingScheme",
            "true",
            "lower(body ->> 'humanCodingScheme')",
        ),
    ]


def filters(lab: Lab) -> Iterator[Row]:
    """GET CFItems by code, by words and sorted, beside Postgres' time for the best plan."""
    say(f"loading {lab.sizes.million:,} items")
    url = lab.postgres.database(NAME)
    loading.load(url, DOCUMENTS, lab.sizes.million, "million")
    wanted = searches(lab.sizes.million)
    ran = {search.title: _explained(lab, search) for search in wanted}
    with lab.serve(NAME) as server, Client(server.base_url, server.headers) as client:
        timed = {search.title: _timed(url, client, search, ran[search.title]) for search in wanted}
    for search in wanted:
        took, own = timed[search.title]
        best = min([own, *_best(url, search)])
        added = _added(search, took, best, lab.sizes.million)
        scanned = _scanned(search, ran[search.title])
        if scanned.met is False:
            # Beside a scan of everything, anything is soon done.
            added = replace(added, met=False, note="no index: the limit is no best plan")
        yield added
        yield scanned
    lab.postgres.drop(NAME)


def _explained(lab: Lab, search: Search) -> list[Ran]:
    """The server's own statements for a search, each of the times they ran."""
    with explained(lab.postgres, NAME):
        before = lab.postgres.log.stat().st_size
        with lab.serve(NAME) as server, Client(server.base_url, server.headers) as client:
            for _ in range(PREPARED):
                client.get(f"{PREFIX}/CFItems?{search.query}")
        return statements_since(lab.postgres.log, before, "items")


def _timed(url: str, client: Client, search: Search, ran: list[Ran]) -> tuple[float, float]:
    """Seconds for a request, and what Postgres says that its statements take, at the median.

    By turns, so that the machine's moods touch both alike.
    """
    say(f"searching them: {search.title}")
    path, statements = f"{PREFIX}/CFItems?{search.query}", {one.sql: one for one in ran}
    took: list[float] = []
    own: list[float] = []
    with explaining(url) as seconds_for:
        while len(took) < REQUESTS and (sum(took) < PATIENCE or len(took) < PREPARED):
            took.append(client.get(path).seconds)
            own.append(sum(seconds_for(one.literally()) for one in statements.values()))
    return median(took[SETTLED:]), median(own[SETTLED:])


def _best(url: str, search: Search) -> Iterator[float]:
    """A plain statement with the same answer, with and without scans of the whole table."""
    condition = f"{search.condition} AND deleted_at IS NULL"
    statement = f"""
        SELECT body, (SELECT count(*) FROM items WHERE {condition}) FROM items
        WHERE {condition} ORDER BY {search.key}, identifier LIMIT 10"""
    for setting in ("on", "off"):
        yield explain(url, f"SET enable_seqscan = {setting}", statement)


def _added(search: Search, took: float, best: float, items: int) -> Row:
    added = took - best
    return Row(
        f"GET CFItems of {items:,}, {search.title}",
        duration(best),
        duration(took),
        f"{added * 1000:+.1f} ms",
        "<= +3 ms",
        added <= MOST_ADDED,
    )


def _scanned(search: Search, ran: list[Ran]) -> Row:
    scanned = any(one.scans("items") for one in ran)
    plans = {one.sql: " < ".join(name for name, _ in one.nodes) for one in ran}
    found = "sequential scan" if scanned else "index"
    case = f"... how {search.title} is found"
    return Row(
        case, "", found, "", "no sequential scan", not scanned, note="; ".join(plans.values())
    )
