"""SQL expressions that many queries need: JSON access and EXISTS."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Exists, Text, exists, literal_column


def build_json_value(value: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
    """Build the SQL for the JSON at a path of field names in ``value``, using ``->``."""
    for name in path:
        value = value.op("->")(literal_column(f"'{name}'"))
    return value


def build_json_text(value: ColumnElement[Any], *path: str) -> ColumnElement[str]:
    """Build the SQL for the text at a path of field names in ``value``, using ``->>``."""
    *parents, last = path
    return build_json_value(value, *parents).op("->>", return_type=Text())(
        literal_column(f"'{last}'")
    )


def build_exists(*conditions: ColumnElement[bool]) -> Exists:
    """Build the SQL condition EXISTS: whether any row meets all conditions."""
    return exists(literal_column("1")).where(*conditions)
