"""Full-text search for items by code, statement and keywords.

The column ``items.search`` holds the words of an item, without stemming, so that every language is
searched alike. The beginning of a code is found by ``items.folded_code``, whose index returns the
first codes only: with words, Postgres would first collect all matches.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)

from ..schema.expressions import build_text_extract
from ..schema.tables import documents, items
from ..statement import CompiledStatement

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database

MAX_CANDIDATES = 1000
"""Number of items ranked for one search: those whose code matches, then an arbitrary subset."""

MIN_PREFIX_CHARS = 3
"""Length from which a word matches as a prefix; the last word always does, as it may be partial."""

MAX_SEARCH_CHARS = 200
"""Number of characters of a search that are used."""

SEPARATORS = re.compile(r"[./:_\-\s]+")

LAST_CHARACTER: ColumnElement[str] = literal_column("chr(1114111)")
"""SQL for the last character of Unicode, which no code contains."""


class SearchQuery(NamedTuple):
    """A parsed search: an item matches if its code or its text does."""

    code: str
    """The whole search, as the beginning of a code."""
    text: str
    """The Postgres tsquery with every word of the search as the beginning of a word."""


def parse_search_query(search: str) -> SearchQuery:
    """Return the ``SearchQuery`` for a user's search; one without words matches nothing."""
    search = " ".join(search.replace("\x00", " ").split())[:MAX_SEARCH_CHARS]
    words = search.split()
    operands = [
        _build_tsquery_operand(word, is_last=position == len(words))
        for position, word in enumerate(words, 1)
    ]
    return SearchQuery(search, " & ".join(operand for operand in operands if operand))


def _build_tsquery_operand(word: str, *, is_last: bool) -> str:
    """Return the tsquery that matches a word of a search, either whole or as parts in sequence.

    Codes are indexed in parts, but a number with a dot in a statement is indexed as one word. If
    ``is_last``, the word also matches as a prefix.
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


def build_search_condition(
    code: ColumnElement[str], text: ColumnElement[str]
) -> ColumnElement[bool]:
    """Build the condition that an item's code starts with ``code`` or its words match ``text``."""
    return or_(_build_code_prefix_condition(code), _build_text_condition(text))


def build_relevance_score(
    code: ColumnElement[str], text: ColumnElement[str]
) -> ColumnElement[float]:
    """Build the SQL for a score by which search results are sorted.

    Exact matches of the code have the highest scores, then codes that begin with the search text,
    then matches of words. ``code`` and ``text`` are the SQL for the fields of a ``SearchQuery``.
    """
    # 1 divides by 1 + log(length), because a word says more in a short statement.
    rank = func.ts_rank(items.c.search, _build_text_query(text), literal_column("1"))
    code_score: ColumnElement[float] = case(
        (items.c.folded_code == func.lower(code), literal_column("2.0")),
        (_build_code_prefix_condition(code), literal_column("1.0")),
        else_=literal_column("0.0"),
    )
    return code_score + rank


def _build_code_prefix_condition(code: ColumnElement[str]) -> ColumnElement[bool]:
    # Not lower-cased in Python, which has another lower case for characters such as İ.
    first = func.lower(code)
    last = first.op("||")(LAST_CHARACTER)
    return and_(
        code != literal_column("''"), items.c.folded_code >= first, items.c.folded_code < last
    )


def _build_text_condition(text: ColumnElement[str]) -> ColumnElement[bool]:
    return items.c.search.op("@@", is_comparison=True)(_build_text_query(text))


def _build_text_query(text: ColumnElement[str]) -> ColumnElement[Any]:
    return func.to_tsquery(literal_column("'simple'::regconfig"), text)


async def search_items(
    database: Database, search: str, document: str | None, limit: int, offset: int
) -> list[asyncpg.Record]:
    """Return a page of the items that match a search, best match first.

    ``document`` is the identifier of the document to search; None searches all documents. Each row
    is (identifier, document_identifier, document_title, code, statement, item_type). Raises
    ``QueryTimeout``.
    """
    values = {**parse_search_query(search)._asdict(), "document": document}
    return await database.run_heavy_read(
        _compile_search(document is not None), **values, limit=limit, offset=offset
    )


def _bound(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text)


@cache
def _compile_search(in_document: bool) -> CompiledStatement:  # noqa: FBT001  a key of the cache
    code, text = _bound("code"), _bound("text")
    # A union instead of an OR, so that each half stops after enough candidates. Items found by code
    # are better than those found by words, so words are searched only if codes leave room.
    by_code = (
        _build_candidates(_build_code_prefix_condition(code), in_document)
        .order_by(items.c.folded_code)
        .limit(literal_column(str(MAX_CANDIDATES)))
        .cte("by_code")
    )
    remaining: ColumnElement[int] = literal_column(str(MAX_CANDIDATES)) - func.count()
    # Unsorted, because sorting would read every match before the limit applies.
    by_text = _build_candidates(_build_text_condition(text), in_document).limit(
        select(remaining).select_from(by_code).scalar_subquery()
    )
    candidates = select(by_code.c.identifier).union(by_text).subquery("candidates")
    item_code = build_text_extract(items.c.body, "humanCodingScheme")
    return CompiledStatement(
        select(
            items.c.identifier,
            items.c.document_identifier,
            build_text_extract(documents.c.body, "title").label("document_title"),
            item_code.label("code"),
            build_text_extract(items.c.body, "fullStatement").label("statement"),
            build_text_extract(items.c.body, "CFItemType").label("item_type"),
        )
        .select_from(candidates)
        .join(items, items.c.identifier == candidates.c.identifier)
        .join(documents, documents.c.identifier == items.c.document_identifier)
        .order_by(
            build_relevance_score(code, text).desc(),
            func.length(item_code),
            item_code,
            items.c.identifier,
        )
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
    )


def _build_candidates(condition: ColumnElement[bool], in_document: bool) -> Select[Any]:  # noqa: FBT001  one caller
    scope = [items.c.document_identifier == _bound("document")] if in_document else []
    return select(items.c.identifier).where(condition, items.c.deleted_at.is_(None), *scope)
