"""The staging table, to which an upload copies its rows to compare them with stored rows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from anyio import to_thread
from asyncpg import Record
from sqlalchemy import (
    CTE,
    JSON,
    BigInteger,
    Column,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    literal,
    select,
)
from sqlalchemy.schema import CreateTable

from ....case.package import EntityRow, PreparedPackage
from ....case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS, ResourceType
from ...connector import Connection, terminate
from ...read.body_digests import (
    add_container_link,
    build_container_link_column,
    build_digest_column,
    build_document_link_suffix,
    compile_document_body_query,
    matches_stored_entity,
)
from ...read.visibility import build_live_condition
from ...schema import tables
from ...schema.expressions import DOCUMENT
from ...statement import DIALECT, CompiledStatement
from ..dml import REFERENCES
from ..stored_form_converter import StoredFormConverter

STAGED = Table(
    "staged",
    MetaData(),
    Column("ordinal", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("body", JSON),
    Column("last_change_date_time", tables.TimestampTZ, nullable=False),
    Column("keywords", JSON),
    Column("parent", Text),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""``position`` is the index of a row among the rows of its kind in the package. ``ordinal`` is the
position to store: a criterion or level is counted within its rubric or criterion, so that a rubric
does not change when another rubric does. ``body`` is NULL if the entity is stored unchanged."""

LARGE_RESOURCES = (ITEMS, ASSOCIATIONS)
"""The resources with many entities, whose unchanged rows are not copied as a whole."""

LARGE_KINDS = tuple(resource.name for resource in LARGE_RESOURCES)

CRITERION, LEVEL = "CFRubricCriterion", "CFRubricCriterionLevel"
"""The kinds of the rows that are parts of rubrics."""

RUBRIC_KINDS = (RUBRICS.name, CRITERION, LEVEL)

PREREQUISITE_KINDS = (DOCUMENTS.name, *(resource.name for resource in DEFINITIONS))
"""The document and the definitions, which come first because other rows refer to them."""

KINDS = (*PREREQUISITE_KINDS, *LARGE_KINDS, *RUBRIC_KINDS)
"""The kinds of all rows of a package, in their order."""

BATCH_SIZE = 500
"""Number of rows that are read in a worker thread before they are sent."""

REFERENCE_FIELDS = {
    reference.field for references in REFERENCES.values() for reference in references
}


class StagingSummary(NamedTuple):
    """Facts about the staged rows that determine which SQL statements an upload runs."""

    is_document_stored: bool
    """True if the document was stored before, live or deleted."""
    fields: frozenset[str]
    """The names of the fields with links to definitions that any row contains."""
    reordered_kinds: frozenset[str] = frozenset()
    """The kinds whose stored rows may need new ordinals."""


StoredRows: TypeAlias = dict[tuple[str, str], tuple[int, str, str | None]]
"""{(kind, identifier): (ordinal, digest of the body, link as of ``add_container_link``)}."""


async def stage_package(
    connection: Connection,
    package: PreparedPackage,
    converter: StoredFormConverter,
    *,
    is_stored: bool,
) -> tuple[StagingSummary, Counter[str]]:
    """Copy a package to the staging table; return its summary and the number of rows by kind.

    ``converter`` converts the entities to their stored form. ``is_stored`` says whether the
    package's document is stored, live or deleted. Items and associations that are stored unchanged
    are staged without their body, so that they are neither written nor deleted as missing. Errors
    while reading the package are raised.
    """
    await create_staging_table(connection)
    stored = await _fetch_stored_rows(connection, package) if is_stored else {}
    stager = RowStager(package, converter, stored)
    await copy_to_staging_table(connection, stager.iter_rows())
    reordered_kinds = frozenset(stager.reordered_kinds if is_stored else ())
    summary = StagingSummary(is_stored, frozenset(stager.fields), reordered_kinds)
    return summary, stager.counts


