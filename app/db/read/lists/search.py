"""Full-text search for items by code, statement and keywords.

The column ``items.search`` holds the words of an item, without stemming, so that every language is
searched alike. The beginning of a code is found by ``items.folded_code``, whose index returns the
first codes only: with words, Postgres would first collect all matches.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from asyncpg import Record
from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    not_,
    select,
    true,
    union,
)

from ...pool import Database
from ...schema.expressions import LIMIT, OFFSET, build_text_extract
from ...schema.tables import documents, items
from ...statement import CompiledStatement

MAX_CANDIDATES = 1000
"""Number of items ranked for one search: those whose code matches, then those with the words, in
the order of the table."""

START_PAGES = 4000
"""Number of pages (of 8 kB) at the start of the table in which common words are looked for first.

For a word that 400,000 of a million items have, reading the index takes 60 ms of CPU, and finding
1,000 of them in these pages 6 ms; reading all these pages takes 20 ms. If they are expected to have
fewer matches, the index is faster."""

MIN_PREFIX_CHARS = 3
"""Length from which a word matches as a prefix; the last word always does, as it may be partial."""

MAX_SEARCH_CHARS = 200
"""Number of characters of a search that are used."""

SEPARATORS = re.compile(r"[./:_\-\s]+")

LAST_CHARACTER: ColumnElement[str] = literal_column("chr(1114111)")
"""SQL for the last character of Unicode, which no code contains."""


class SearchQuery(NamedTuple):
    """A parsed search: matches codes that begin with ``code``, and words that match ``text``."""

    code: str
    """The whole search, as the beginning of a code."""
    text: str
    """The Postgres tsquery with every word of the search as the beginning of a word."""


def parse_search_query(search: str) -> SearchQuery:
    """Parse the search string of a request into a ``SearchQuery``.

    The string is cut to ``MAX_SEARCH_CHARS``. An empty string matches nothing.
    """
    search = " ".join(search.replace("\x00", " ").split())[:MAX_SEARCH_CHARS]
    words = search.split()
    operands = [
        _build_tsquery_operand(word, is_last=position == len(words))
        for position, word in enumerate(words, 1)
    ]
    return SearchQuery(search, " & ".join(operand for operand in operands if operand))


def _build_tsquery_operand(word: str, *, is_last: bool) -> str:
    """Return the tsquery for one word of a search, or "" for a word without letters or digits.

    A word such as ``3.OA`` matches whole, or as the parts ``3`` and ``OA`` in sequence, because
    codes are indexed in parts, but a number with a dot in a statement as one word. The last word of
    a search (``is_last``) also matches as a prefix, as do words whose last part has at least
    ``MIN_PREFIX_CHARS`` characters.
    """
    parts = [part for part in SEPARATORS.split(word) if any(map(str.isalnum, part))]
    if not parts:
        return ""
    prefix = ":*" if is_last or len(parts[-1]) >= MIN_PREFIX_CHARS else ""
    sequence = " <-> ".join(_quote(part) for part in parts) + prefix
    return sequence if parts == [word] else f"(({sequence}) | {_quote(word)}{prefix})"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


_code, _text = (bindparam(name, type_=Text) for name in SearchQuery._fields)

# Not lower-cased in Python, which has another lower case for characters such as İ.
_folded_code: ColumnElement[str] = func.lower(_code)
HAS_CODE_PREFIX = and_(
    _code != literal_column("''"),
    items.c.folded_code >= _folded_code,
    items.c.folded_code < _folded_code.op("||")(LAST_CHARACTER),
)
"""The SQL condition that an item's code begins with the parameter ``code``."""

_text_query = func.to_tsquery(literal_column("'simple'::regconfig"), _text)
HAS_WORDS: ColumnElement[bool] = items.c.search.op("@@", is_comparison=True)(_text_query)
"""The SQL condition that an item's text has the words of the parameter ``text``."""

_code_score: ColumnElement[float] = case(
    (items.c.folded_code == _folded_code, literal_column("2.0")),
    (HAS_CODE_PREFIX, literal_column("1.0")),
    else_=literal_column("0.0"),
)
# 1 divides by 1 + log(length), because a word says more in a short statement.
RELEVANCE_SCORE = _code_score + func.ts_rank(items.c.search, _text_query, literal_column("1"))
"""The SQL for the score of a search result: best if the code equals the search, then if it begins
with the search, then by the words."""


async def search_items(
    database: Database, search: str, document: str | None, limit: int, offset: int
) -> list[Record]:
    """Return a page of the items that match a search, best match first.

    ``document`` is the identifier of the document to search; None searches all documents. Each row
    is (identifier, document_identifier, document_title, code, statement, item_type). Raises
    ``QueryTimeout``.
    """
    query = parse_search_query(search)
    statement = await choose_search_statement(database, query, document)
    page = {"document": document, "limit": limit, "offset": offset}
    return await database.run_heavy_read(statement, **query._asdict(), **page)


