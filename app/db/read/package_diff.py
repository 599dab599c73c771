"""What storing a package would change of the framework that is here, before anything is written."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from anyio import to_thread
from sqlalchemy import Select, Text, bindparam, cast, func, literal_column, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from ...case.package import Package
from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, Resource
from ..schema.tables import table_of
from ..statement import CompiledStatement
from .body_digests import (
    container_link_column,
    digest_column,
    has_digest,
    home_ending,
    with_container_link,
)
from .visibility import live

if TYPE_CHECKING:
    from ..pool import Database

COMPARED = (DOCUMENTS, ITEMS, ASSOCIATIONS)
"""Definitions belong to all frameworks, and are left out."""

Key = tuple[str, str]
"""The kind and identifier of an entity."""


class PackageDiff(NamedTuple):
    """The entities that would be added, changed and deleted, in the order of what they are in."""

    added: list[Key]
    changed: list[Key]
    deleted: list[Key]


async def diff_package(database: Database, package: Package) -> PackageDiff:
    """What storing a package would do to its document, its items and its associations."""
    document = package.document_identifier
    values = {"document": document}
    body = await database.fetch_one(_document(), **values)
    values["home"] = home_ending(body["body"]) if body else ""
    rows = await database.scan(_prints(), **values)
    stored = {
        (row["kind"], row["identifier"]): (row["digest"], row["container_link"]) for row in rows
    }
    # Beside the event loop, which others need meanwhile.
    return await to_thread.run_sync(_compared, package, stored)


async def fetch_bodies(database: Database, keys: list[Key]) -> dict[Key, str]:
    """What entities say that are here, or were until they were deleted."""
    rows = await database.fetch_all(_bodies(), identifiers=[identifier for _, identifier in keys])
    return {(row["kind"], row["identifier"]): row["body"] for row in rows}


def _compared(package: Package, stored: dict[Key, tuple[str, str | None]]) -> PackageDiff:
    kinds = {resource.name for resource in COMPARED}
    found = PackageDiff([], [], [])
    left = dict(stored)
    for row in package.rows:
        key = (row.kind, row.identifier)
        if row.kind not in kinds:
            continue
        before = left.pop(key, None)
        if before is None:
            found.added.append(key)
            continue
        digest, link = before
        if not has_digest(with_container_link(row, link), digest):
            found.changed.append(key)
    found.deleted.extend(left)
    return found


@cache
def _prints() -> CompiledStatement:
    return CompiledStatement(union_all(*(_prints_of(resource) for resource in COMPARED)))


@cache
def _document() -> CompiledStatement:
    table, document = table_of(DOCUMENTS), bindparam("document", type_=Text)
    body = cast(table.c.body, Text).label("body")
    return CompiledStatement(select(body).where(table.c.identifier == document))


def _prints_of(resource: Resource) -> Select[Any]:
    table, document = table_of(resource), bindparam("document", type_=Text)
    own = table.c.identifier if resource is DOCUMENTS else table.c.document_identifier
    kind = literal_column(f"'{resource.name}'", Text).label("kind")
    columns = (kind, table.c.identifier, digest_column(table), container_link_column(table))
    return select(*columns).where(own == document, live(table))


@cache
def _bodies() -> CompiledStatement:
    asked = bindparam("identifiers", type_=ARRAY(Text))
    parts = []
    for resource in COMPARED:
        table = table_of(resource)
        kind = literal_column(f"'{resource.name}'", Text).label("kind")
        rows = select(kind, table.c.identifier, table.c.body)
        parts.append(rows.where(table.c.identifier == func.any(asked)))
    return CompiledStatement(union_all(*parts))
