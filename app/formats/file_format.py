"""The file formats of a framework, and the file name extensions that stand for them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

FileFormat: TypeAlias = Literal["case-json", "csv", "xlsx", "jsonl"]
"""A CFPackage as JSON, one table, a workbook, or JSON Lines with one entity a line."""

FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

TABLES: tuple[FileFormat, ...] = ("csv", "xlsx")
"""The formats that people fill in by hand, where a title may be missing."""

SUFFIXES: dict[str, FileFormat] = {
    ".json": "case-json",
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".jsonl": "jsonl",
}
COMPRESSED = ".gz"


def file_format_of(name: str) -> FileFormat | None:
    """Return the file format of a file name, compressed or not, or None if it is unknown."""
    bare = name.lower().removesuffix(COMPRESSED)
    return next((form for suffix, form in SUFFIXES.items() if bare.endswith(suffix)), None)