async def choose_search_statement(
    database: Database, query: SearchQuery, document: str | None
) -> CompiledStatement:
    """Return the faster of two compiled statements for a search, which return the same items.

    For words that Postgres expects in many items, it is the statement that reads the first pages of
    the table before the index. ``document`` is the identifier of the document to search, for which
    there is only one statement, or None for all documents.
    """
    if document is not None:
        return _compile_search(has_document_filter=True)
    estimate = await database.estimate(_compile_start_estimate_query(), **query._asdict())
    return _compile_search(start_pages=START_PAGES if estimate.rows >= MAX_CANDIDATES else None)


@cache
def _compile_start_estimate_query() -> CompiledStatement:
    """Compile the query whose estimate shows whether many items contain the searched words.

    It selects the matching items in the first ``START_PAGES`` pages of the table. Postgres only
    plans this query, to estimate the number of its rows.
    """
    is_at_start = _build_start_condition(START_PAGES)
    return CompiledStatement(_build_candidates_query(and_(is_at_start, HAS_WORDS)))


def _build_start_condition(pages: int) -> ColumnElement[bool]:
    return literal_column(f"items.ctid < '({pages},0)'::tid", Boolean)


@cache
def _compile_search(
    *, has_document_filter: bool = False, start_pages: int | None = None
) -> CompiledStatement:
    """Compile the query for a page of search results.

    At most ``MAX_CANDIDATES`` items are ranked; ``_build_candidates`` selects them by
    ``has_document_filter`` and ``start_pages``. Fields that are not needed for ranking are read
    only for the items on the page.
    """
    candidates = _build_candidates(has_document_filter=has_document_filter, start_pages=start_pages)
    best = (
        select(candidates)
        .order_by(*_build_search_order(candidates))
        .limit(LIMIT)
        .offset(OFFSET)
        .subquery("best")
    )
    return CompiledStatement(
        select(
            items.c.identifier,
            items.c.document_identifier,
            build_text_extract(documents.c.body, "title").label("document_title"),
            best.c.code,
            build_text_extract(items.c.body, "fullStatement").label("statement"),
            build_text_extract(items.c.body, "CFItemType").label("item_type"),
        )
        .select_from(best)
        .join(items, items.c.identifier == best.c.identifier)
        .join(documents, documents.c.identifier == items.c.document_identifier)
        .order_by(*_build_search_order(best))
    )


def _build_candidates(*, has_document_filter: bool, start_pages: int | None) -> Subquery:
    """Build the subquery of the items that are ranked, at most ``MAX_CANDIDATES``.

    1. ``by_code`` has the items whose code begins with the search. They are better than those found
       by words, so words are searched only if codes leave room.
    2. ``from_start`` has items with the words in the first ``start_pages`` pages of the table.
    3. Items with the words from the rest of the table, or from all of it without ``start_pages``,
       fill up the candidates. The order is that of the table as well, because a bitmap of the index
       is read in this order.
    """
    document = bindparam("document", type_=Text)
    scope = items.c.document_identifier == document if has_document_filter else true()
    has_words = and_(HAS_WORDS, scope)
    by_code = (
        _build_candidates_query(and_(HAS_CODE_PREFIX, scope))
        .order_by(items.c.folded_code)
        .limit(literal_column(str(MAX_CANDIDATES)))
        .cte("by_code")
    )
    parts = [by_code]
    if start_pages is not None:
        is_at_start = _build_start_condition(start_pages)
        from_start = _build_candidates_query(and_(has_words, is_at_start))
        parts.append(from_start.limit(_build_missing_count(by_code)).cte("from_start"))
        has_words = and_(has_words, not_(is_at_start))
    # A union instead of an OR, so that each part stops after enough candidates. Unsorted, because
    # sorting would read every match before the limit applies.
    return union(
        *(select(part) for part in parts),
        _build_candidates_query(has_words).limit(_build_missing_count(*parts)),
    ).subquery("candidates")


def _build_candidates_query(condition: ColumnElement[bool]) -> Select[Any]:
    """Build the query for the live items that match a condition, with the columns to sort them."""
    return select(
        items.c.identifier,
        RELEVANCE_SCORE.label("score"),
        build_text_extract(items.c.body, "humanCodingScheme").label("code"),
    ).where(condition, items.c.deleted_at.is_(None))


def _build_missing_count(*parts: CTE) -> ColumnElement[int]:
    """Build the SQL for how many more items a search has to find to rank ``MAX_CANDIDATES``.

    ``parts`` are the CTEs of the items found so far.
    """
    remaining: ColumnElement[int] = literal_column(str(MAX_CANDIDATES))
    for part in parts:
        remaining -= select(func.count()).select_from(part).scalar_subquery()
    return select(remaining).scalar_subquery()


def _build_search_order(rows: FromClause) -> tuple[ColumnElement[Any], ...]:
    return rows.c.score.desc(), func.length(rows.c.code), rows.c.code, rows.c.identifier
