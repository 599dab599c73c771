"""Read a whole framework from one snapshot, in batches of bodies.

A framework of 15,000 items is streamed by cursors, so that memory use does not depend on its size.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, Select, Table, or_, select

from ...case.resources import (
    CONCEPTS,
    DEFINITIONS,
    GROUPINGS,
    ITEM_TYPES,
    LICENSES,
    SUBJECTS,
    ResourceType,
)
from ...exceptions import NotFound
from ..connector import Connection
from ..pool import Database
from ..schema import tables
from ..schema.expressions import DOCUMENT, IDENTIFIER
from ..schema.tables import get_document_column, get_table
from ..statement import CompiledStatement
from .visibility import (
    build_body_expression,
    build_live_condition,
    build_visible_condition,
    compile_live_nodes_query,
)

BATCH_SIZE = 200
"""Number of bodies fetched and rendered before the event loop runs other tasks."""


@dataclass(frozen=True)
class FrameworkSnapshot:
    """A consistent view of one framework in an open transaction, which streams its entities."""

    document_identifier: str
    package_identifier: str
    document: str
    """The body of the document."""
    extensions: str | None
    definition_extensions: str | None
    database: Database
    connection: Connection

    async def iter_bodies(
        self, resource: ResourceType, *, prefetch: bool = False
    ) -> AsyncIterator[list[str]]:
        """Yield the JSON bodies of the framework's entities of one resource type, in batches.

        Each batch has at most ``BATCH_SIZE`` bodies. With ``prefetch``, the next batch is requested
        while the caller uses the current one. The connection must then not be used for other SQL
        statements until the last batch. Raises ``QueryTimeout``.
        """
        statement = _compile_bodies(resource)
        arguments = statement.bind({"document_identifier": self.document_identifier})
        cursor = await self.connection.cursor(statement.sql, *arguments)
        batch = await self._fetch(cursor)
        while batch:
            has_more = len(batch) == BATCH_SIZE
            should_request = has_more and prefetch
            next_batch = asyncio.ensure_future(self._fetch(cursor)) if should_request else None
            try:
                if next_batch:
                    await asyncio.sleep(0)  # so that the request is sent before the caller works
                yield [row["body"] for row in batch]
                batch = await (next_batch or self._fetch(cursor)) if has_more else []
            except BaseException:
                if next_batch:
                    # The connection is busy until this request has ended. It is not cancelled,
                    # because a cancelled statement would abort the transaction.
                    await asyncio.gather(next_batch, return_exceptions=True)
                raise

    async def _fetch(self, cursor: asyncpg.cursor.Cursor[asyncpg.Record]) -> list[asyncpg.Record]:
        # A deadline for each batch, because a large package may take longer than one allows.
        with self.database.limit_read_time():
            return await cursor.fetch(BATCH_SIZE)

    async def find_node_collections(self, identifiers: set[str]) -> dict[str, str]:
        """Map identifiers of live items to "CFItems", and of live documents to "CFDocuments"."""
        query = compile_live_nodes_query()
        with self.database.limit_read_time():
            rows = await query.fetch_all(self.connection, identifiers=list(identifiers))
        return {row["identifier"]: row["collection"] for row in rows}


@asynccontextmanager
async def open_framework_snapshot(
    database: Database, identifier: str
) -> AsyncIterator[FrameworkSnapshot]:
    """Return a context manager that yields a snapshot of one live framework.

    ``identifier`` is that of the framework's package or document. The context manager raises
    ``NotFound`` if there is no such framework.
    """
    async with database.open_snapshot() as connection:
        with database.limit_read_time():
            row = await _compile_snapshot().fetch_one(connection, identifier=identifier)
        if not row:
            raise make_framework_not_found_error(identifier)
        yield FrameworkSnapshot(database=database, connection=connection, **row)


def make_framework_not_found_error(identifier: str) -> NotFound:
    """Create the ``NotFound`` error for an identifier that no live package or document has."""
    return NotFound("CFPackage or CFDocument", identifier, "CFDocuments lists all frameworks")


async def find_document_id(database: Database, identifier: str) -> str | None:
    """Return the identifier of the document with this package or document identifier, or None.

    The document may be soft-deleted.
    """
    row = await database.fetch_one(_compile_document_id(), identifier=identifier)
    return row["document_identifier"] if row else None


def build_package_query(*columns: ColumnElement[Any]) -> Select[Any]:
    """Build the query that selects ``columns`` for one package.

    The SQL parameter ``identifier`` is the identifier of the package or of its document. There is
    at most one row, because packages and documents share one set of identifiers.
    """
    table = tables.packages
    has_name = or_(table.c.identifier == IDENTIFIER, table.c.document_identifier == IDENTIFIER)
    return select(*columns).select_from(table).where(has_name)


@cache
def _compile_document_id() -> CompiledStatement:
    # Live ones first, because a deleted document's identifier may now be that of another package.
    rows = build_package_query(tables.packages.c.document_identifier).join(tables.documents)
    return CompiledStatement(rows.order_by(tables.documents.c.deleted_at.is_not(None)))


@cache
def _compile_snapshot() -> CompiledStatement:
    package, document = tables.packages, tables.documents
    columns = (
        package.c.document_identifier,
        package.c.identifier.label("package_identifier"),
        document.c.body.label("document"),
        package.c.extensions,
        package.c.definition_extensions,
    )
    row = build_package_query(*columns).join(document).where(build_live_condition(document))
    return CompiledStatement(row, has_generic_plan=True)


@cache
def _compile_bodies(resource: ResourceType) -> CompiledStatement:
    table = get_table(resource)
    body = build_body_expression(resource).label("body")
    # Entities that come from different packages may have the same ordinal.
    order = (table.c.ordinal, table.c.identifier)
    rows = select(body).where(build_visible_condition(table)).order_by(*order)
    if resource not in DEFINITIONS:
        return CompiledStatement(rows.where(table.c.document_identifier == DOCUMENT))
    links = tables.package_definitions[resource.name].c
    listed_identifiers = select(links.definition_identifier).where(
        links.document_identifier == DOCUMENT
    )
    used_identifiers = listed_identifiers.union(*DEFINITION_REFERENCES[resource.name])
    return CompiledStatement(rows.where(table.c.identifier.in_(used_identifiers)))


def _build_reference_query(table: Table, name: str) -> Select[Any]:
    """Build the query for the identifiers of the definitions to which a framework refers.

    ``table`` is the entity table or the table of links that contains the references. Its column
    ``name`` has the identifier of the definition, such as ``subject_identifier``.
    """
    column, owner = table.c[name], table
    rows = select(column)
    if "item_identifier" in table.c:
        rows, owner = rows.join(tables.items), tables.items
    is_own = get_document_column(owner) == DOCUMENT
    return rows.where(is_own, build_visible_condition(owner), column.is_not(None))


DEFINITION_REFERENCES: dict[str, list[Select[Any]]] = {
    CONCEPTS.name: [_build_reference_query(tables.item_concepts, "concept_identifier")],
    SUBJECTS.name: [
        _build_reference_query(table, "subject_identifier")
        for table in (tables.item_subjects, tables.document_subjects)
    ],
    LICENSES.name: [
        _build_reference_query(table, "license_identifier")
        for table in (tables.items, tables.documents)
    ],
    ITEM_TYPES.name: [_build_reference_query(tables.items, "item_type_identifier")],
    GROUPINGS.name: [_build_reference_query(tables.associations, "grouping_identifier")],
}
"""Selects the definitions of each kind that the entities of a framework refer to."""
