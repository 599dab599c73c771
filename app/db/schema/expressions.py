"""SQL expressions that many statements need: parameters, JSON access and EXISTS."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Exists,
    Text,
    bindparam,
    exists,
    literal_column,
)

IDENTIFIER = bindparam("identifier", type_=Text)
IDENTIFIERS = bindparam("identifiers", type_=ARRAY(Text))

DOCUMENT = bindparam("document_identifier", type_=Text)
"""The identifier of the document whose framework a statement reads or writes."""

LIMIT, OFFSET = (bindparam(name, type_=BigInteger) for name in ("limit", "offset"))


def build_json_extract(value: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
    """Build the SQL that extracts a nested field from a JSON value, as JSON.

    ``path`` are the names of the fields: ``"licenseURI", "title"`` becomes
    ``value -> 'licenseURI' -> 'title'``.
    """
    for name in path:
        value = value.op("->")(literal_column(f"'{name}'"))
    return value


def build_text_extract(value: ColumnElement[Any], *path: str) -> ColumnElement[str]:
    """Build the SQL that extracts a nested field from a JSON value, as text.

    ``path`` are the names of the fields, as in ``build_json_extract``.
    """
    *parents, leaf = path
    return build_json_extract(value, *parents).op("->>", return_type=Text())(
        literal_column(f"'{leaf}'")
    )


def build_exists(*conditions: ColumnElement[bool]) -> Exists:
    """Build the SQL condition EXISTS, which is true if any row meets all ``conditions``."""
    return exists(literal_column("1")).where(*conditions)
