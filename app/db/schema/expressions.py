"""SQL expressions that many statements need: JSON access and EXISTS."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Exists, Text, exists, literal_column


def json_value(value: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
    """Return the JSON value at a path of field names."""
    for name in path:
        value = value.op("->")(literal_column(f"'{name}'"))
    return value


def json_text(value: ColumnElement[Any], *path: str) -> ColumnElement[str]:
    """Return the value at a path of field names as text."""
    *parents, last = path
    return json_value(value, *parents).op("->>", return_type=Text())(literal_column(f"'{last}'"))


def exists_where(*conditions: ColumnElement[bool]) -> Exists:
    """Return the condition that a row exists for which all conditions hold."""
    return exists(literal_column("1")).where(*conditions)
