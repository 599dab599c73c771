"""Index the scalar fields of items: one index of filter keys, and one for each date."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_filter_keys"
down_revision = "2026_11_27_search_without_codes"
branch_labels = None
depends_on = None

UNIQUE_FIELDS = [
    "entity ->> 'identifier'",
    "entity ->> 'uri'",
    "entity ->> 'fullStatement'",
    "entity ->> 'alternativeLabel'",
    "entity ->> 'abbreviatedStatement'",
    "entity ->> 'notes'",
]
REPEATED_FIELDS = [
    "coalesce(entity ->> 'CFItemType', 'unknown')",
    "entity ->> 'listEnumeration'",
    "entity ->> 'language'",
    *(
        f"(entity -> '{link}') ->> '{part}'"
        for link in ("CFItemTypeURI", "licenseURI", "CFDocumentURI", "conceptKeywordsURI")
        for part in ("title", "identifier", "uri")
    ),
]
KEYS = ",\n        ".join(
    f"CAST(hashtextextended(lower({value}), {number}) & {mask} AS INTEGER) + {number << 16}"
    for number, (value, mask) in enumerate(
        [
            *((value, 4095) for value in UNIQUE_FIELDS),
            *((value, 65535) for value in REPEATED_FIELDS),
        ]
    )
)
CREATE_FUNCTION = f"""
CREATE FUNCTION item_filter_keys(body json) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    entity CONSTANT jsonb := body;
BEGIN
    RETURN array_remove(ARRAY[
        {KEYS}
    ], NULL);
END $$"""

DATES = {"ix_items_start_date": "statusStartDate", "ix_items_end_date": "statusEndDate"}


def upgrade() -> None:
    op.execute(CREATE_FUNCTION)
    op.create_index(
        "ix_items_filter_keys",
        "items",
        [sa.text("item_filter_keys(body)")],
        postgresql_using="gin",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    # Postgres does not use the statistics of an expression of a partial index.
    op.execute("CREATE STATISTICS st_items_filter_keys ON (item_filter_keys(body)) FROM items")
    for name, field in DATES.items():
        op.create_index(
            name,
            "items",
            [sa.text(f"lower((body ->> '{field}') COLLATE \"C\")")],
            postgresql_where=sa.text(
                f"deleted_at IS NULL AND strpos(CAST(body AS text), '\"{field}\"') > 0"
            ),
        )
    op.drop_index("ix_items_document_link", "items")


def downgrade() -> None:
    op.create_index(
        "ix_items_document_link",
        "items",
        [sa.text("lower((body -> 'CFDocumentURI') ->> 'identifier')")],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    for name in (*DATES, "ix_items_filter_keys"):
        op.drop_index(name, "items")
    op.execute("DROP STATISTICS st_items_filter_keys")
    op.execute("DROP FUNCTION item_filter_keys(json)")