async def create_staging_table(connection: Connection) -> None:
    """Create the temporary table to which an upload copies the entities of its package.

    Postgres drops it at the end of the transaction.
    """
    await connection.execute(str(CreateTable(STAGED).compile(dialect=DIALECT)))


async def copy_to_staging_table(connection: Connection, rows: AsyncIterable[StagedRow]) -> None:
    """Copy rows to the staging table, then run ANALYZE on it for Postgres' planner."""
    await copy_rows(connection, STAGED.name, rows, [column.name for column in STAGED.c])
    # Without statistics the planner would assume that the staging table is small.
    await connection.execute("ANALYZE staged (ordinal, kind, identifier)")


async def copy_rows(
    connection: Connection, table: str, rows: AsyncIterable[Any], columns: Sequence[str]
) -> None:
    """Copy tuples of the given columns to a table with COPY.

    If the iterator ``rows`` raises an error, COPY stores the rows before it, and the error is
    raised afterwards; the caller rolls the transaction back.
    """
    # If the iterator raised an error during COPY, asyncpg would cancel the COPY. It would wait
    # forever for that if the COPY had already failed.
    errors: list[BaseException] = []

    async def iter_until_error() -> AsyncIterator[Any]:
        try:
            async for row in rows:
                yield row
        except BaseException as error:  # noqa: BLE001  it is raised below
            errors.append(error)

    try:
        await connection.copy_records_to_table(table, records=iter_until_error(), columns=columns)
    except asyncio.CancelledError:
        terminate(connection)
        raise
    except Exception:
        if not errors:
            raise
    for error in errors:
        raise error


class StagedRow(NamedTuple):
    """A row of the staging table: one entity of the uploaded package.

    ``kind`` is its class, such as ``"CFItem"``. ``STAGED`` explains the other columns.
    """

    ordinal: int
    kind: str
    position: int
    identifier: str
    body: str | None
    last_change_date_time: datetime
    keywords: str | None
    parent: str | None


