"""Items by their words: code, statement and keywords, through the full-text index of Postgres.

The words of an item are those that ``columns.SEARCHED`` computes: without stems, so that every
language is searched alike.
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
from ..schema.json_sql import json_text
from ..statement import CompiledStatement

if TYPE_CHECKING:
    import asyncpg

    from ..pool import Database

CANDIDATES = 1000
"""How many items are ranked as somebody types: of a word that most items hold, any thousand."""

SHORTEST_PREFIX = 3
"""A shorter word must be found whole, unless it is the last, which may still be being typed."""

LONGEST = 200
"""The characters of a search that count."""

SEPARATORS = re.compile(r"[./:_\-\s]+")
SEARCH = tables.items.c.search

NOTHING = "'='"
"""The code of a search without any word, which would be the beginning of every code."""


class Words(NamedTuple):
    """What is searched for, as the two queries that Postgres runs."""

    code: str
    """The whole of it, as the beginning of a code."""
    text: str
    """Every word of it, as the beginning of a word."""


def words_of(search: str) -> Words:
    """A search read into the words it asks for; without any, nothing is found."""
    search = " ".join(search.replace("\x00", " ").split())[:LONGEST]
    found = search.split()
    parts = [_operand(one, last=place == len(found)) for place, one in enumerate(found, 1)]
    return Words(_quoted(f"={search.lower()}"), " & ".join(part for part in parts if part))


def _operand(found: str, *, last: bool) -> str:
    """One word: its parts in a row, as codes are stored, or all of it, as a number in a text."""
    pieces = [piece for piece in SEPARATORS.split(found) if any(map(str.isalnum, piece))]
    if not pieces:
        return ""
    prefix = ":*" if last or len(pieces[-1]) >= SHORTEST_PREFIX else ""
    row = " <-> ".join(_quoted(piece) for piece in pieces) + prefix
    return row if pieces == [found] else f"(({row}) | {_quoted(found)}{prefix})"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def matches(code: ColumnElement[str], text: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether an item is found; the arguments are the two texts of ``Words``."""
    return or_(
        SEARCH.op("@@", is_comparison=True)(_beginning(code)),
        SEARCH.op("@@", is_comparison=True)(func.to_tsquery(_simple(), text)),
    )


def relevance(code: ColumnElement[str], text: ColumnElement[str]) -> ColumnElement[float]:
    """How well an item is found: by its whole code, the beginning of it, then by its words."""
    exact = SEARCH.op("@@", is_comparison=True)(cast(code, TSQUERY))
    begins = SEARCH.op("@@", is_comparison=True)(_beginning(code))
    # One divided by the length: a short statement is more about its words than a long one.
    rank = func.ts_rank(SEARCH, func.to_tsquery(_simple(), text), literal_column("1"))
    whole: ColumnElement[float] = case(
        (exact, literal_column("2.0")), (begins, literal_column("1.0")), else_=literal_column("0.0")
    )
    return whole + rank


def _simple() -> ColumnElement[Any]:
    return literal_column("'simple'::regconfig")


def _beginning(code: ColumnElement[str]) -> ColumnElement[Any]:
    return cast(code.op("||")(literal_column("':*'")), TSQUERY)


async def search_items(
    database: Database, search: str, document: str | None, limit: int, offset: int
) -> list[asyncpg.Record]:
    """The items that a search finds, best first.

    Rows of (identifier, document_identifier, document_title, code, statement, item_type)
    is its title; of all frameworks, or of one.
    """
    words = words_of(search)
    if words.code == NOTHING:
        return []
    values = {"code": words.code, "text": words.text, "document": document}
    return await database.scan(_found(document is not None), **values, limit=limit, offset=offset)


def _bound(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text)


@cache
def _found(of_one_document: bool) -> CompiledStatement:  # noqa: FBT001  a key of the cache
    items, documents = tables.items, tables.documents
    code, text = _bound("code"), _bound("text")
    by_code = _candidates(SEARCH.op("@@", is_comparison=True)(_beginning(code)), of_one_document)
    query = func.to_tsquery(_simple(), text)
    by_text = _candidates(SEARCH.op("@@", is_comparison=True)(query), of_one_document)
    candidates = by_code.union(by_text).subquery("candidates")
    own = json_text(items.c.body, "humanCodingScheme")
    return CompiledStatement(
        select(
            items.c.identifier,
            items.c.document_identifier,
            json_text(documents.c.body, "title").label("document_title"),
            own.label("code"),
            json_text(items.c.body, "fullStatement").label("statement"),
            json_text(items.c.body, "CFItemType").label("item_type"),
        )
        .select_from(candidates)
        .join(items, items.c.identifier == candidates.c.identifier)
        .join(documents, documents.c.identifier == items.c.document_identifier)
        .order_by(relevance(code, text).desc(), func.length(own), own, items.c.identifier)
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
    )


def _candidates(found: ColumnElement[bool], of_one_document: bool) -> Select[Any]:  # noqa: FBT001
    table = tables.items
    here = [table.c.document_identifier == _bound("document")] if of_one_document else []
    # Not sorted: the first thousand that are met are enough to rank.
    return (
        select(table.c.identifier)
        .where(found, table.c.deleted_at.is_(None), *here)
        .limit(literal_column(str(CANDIDATES)))
    )
