"""A whole framework, read as of one moment: streamed from cursors, however large it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, or_, select

from ...case.resources import (
    CONCEPTS,
    DEFINITIONS,
    GROUPINGS,
    ITEM_TYPES,
    LICENSES,
    SUBJECTS,
    Resource,
)
from ...exceptions import NotFound
from ..pool import Database
from ..schema import tables
from ..schema.tables import table_of
from ..statement import CompiledStatement
from .visibility import body_of, live, select_nodes, visible

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg

    from ..connector import Connection

    Cursor: TypeAlias = asyncpg.cursor.Cursor[asyncpg.Record]

BATCH_SIZE = 200
"""How many bodies are fetched, and rendered, before others get their turn."""

DOCUMENT = bindparam("document_identifier", type_=Text)


@dataclass(frozen=True)
class FrameworkSnapshot:
    """A framework found, and the snapshot in which the rest of it is read."""

    document_identifier: str
    package_identifier: str
    document: str
    extensions: str | None
    definition_extensions: str | None
    database: Database
    connection: Connection

    async def iter_bodies(
        self, resource: Resource, *, prefetch: bool = False
    ) -> AsyncIterator[list[str]]:
        """The bodies of its items, associations, rubrics or definitions, batch by batch.

        With ``prefetch``, the next batch is requested while the caller uses the current one. Until
        all are read, the snapshot can run no other statement.
        """
        statement = _bodies(resource)
        arguments = statement.bind({"document_identifier": self.document_identifier})
        cursor = await self.connection.cursor(statement.sql, *arguments)
        batch = await self._fetch(cursor)
        while batch:
            more = len(batch) == BATCH_SIZE
            following = asyncio.ensure_future(self._fetch(cursor)) if more and prefetch else None
            try:
                if following:
                    await asyncio.sleep(0)  # it is sent before the batch is made use of
                yield [record["body"] for record in batch]
                batch = await (following or self._fetch(cursor)) if more else []
            except BaseException:
                if following:
                    # Nothing else can be asked of the connection before this has ended.
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                raise

    async def _fetch(self, cursor: Cursor) -> list[asyncpg.Record]:
        """Return the next batch; the timeout counts anew for each, as packages may be large."""
        with self.database.read_deadline():
            return await cursor.fetch(BATCH_SIZE)

    async def find_nodes(self, identifiers: set[str]) -> dict[str, str]:
        """Which of these are stored here, and among what: {identifier: "CFItems"}."""
        with self.database.read_deadline():
            found = await select_nodes().fetch_all(self.connection, identifiers=list(identifiers))
        return {record["identifier"]: record["plural"] for record in found}


@asynccontextmanager
async def framework_snapshot(
    database: Database, identifier: str
) -> AsyncIterator[FrameworkSnapshot]:
    """The framework whose package or document has this identifier. Raises ``NotFound``."""
    async with database.snapshot() as connection:
        with database.read_deadline():
            found = await _find().fetch_one(connection, identifier=identifier)
        if not found:
            raise NotFound("CFPackage or CFDocument", identifier)
        yield FrameworkSnapshot(database=database, connection=connection, **found)


async def find_document_of_package(database: Database, identifier: str) -> str | None:
    """The document, live or deleted, whose package or own identifier this is."""
    found = await database.fetch_one(_owner(), identifier=identifier)
    return found["document_identifier"] if found else None


def select_package(*columns: ColumnElement[Any]) -> Select[Any]:
    """The package with this identifier, or of this document: one, as no two share a name."""
    table, identifier = tables.packages, bindparam("identifier", type_=Text)
    either = or_(table.c.identifier == identifier, table.c.document_identifier == identifier)
    return select(*columns).select_from(table).where(either)


@cache
def _owner() -> CompiledStatement:
    # A deleted document may still be called as another's package is now.
    found = select_package(tables.packages.c.document_identifier).join(tables.documents)
    return CompiledStatement(found.order_by(tables.documents.c.deleted_at.is_not(None)))


@cache
def _find() -> CompiledStatement:
    package, document = tables.packages, tables.documents
    columns = (
        package.c.document_identifier,
        package.c.identifier.label("package_identifier"),
        document.c.body.label("document"),
        package.c.extensions,
        package.c.definition_extensions,
    )
    return CompiledStatement(select_package(*columns).join(document).where(live(document)))


@cache
def _bodies(resource: Resource) -> CompiledStatement:
    table = table_of(resource)
    mine = (
        table.c.identifier.in_(_referred(resource))
        if resource in DEFINITIONS
        else table.c.document_identifier == DOCUMENT
    )
    body = body_of(resource).label("body")
    return CompiledStatement(select(body).where(mine, visible(table)).order_by(table.c.ordinal))


def _referred(resource: Resource) -> Any:
    """What the framework's document, items and associations refer to, and what it defined."""
    defined = tables.package_definitions[resource.name]
    own = select(defined.c.definition_identifier).where(defined.c.document_identifier == DOCUMENT)
    return own.union(*DEFINITION_REFERENCES[resource.name])


def _of_items(column: ColumnElement[Any]) -> Select[Any]:
    table = tables.items
    here = and_(table.c.document_identifier == DOCUMENT, live(table))
    if column.table is table:
        return select(column).where(here, column.is_not(None))
    return select(column).join(table).where(here)


def _of_associations(column: ColumnElement[Any]) -> Select[Any]:
    table = tables.associations
    here = (table.c.document_identifier == DOCUMENT, visible(table))
    return select(column).where(*here, column.is_not(None))


def _of_document(column: ColumnElement[Any], key: ColumnElement[Any]) -> Select[Any]:
    return select(column).where(key == DOCUMENT, column.is_not(None))


DEFINITION_REFERENCES: dict[str, list[Select[Any]]] = {
    CONCEPTS.name: [_of_items(tables.item_concepts.c.concept_identifier)],
    SUBJECTS.name: [
        _of_items(tables.item_subjects.c.subject_identifier),
        _of_document(
            tables.document_subjects.c.subject_identifier,
            tables.document_subjects.c.document_identifier,
        ),
    ],
    LICENSES.name: [
        _of_items(tables.items.c.license_identifier),
        _of_document(tables.documents.c.license_identifier, tables.documents.c.identifier),
    ],
    ITEM_TYPES.name: [_of_items(tables.items.c.item_type_identifier)],
    GROUPINGS.name: [_of_associations(tables.associations.c.grouping_identifier)],
}
