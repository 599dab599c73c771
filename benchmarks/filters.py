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
from .postgres import explain
from .results import Row, duration

NAME = "million"
DOCUMENTS = 100
MOST_ADDED = 0.003
"""Seconds that the server may add to the best plan."""
REQUESTS, PATIENCE = 31, 2.0
"""How many requests are timed, unless that takes more seconds."""
PREPARED = 8
"""Requests after which Postgres has settled on a plan for a prepared statement."""


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
    took = {}
    with lab.serve(NAME) as server, Client(server.base_url, server.headers) as client:
        for search in wanted:
            say(f"searching them: {search.title}")
            took[search.title] = median(_answers(client, search))
    for search in wanted:
        ran = _explained(lab, search)
        best = min([_own(ran), *_best(url, search)])
        added = _added(search, took[search.title], best, lab.sizes.million)
        scanned = _scanned(search, ran)
        if scanned.met is False:
            # Beside a scan of everything, anything is soon done.
            added = replace(added, met=False, note="no index: the limit is no best plan")
        yield added
        yield scanned
    lab.postgres.drop(NAME)


def _answers(client: Client, search: Search) -> Iterator[float]:
    spent = 0.0
    client.get(f"{PREFIX}/CFItems?{search.query}")
    for count in range(REQUESTS):
        if spent > PATIENCE and count > 1:
            return
        took = client.get(f"{PREFIX}/CFItems?{search.query}").seconds
        spent += took
        yield took


def _explained(lab: Lab, search: Search) -> list[Ran]:
    """The server's own statement each of the times it ran."""
    with explained(lab.postgres, NAME):
        before = lab.postgres.log.stat().st_size
        with lab.serve(NAME) as server, Client(server.base_url, server.headers) as client:
            spent = 0.0
            for _ in range(PREPARED):
                spent += client.get(f"{PREFIX}/CFItems?{search.query}").seconds
                if spent > PATIENCE:
                    break
        return statements_since(lab.postgres.log, before, "items")


def _own(ran: list[Ran]) -> float:
    """Postgres' time for one request of the server: its statements, each when it was fastest."""
    fastest: dict[str, float] = {}
    for one in ran:
        fastest[one.sql] = min(one.seconds, fastest.get(one.sql, one.seconds))
    return sum(fastest.values())


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
