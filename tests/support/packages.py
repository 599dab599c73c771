"""Packages as the readers parse them: their entities, repairs and problems."""

import io
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from case_server.case.package import IdentifiedCFPackage, PreparedPackage, parse_package
from case_server.db.pool import Database
from case_server.db.write.upload.package import UploadResult, write_package
from case_server.exceptions import Problem, UnprocessableContent
from case_server.formats.file_format import FileFormat
from case_server.repair.reader import RepairedPackage, _read_unchanged
from case_server.repair.repair_log import RepairSummary
from case_server.transfer.exporter import export_framework

from .factories import Body


def to_json(body: Any) -> bytes:
    return json.dumps(body).encode()


def list_entities(package: PreparedPackage, kind: str) -> list[Body]:
    return [json.loads(row.body) for row in package.rows if row.kind == kind]


def count_repairs(repairs: Iterable[RepairSummary]) -> dict[str, int]:
    return {repair.kind: repair.count for repair in repairs}


def repair_package(raw: bytes) -> tuple[bytes, list[RepairSummary]]:
    """Return a JSON package as import repairs it, even if that is invalid, and the repairs."""
    if _read_unchanged(raw, IdentifiedCFPackage, allow_dense=False):
        return raw, []
    package = RepairedPackage(raw)
    package.deduplicate()
    repairs = package.log.summarize()
    return (package.json_bytes, repairs) if repairs else (raw, [])


def catch_problems(read: Callable[..., object], *arguments: Any, **options: Any) -> list[Problem]:
    """Return the problems with which a function refuses its arguments."""
    with pytest.raises(UnprocessableContent) as refused:
        read(*arguments, **options)
    return refused.value.problems


def catch_problem_paths(read: Callable[..., object], *arguments: Any, **options: Any) -> list[str]:
    return [problem["path"] for problem in catch_problems(read, *arguments, **options)]


async def store_package(database: Database, body: Body, **options: Any) -> UploadResult:
    return await write_package(database, parse_package(to_json(body)), **options)


async def export_package(
    database: Database, identifier: str, file_format: FileFormat = "case-json"
) -> bytes:
    file = io.BytesIO()
    await export_framework(database, identifier, file_format, file)
    return file.getvalue()
