"""Filter keys: numbers for an item's scalar fields, in one index for ``=`` filters.

The SQL function ``item_filter_keys`` returns one key for each scalar field of an item: the number
of the field and a hash of its value in lower case. One GIN index of all keys takes 51 bytes per
item; B-trees of the same fields would take ten times as much, because a GIN index stores a key only
once, with a compressed list of the items that have it. For the same reason, the hash of a field
with mostly unique values has few bits. Different values may have the same key, so a filter
compares the value too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, Text, cast, event, func, literal_column
from sqlalchemy.dialects.postgresql import array

from .columns import metadata
from .expressions import build_text_extract

HASH_BITS = 16
"""Maximum number of bits of a hash; the bits above them are the number of the field."""

UNIQUE_HASH_BITS = 12
"""Number of bits of the hash of a mostly unique value. Of a million items, 250 have the same key,
and Postgres reads them in 2 ms."""

Path = tuple[str, ...]

_UNIQUE_FIELDS: tuple[Path, ...] = (
    ("identifier",),
    ("uri",),
    ("fullStatement",),
    ("alternativeLabel",),
    ("abbreviatedStatement",),
    ("notes",),
)
_REPEATED_FIELDS: tuple[Path, ...] = (
    ("CFItemType",),
    ("listEnumeration",),
    ("language",),
    *(
        (link, part)
        for link in ("CFItemTypeURI", "licenseURI", "CFDocumentURI", "conceptKeywordsURI")
        for part in ("title", "identifier", "uri")
    ),
)


class _KeyLayout(NamedTuple):
    """The layout of a field's filter keys, which are integers.

    ``number`` identifies the field, in the high bits of a key. The lowest ``hash_bits`` bits are a
    hash of the field's value.
    """

    number: int
    hash_bits: int


KEYED_FIELDS: dict[Path, _KeyLayout] = {
    path: _KeyLayout(number, UNIQUE_HASH_BITS if path in _UNIQUE_FIELDS else HASH_BITS)
    for number, path in enumerate((*_UNIQUE_FIELDS, *_REPEATED_FIELDS))
}
"""The fields of an item that have a filter key, by path.

The other scalar fields have B-trees, which serve ranges too: code, timestamp and dates."""


def build_key_condition(
    body: ColumnElement[Any], path: Path, value: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Build the SQL condition that a field of an item has the filter key of ``value``.

    An index serves it. ``body`` is the SQL for the item's JSON body, ``path`` the name of the field
    and of nested fields, and ``value`` the SQL for a value in lower case. Items with other values
    may meet the condition, because a key contains only a hash of the value.
    """
    keys = func.item_filter_keys(body)
    return keys.op("@>", is_comparison=True)(array([_build_filter_key(path, value)]))


def _build_filter_key(path: Path, value: ColumnElement[Any]) -> ColumnElement[int]:
    layout = KEYED_FIELDS[path]
    hashed = func.hashtextextended(value, literal_column(str(layout.number)))
    mask: ColumnElement[int] = literal_column(str(2**layout.hash_bits - 1))
    first: ColumnElement[int] = literal_column(str(layout.number << HASH_BITS))
    return cast(hashed.op("&")(mask), Integer) + first


def _build_function_key(path: Path) -> str:
    value = str(build_text_extract(literal_column("entity"), *path))
    if path == ("CFItemType",):
        # The type that the sdk profile shows for items without one.
        value = f"coalesce({value}, 'unknown')"
    return str(_build_filter_key(path, literal_column(f"lower({value})", Text)))


_KEYS = ",\n        ".join(_build_function_key(path) for path in KEYED_FIELDS)

# PL/pgSQL and jsonb, so that a body is parsed once: 6 us per item, and 18 us for one ->> per field.
CREATE_FUNCTION = f"""
CREATE FUNCTION item_filter_keys(body json) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    entity CONSTANT jsonb := body;
BEGIN
    RETURN array_remove(ARRAY[
        {_KEYS}
    ], NULL);
END $$"""
"""The SQL that creates ``item_filter_keys``, as the migrations do."""

CREATE_STATISTICS = "CREATE STATISTICS st_items_filter_keys ON (item_filter_keys(body)) FROM items"
"""The SQL for statistics of the keys, from which Postgres estimates how many items have a key. It
does not use those of a partial index."""


@event.listens_for(metadata, "before_create")
def _create_function(_: object, connection: Connection, **__: object) -> None:
    connection.exec_driver_sql(CREATE_FUNCTION)


@event.listens_for(metadata, "after_create")
def _create_statistics(_: object, connection: Connection, **__: object) -> None:
    connection.exec_driver_sql(CREATE_STATISTICS)
