"""Columns and indexes for lists of up to a million items; each index names its queries.

Generated columns rather than expressions, because Postgres can read only columns from an index
alone, and so skip the rows before an offset without reading the table. The index that needs the
extension pg_trgm is in ``trigrams.py``.
"""

from __future__ import annotations

from sqlalchemy import Column, Computed, Index, Text, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.sql.schema import SchemaItem

SORT_COLLATION = "C"
"""The collation by which lists are sorted: code points, the same order in every database.

CASE recommends the Unicode Collation Algorithm, but not every Postgres has ICU, and its order
changes with the version of ICU or of the C library, which makes indexes invalid."""

FOLDED_CODE_CHARS = 200
"""Number of indexed characters; with the identifier they fit into a page of an index."""

LIVE = text("deleted_at IS NULL")

DATE_INDEXES = {"statusStartDate": "ix_items_start_date", "statusEndDate": "ix_items_end_date"}
"""The indexes of the date fields of items, by field."""


def build_field_name_test(field: str) -> str:
    """Build the SQL condition that the name of a field occurs in the JSON text of a body.

    The test costs 1 us for each item, a third of reading the field. Items without it therefore add
    little to the cost of its index. The server stores names without escapes.
    """
    return f"strpos(CAST(body AS text), '\"{field}\"') > 0"


ITEM_LIST_COLUMNS: tuple[SchemaItem, ...] = (
    Column(
        "folded_code",
        Text(collation=SORT_COLLATION),
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
        comment="Generated: last_change_date_time in UTC, to the millisecond, as in responses.",
    ),
    # GET CFItems; pages far from the start read only this index.
    Index("ix_items_live", "identifier", postgresql_where=LIVE),
    # GET CFItems?filter=humanCodingScheme='…', with = or @, and ?sort=humanCodingScheme.
    Index("ix_items_code", "folded_code", "identifier", postgresql_where=LIVE),
    # GET CFItems?sort=humanCodingScheme&orderBy=desc. An own index, because the other one read
    # backwards begins with the items without a code.
    Index(
        "ix_items_code_descending",
        text("folded_code DESC NULLS LAST"),
        text("identifier DESC"),
        postgresql_where=LIVE,
    ),
    # GET CFItems?filter=lastChangeDateTime>'…' and ?sort=lastChangeDateTime, in both directions.
    Index("ix_items_changed", "changed_at", "identifier", postgresql_where=LIVE),
    # GET CFItems?filter=language='…' and other scalar fields, with = or @; see filter_keys.py.
    Index(
        "ix_items_filter_keys",
        text("item_filter_keys(body)"),
        postgresql_using="gin",
        postgresql_where=LIVE,
    ),
    # GET CFItems?filter=statusStartDate>'…' and statusEndDate. Few items have these fields.
    *(
        Index(
            name,
            text(f"lower((body ->> '{field}') COLLATE \"{SORT_COLLATION}\")"),
            postgresql_where=text(f"{LIVE} AND {build_field_name_test(field)}"),
        )
        for field, name in DATE_INDEXES.items()
    ),
)
"""Columns and indexes of the table ``items``."""

DOCUMENT_LIST_COLUMNS: tuple[SchemaItem, ...] = (
    Column(
        "folded_title",
        Text(collation=SORT_COLLATION),
        Computed("lower(body ->> 'title')", persisted=True),
        comment="Generated from the body: title in lower case.",
    ),
    Column(
        "searched_text",
        Text,
        Computed(
            "lower(coalesce(body ->> 'title', '') || ' ' || coalesce(body ->> 'creator', '')"
            " || ' ' || coalesce(body ->> 'publisher', ''))",
            persisted=True,
        ),
        comment="Generated from the body: title, creator and publisher in lower case.",
    ),
)
"""Columns of the table ``documents`` for the list of frameworks in the web UI.

Reading three fields from the bodies of 10,000 documents takes ten times as long."""
