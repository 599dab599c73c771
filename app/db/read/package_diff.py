"""Compare a package with the stored framework, without writing anything."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from anyio import to_thread
from sqlalchemy import ColumnElement, Text, bindparam, func, literal_column, select, union_all

from ...case.package import PreparedPackage
from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, ResourceType
from ..pool import Database
from ..schema.expressions import IDENTIFIERS
from ..schema.tables import get_document_column, get_table
from ..statement import CompiledStatement
from .body_digests import (
    add_container_link,
    build_container_link_column,
    build_digest_column,
    build_document_link_suffix,
    compile_document_body_query,
    matches_stored_entity,
)
from .visibility import build_live_condition

COMPARED_RESOURCES = (DOCUMENTS, ITEMS, ASSOCIATIONS)
"""The resources compared. Definitions are left out, because all frameworks share them."""

Key = tuple[str, str]
"""The kind and identifier of an entity."""


class PackageDiff(NamedTuple):
    """The entities that storing a package would add, change and delete.

    Entities are (kind, identifier) pairs, in the order of the package.
    """

    added: list[Key]
    changed: list[Key]
    deleted: list[Key]


async def diff_package(database: Database, package: PreparedPackage) -> PackageDiff:
    """Compare a package with the stored framework and return a ``PackageDiff``.

    It contains what storing the package would change. Only the document, items and associations are
    compared. Raises ``QueryTimeout`` if the query takes too long.
    """
    document = package.document_identifier
    row = await database.fetch_one(compile_document_body_query(), document_identifier=document)
    suffix = build_document_link_suffix(row["body"]) if row else ""
    rows = await database.run_heavy_read(_compile_digests(), document=document, link_suffix=suffix)
    stored = {(kind, identifier): (digest, link) for kind, identifier, digest, link in rows}
    # In a thread, because hashing a large package would block the event loop.
    return await to_thread.run_sync(_compare, package, stored)


async def fetch_bodies(database: Database, keys: list[Key]) -> dict[Key, str]:
    """Return the stored JSON bodies of entities, as a dict by (class name, identifier).

    ``keys`` are such pairs, for example ("CFItem", "…"). Soft-deleted entities are included.
    """
    identifiers = [identifier for _, identifier in keys]
    rows = await database.fetch_all(_compile_bodies(), identifiers=identifiers)
    return {(row["kind"], row["identifier"]): row["body"] for row in rows}


def _compare(package: PreparedPackage, stored: dict[Key, tuple[str, str | None]]) -> PackageDiff:
    kinds = {resource.name for resource in COMPARED_RESOURCES}
    diff = PackageDiff([], [], [])
    missing_rows = dict(stored)
    for row in package.rows:
        if row.kind not in kinds:
            continue
        key = (row.kind, row.identifier)
        if (entry := missing_rows.pop(key, None)) is None:
            diff.added.append(key)
            continue
        digest, container_link = entry
        if not matches_stored_entity(add_container_link(row, container_link), digest):
            diff.changed.append(key)
    diff.deleted.extend(missing_rows)
    return diff


@cache
def _compile_digests() -> CompiledStatement:
    document = bindparam("document", type_=Text)
    queries = []
    for resource in COMPARED_RESOURCES:
        table = get_table(resource)
        key = (_build_kind_column(resource), table.c.identifier)
        is_own = get_document_column(table) == document
        rows = select(*key, build_digest_column(table), build_container_link_column(table))
        queries.append(rows.where(is_own, build_live_condition(table)))
    return CompiledStatement(union_all(*queries))


@cache
def _compile_bodies() -> CompiledStatement:
    selects = []
    for resource in COMPARED_RESOURCES:
        table = get_table(resource)
        rows = select(_build_kind_column(resource), table.c.identifier, table.c.body)
        selects.append(rows.where(table.c.identifier == func.any(IDENTIFIERS)))
    return CompiledStatement(union_all(*selects))


def _build_kind_column(resource: ResourceType) -> ColumnElement[str]:
    return literal_column(f"'{resource.name}'", Text).label("kind")
