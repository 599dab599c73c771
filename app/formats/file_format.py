"""The forms a framework may be written in, and the file names that say which."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Form: TypeAlias = Literal["case-json", "csv", "xlsx", "jsonl"]
"""A CFPackage in JSON, one table, a workbook of tables, or one entity a line."""

FORMS: tuple[Form, ...] = get_args(Form)

TABLES: tuple[Form, ...] = ("csv", "xlsx")
"""The forms that people write by hand, and that may lack a title."""

SUFFIXES: dict[str, Form] = {
    ".json": "case-json",
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".jsonl": "jsonl",
}
COMPRESSED = ".gz"


def form_of(name: str) -> Form | None:
    """The form that a file's name says, compressed or not."""
    bare = name.lower().removesuffix(COMPRESSED)
    return next((form for suffix, form in SUFFIXES.items() if bare.endswith(suffix)), None)
