"""The file formats of a framework, their file name extensions, and formats that are refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, Self, TypeAlias, get_args

from ..exceptions import BadRequest

FileFormat: TypeAlias = Literal["case-json", "csv", "xlsx", "jsonl"]
"""A CFPackage as JSON, one table, a workbook, or JSON Lines with one entity a line."""

FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

TABLES: tuple[FileFormat, ...] = ("csv", "xlsx")
"""The formats that people fill in by hand, where a title may be missing."""

ExportLayout: TypeAlias = Literal["opensalt"]
"""The layouts of tables that ``export`` writes besides its own."""

EXPORT_LAYOUTS: tuple[ExportLayout, ...] = get_args(ExportLayout)

SUFFIXES: dict[str, FileFormat] = {
    ".json": "case-json",
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".jsonl": "jsonl",
}
COMPRESSED = ".gz"

REFUSED_SUFFIXES = {
    ".xls": "the file is an Excel 97-2003 workbook (.xls) or has a password: save it as an Excel "
    "workbook (.xlsx) without a password, or as CSV UTF-8",
    ".ods": "the file is an OpenDocument spreadsheet (.ods): save it as an Excel workbook (.xlsx) "
    "or as CSV UTF-8",
}
"""Extensions of spreadsheets that are not read, and what to do."""

OLE2_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
"""First bytes of .xls files, and of XLSX files with a password."""

OPENDOCUMENT_MARK = b"mimetypeapplication/vnd.oasis.opendocument."
"""The name and the content of the first member of the ZIP archive of an .ods file."""

ZIP_HEADER_BYTES = 30


class FrameworkWriter(ABC):
    """Interface for file-format writers: call ``add`` for each entity, then ``finish``.

    A writer is a context manager. It does not close the file, because the caller opened it.
    """

    notes: Sequence[str] = ()
    """Messages about what the file does not hold; complete after ``finish``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:  # noqa: B027  not every writer opens something
        """Release resources such as temporary files, but leave the output file open."""

    @abstractmethod
    def add(self, kind: str, entity: dict[str, Any]) -> None:
        """Add an entity, as its JSON in a CFPackage; ``kind`` is its class, such as CFItem."""

    def finish(self) -> None:  # noqa: B027  not every file has such parts
        """Write the parts of the file that depend on all entities, such as the headings in use."""


def detect_file_format(filename: str) -> FileFormat | None:
    """Return the file format for a file name's extension, such as "csv"; None if unknown.

    A final ``.gz`` is ignored: ``maths.csv.gz`` is a CSV file.
    """
    name = filename.lower().removesuffix(COMPRESSED)
    return next(
        (file_format for suffix, file_format in SUFFIXES.items() if name.endswith(suffix)), None
    )


def reject_unsupported_spreadsheet(raw: bytes) -> None:
    """Raise ``BadRequest`` with advice if the bytes are an .xls or .ods file."""
    if raw.startswith(OLE2_MAGIC):
        raise BadRequest(REFUSED_SUFFIXES[".xls"])
    if raw.startswith(OPENDOCUMENT_MARK, ZIP_HEADER_BYTES):
        raise BadRequest(REFUSED_SUFFIXES[".ods"])
