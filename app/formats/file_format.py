"""The forms a framework may be written in, and the file names that say which."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

FileFormat: TypeAlias = Literal["case-json", "csv", "xlsx", "jsonl"]
"""A CFPackage in JSON, one table, a workbook of tables, or one entity a line."""

FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

TABLES: tuple[FileFormat, ...] = ("csv", "xlsx")
"""The forms that people write by hand, and that may lack a title."""

SUFFIXES: dict[str, FileFormat] = {
    ".json": "case-json",
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".jsonl": "jsonl",
}
COMPRESSED = ".gz"


def file_format_of(name: str) -> FileFormat | None:
    """The form that a file's name says, compressed or not."""
    bare = name.lower().removesuffix(COMPRESSED)
    return next((form for suffix, form in SUFFIXES.items() if bare.endswith(suffix)), None)
