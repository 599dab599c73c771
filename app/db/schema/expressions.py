"""SQL expressions that many queries need: JSON access and EXISTS."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Exists, Text, exists, literal_column


def json_value(value: ColumnElement[Any], *path: str) -> ColumnElement[Any]:
    """Build the SQL for the JSON value at a path of field names, with the operator ``->``."""
    for name in path:
        value = value.op("->")(literal_column(f"'{name}'"))
    return value


def json_text(value: ColumnElement[Any], *path: str) -> ColumnElement[str]:
    """Build the SQL for the value at a path of field names as text, with the operator ``->>``."""
    *parents, last = path
    return json_value(value, *parents).op("->>", return_type=Text())(literal_column(f"'{last}'"))


def exists_where(*conditions: ColumnElement[bool]) -> Exists:
    """Build the SQL condition EXISTS: true if there is a row for which all conditions hold."""
    return exists(literal_column("1")).where(*conditions)
