"""Full-text search for items by code, statement and keywords.

The column ``items.search`` holds the words of an item, without stemming, so that every language is
searched alike, and its whole code in lower case after an equals sign.
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
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from ..schema import tables
from ..schema.expressions import build_json_text
from ..statement import CompiledStatement

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database

MAX_CANDIDATES = 1000
"""Number of items ranked for one search; an arbitrary subset if more items match."""

MIN_PREFIX_CHARS = 3
"""Length from which a word matches as a prefix; the last word always does, as it may be partial."""

MAX_SEARCH_CHARS = 200
"""Number of characters of a search that are used."""

SEPARATORS = re.compile(r"[./:_\-\s]+")
SEARCH = tables.items.c.search

EMPTY_CODE = "'='"
"""The code query of a search without words; it would match the beginning of every code."""


class SearchQuery(NamedTuple):
    """The two Postgres tsqueries of a search, for item codes and for text; either may match."""

    code: str
    """The whole search as the beginning of a code."""
    text: str
    """Every word of the search as the beginning of a word."""


def parse_search(search: str) -> SearchQuery:
    """Turn a search that a user typed into tsqueries; a search without words matches nothing."""
    search = " ".join(search.replace("\x00", " ").split())[:MAX_SEARCH_CHARS]
    words = search.split()
    operands = [
        _build_operand(word, is_last=position == len(words))
        for position, word in enumerate(words, 1)
    ]
    code = _quote(f"={search}")
    return SearchQuery(code, " & ".join(operand for operand in operands if operand))


def _build_operand(word: str, *, is_last: bool) -> str:
    """Return the tsquery for one word of a search: its parts in sequence, or the whole word.

    Codes are indexed in parts, but a number with a dot in a statement is indexed as one word.
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


def build_match_condition(
    code: ColumnElement[str], text: ColumnElement[str]
) -> ColumnElement[bool]:
    """Build the SQL condition that an item matches the two tsqueries of a ``SearchQuery``."""
    return or_(_build_match(_build_code_prefix(code)), _build_match(_build_text_query(text)))


def build_relevance_score(
    code: ColumnElement[str], text: ColumnElement[str]
) -> ColumnElement[float]:
    """Build the SQL for a score by which search results are sorted.

    Exact matches of the code have the highest scores, then codes that begin with the search, then
    matches of words. The parameters are those of ``build_match_condition``.
    """
    is_exact = _build_match(cast(func.lower(code), TSQUERY))
    is_prefix = _build_match(_build_code_prefix(code))
    # 1 divides by 1 + log(length), because a word says more in a short statement.
    rank = func.ts_rank(SEARCH, _build_text_query(text), literal_column("1"))
    code_score: ColumnElement[float] = case(
        (is_exact, literal_column("2.0")),
        (is_prefix, literal_column("1.0")),
        else_=literal_column("0.0"),
    )
    return code_score + rank


def _build_match(query: ColumnElement[Any]) -> ColumnElement[bool]:
    return SEARCH.op("@@", is_comparison=True)(query)


def _build_code_prefix(code: ColumnElement[str]) -> ColumnElement[Any]:
    # By Postgres, as the stored code: Python has another lower case for characters such as İ.
    return cast(func.lower(code).op("||")(literal_column("':*'")), TSQUERY)


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
    queries = parse_search(search)
    if queries.code == EMPTY_CODE:
        return []
    values = {**queries._asdict(), "document": document}
    return await database.run_heavy_read(
        _compile_search(document is not None), **values, limit=limit, offset=offset
    )


def _bound(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text)


@cache
def _compile_search(in_document: bool) -> CompiledStatement:  # noqa: FBT001  a key of the cache
    items, documents = tables.items, tables.documents
    code, text = _bound("code"), _bound("text")
    # A union instead of an OR, so that each half stops after enough candidates.
    by_code = _build_candidates(_build_match(_build_code_prefix(code)), in_document)
    by_text = _build_candidates(_build_match(_build_text_query(text)), in_document)
    candidates = by_code.union(by_text).subquery("candidates")
    item_code = build_json_text(items.c.body, "humanCodingScheme")
    return CompiledStatement(
        select(
            items.c.identifier,
            items.c.document_identifier,
            build_json_text(documents.c.body, "title").label("document_title"),
            item_code.label("code"),
            build_json_text(items.c.body, "fullStatement").label("statement"),
            build_json_text(items.c.body, "CFItemType").label("item_type"),
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


def _build_candidates(condition: ColumnElement[bool], in_document: bool) -> Select[Any]:  # noqa: FBT001  only _compile_search calls it
    table = tables.items
    scope = [table.c.document_identifier == _bound("document")] if in_document else []
    # Unsorted, because sorting would read every match before the limit applies.
    return (
        select(table.c.identifier)
        .where(condition, table.c.deleted_at.is_(None), *scope)
        .limit(literal_column(str(MAX_CANDIDATES)))
    )
