"""What lists of a million items need beside their bodies: columns, and indexes over them.

Each index has its query. Columns rather than expressions, because Postgres reads only columns from
an index alone, and so passes over what an offset leaves out without a look at the table.
``trigrams.py`` has one index more, for which Postgres needs an extension.
"""

from __future__ import annotations

from sqlalchemy import Column, Computed, Index, Text, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.sql.schema import SchemaItem

FOLDED_CODE_CHARS = 200
"""Characters of a text that are indexed: with its identifier they fit into a page of an index."""

LIVE = text("deleted_at IS NULL")

ITEM_LIST_COLUMNS: tuple[SchemaItem, ...] = (
    Column(
        "folded_code",
        Text,
        Computed(f"left(lower(body ->> 'humanCodingScheme'), {FOLDED_CODE_CHARS})", persisted=True),
        comment=f"Generated from the body: the first {FOLDED_CODE_CHARS} characters of"
        " humanCodingScheme in lower case.",
    ),
    Column(
        "changed_at",
        TIMESTAMP(),
        Computed(
            "date_trunc('milliseconds', timezone('UTC', last_change_date_time))", persisted=True
        ),
        comment="Generated: last_change_date_time in UTC, to the millisecond, as it is answered.",
    ),
    # GET CFItems, and how many there are; pages far from the start look at nothing else.
    Index("ix_items_live", "identifier", postgresql_where=LIVE),
    # GET CFItems?filter=humanCodingScheme='…', with = or @, and ?sort=humanCodingScheme.
    Index("ix_items_code", "folded_code", "identifier", postgresql_where=LIVE),
    # GET CFItems?filter=lastChangeDateTime>'…' and ?sort=lastChangeDateTime: what has changed.
    Index("ix_items_changed", "changed_at", "identifier", postgresql_where=LIVE),
    # GET CFItems?filter=CFDocumentURI.identifier='…': the items of one framework.
    Index(
        "ix_items_document_link",
        text("lower((body -> 'CFDocumentURI') ->> 'identifier')"),
        postgresql_where=LIVE,
    ),
)
"""For the table of items."""