class RowStager:
    """Converts the entities of a package to rows of the staging table, and counts them.

    While rows are read, ``counts`` gets the number of entities by kind, ``fields`` the names of
    fields that link to definitions, such as "subjectURI", and ``reordered_kinds`` the kinds of
    which a stored row needs another ordinal.
    """

    def __init__(
        self,
        package: PreparedPackage,
        converter: StoredFormConverter,
        stored: StoredRows | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.fields: set[str] = set()
        self.reordered_kinds: set[str] = set()
        self._converter = converter
        self._stored = stored or {}
        self._last_ordinals: dict[str, int] = {}
        self._siblings: Counter[tuple[str, str | None]] = Counter()
        self._unseen_fields = {f'"{field}":': field for field in REFERENCE_FIELDS}
        self._rows = iter(package.rows)
        self._next_row = next(self._rows, None)

    @property
    def is_exhausted(self) -> bool:
        """True if all rows of the package have been read."""
        return self._next_row is None

    async def iter_rows(self, kinds: Collection[str] = KINDS) -> AsyncIterator[StagedRow]:
        """Convert and yield the package's rows, from where the previous call stopped.

        Stops at the end of the package, or before the first row whose kind, such as ``"CFItem"``,
        is not in ``kinds``. Rows are parsed and converted in a worker thread.
        """
        # In a worker thread, because parsing would block the event loop.
        while batch := await to_thread.run_sync(self._read_batch, kinds):
            for row in batch:
                yield row

    def _read_batch(self, kinds: Collection[str]) -> list[StagedRow]:
        batch: list[StagedRow] = []
        while self._next_row and self._next_row.kind in kinds and len(batch) < BATCH_SIZE:
            batch.append(self._stage(self._next_row))
            self._next_row = next(self._rows, None)
        return batch

    def _stage(self, row: EntityRow) -> StagedRow:
        row = self._converter.to_stored_row(row)
        position = self.counts[row.kind]
        self.counts[row.kind] += 1
        key = (row.kind, row.identifier)
        stored_ordinal, digest, container_link = self._stored.get(key, (None, None, None))
        row = add_container_link(row, container_link)
        body: str | None = row.body
        if digest and row.keywords is None and matches_stored_entity(row, digest):
            body = None
        else:
            for name in [name for name in self._unseen_fields if name in row.body]:
                self.fields.add(self._unseen_fields.pop(name))
        return StagedRow(
            self._choose_ordinal(row, stored_ordinal),
            row.kind,
            position,
            row.identifier,
            body,
            row.last_change_date_time,
            row.keywords,
            row.parent,
        )

    def _choose_ordinal(self, row: EntityRow, stored: int | None) -> int:
        """Return the number by which an entity is sorted among those of its kind or parent.

        ``stored`` is the ordinal in the database, or None. An item or association keeps it if it is
        greater than that of the previous row, so that an insertion near the front does not rewrite
        all later rows; otherwise it gets the next number. Other entities are numbered from 0 within
        their parent.
        """
        if row.kind not in LARGE_KINDS:
            self.reordered_kinds.update({row.kind} & {RUBRICS.name})
            sibling_count = self._siblings[row.kind, row.parent]
            self._siblings[row.kind, row.parent] += 1
            return sibling_count
        last = self._last_ordinals.get(row.kind, -1)
        ordinal = last + 1 if stored is None or stored <= last else stored
        # Entities that are PUT take ordinals from ORDINAL_START on, so one after them may collide
        # with the next entity that is PUT.
        may_collide = stored is None and ordinal >= tables.ORDINAL_START
        if may_collide or (stored is not None and ordinal != stored):
            self.reordered_kinds.add(row.kind)
        self._last_ordinals[row.kind] = ordinal
        return ordinal


async def _fetch_stored_rows(connection: Connection, package: PreparedPackage) -> StoredRows:
    """Fetch what is stored of the items and associations of a package's document.

    Returns ``{(kind, identifier): (ordinal, digest, link)}``. ``digest`` is the MD5 digest of the
    JSON body, and ``link`` the entity's CFDocumentURI as JSON, or None if it is the usual one.
    """
    stored: StoredRows = {}

    def add(kind: str, rows: Sequence[Record]) -> None:
        stored.update(((kind, identifier), (*values,)) for identifier, *values in rows)

    values = {"document_identifier": package.document_identifier}
    document = await compile_document_body_query().fetch_value(connection, **values)
    values["link_suffix"] = build_document_link_suffix(document)
    for resource in LARGE_RESOURCES:
        rows = await _compile_stored_rows_query(resource).fetch_all(connection, **values)
        await to_thread.run_sync(add, resource.name, rows)
    return stored


@cache
def _compile_stored_rows_query(resource: ResourceType) -> CompiledStatement:
    table = tables.get_table(resource)
    derived = (build_digest_column(table), build_container_link_column(table))
    rows = select(table.c.identifier, table.c.ordinal, *derived)
    is_live = build_live_condition(table)
    return CompiledStatement(rows.where(table.c.document_identifier == DOCUMENT, is_live))


def build_changed_rows_cte(kind: str) -> CTE:
    """Build a CTE of staged rows of one kind, without unchanged items and associations.

    ``kind`` is a class, such as ``"CFItem"``. Unchanged items and associations are staged without a
    body. The columns are ``ordinal`` and those of ``source`` in the module ``dml``.
    """
    names = ("ordinal", "identifier", "body", "last_change_date_time", "keywords")
    rows = select(*(STAGED.c[name] for name in names), DOCUMENT.label("document_identifier"))
    return rows.where(STAGED.c.kind == literal(kind), STAGED.c.body.is_not(None)).cte("source")


def build_staged_identifiers_query(kind: str) -> Select[Any]:
    """Build the query for the identifiers of the staged rows of one kind, such as ``"CFItem"``."""
    return select(STAGED.c.identifier).where(STAGED.c.kind == literal(kind))
