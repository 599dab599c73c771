"""Workbooks and tables for tests, and what the import reads from them."""

import io
from typing import Any

from openpyxl import Workbook

from case_server.exceptions import Problem
from case_server.formats.file_format import FileFormat
from case_server.formats.reader import read_framework
from case_server.formats.writer import TableWriter
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.repair_log import RepairSummary

from .factories import Body
from .packages import catch_problems, list_entities

METADATA = MetadataOptions(title="Mathematics", creator="a district", identifier="maths")


def save_workbook(book: Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def build_workbook(**sheets: list[list[Any]]) -> bytes:
    """Return a workbook with these sheets of rows; an underscore in a name is a space."""
    book = Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name.replace("_", " "))
        for row in rows:
            sheet.append(row)
    return save_workbook(book)


def write_package(body: Body, file_format: FileFormat) -> bytes:
    """Return a table as ``export`` writes it: a CFPackage's document, items and associations."""
    file = io.BytesIO()
    with TableWriter(file, file_format) as tables:
        tables.add("CFDocument", body["CFDocument"])
        for kind in ("CFItem", "CFAssociation"):
            for entity in body[f"{kind}s"]:
                tables.add(kind, entity)
        tables.finish()
    return file.getvalue()


def read_items(
    file: str | bytes, file_format: FileFormat = "csv"
) -> tuple[list[Body], list[RepairSummary]]:
    """Return the items of a file, and the repairs that the import reports."""
    raw = file.encode() if isinstance(file, str) else file
    package, repairs = read_framework(raw, file_format, METADATA)
    return list_entities(package, "CFItem"), repairs


def find_problems(
    file: str | bytes,
    file_format: FileFormat = "csv",
    metadata: MetadataOptions = METADATA,
    *,
    strict: bool = False,
) -> list[Problem]:
    """Return the problems for which a file is refused."""
    raw = file.encode() if isinstance(file, str) else file
    return catch_problems(read_framework, raw, file_format, metadata, strict=strict)
