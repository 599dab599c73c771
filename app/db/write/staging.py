"""Where the rows of an upload lie while they are compared with what is stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from anyio import to_thread
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
    bindparam,
    cast,
    literal,
    select,
    true,
)
from sqlalchemy.schema import CreateTable

from ...case.package import EntityRow, Package
from ...case.resources import ASSOCIATIONS, DEFINITIONS, DOCUMENTS, ITEMS, RUBRICS
from ..read.body_digests import (
    container_link_column,
    digest_column,
    document_link_suffix,
    has_digest,
    with_container_link,
)
from ..schema import tables
from ..statement import DIALECT, CompiledStatement
from .dml import REFERENCES
from .stored_forms import StoredForms

if TYPE_CHECKING:
    import asyncpg

    from ..connector import Connection

STAGED = Table(
    "staged",
    MetaData(),
    Column("ordinal", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("place", Integer, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("body", JSON),
    Column("last_change_date_time", tables.TimestampTZ, nullable=False),
    Column("keywords", JSON),
    Column("parent", Text),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""Gone when the transaction ends. ``place`` is the position of a row among those of its kind,
``ordinal`` what is stored of it: that of a criterion or level counts within its rubric or
criterion, so that a rubric does not change when another one does."""

TABLES = {ITEMS.name: ITEMS.table, ASSOCIATIONS.name: ASSOCIATIONS.table}
"""The kinds of which there are many."""

RUBRIC_KINDS = (RUBRICS.name, "CFRubricCriterion", "CFRubricCriterionLevel")

HEAD_KINDS = (DOCUMENTS.name, *(resource.name for resource in DEFINITIONS))
"""What all rows of a document may refer to, which comes first."""

KINDS = (*HEAD_KINDS, *TABLES, *RUBRIC_KINDS)
"""All there are in a package, in their order."""

BATCH = 500
"""How many rows are read before they are sent on."""

REFERRING = {each.field for several in REFERENCES.values() for each in several}

DOCUMENT = bindparam("document_identifier", type_=Text)
"""The document that an upload is about."""


class Staging(NamedTuple):
    """What lies in the staging table."""

    known: bool
    """Whether the document was here before."""
    fields: frozenset[str]
    """Which of the fields that refer to definitions any of its rows has."""
    reordered: frozenset[str] = frozenset()
    """The kinds of which stored rows may have to be renumbered by their places."""


Stored: TypeAlias = dict[tuple[str, str], tuple[int, str, str | None]]
"""What a document has: {(kind, identifier): (ordinal, digest of the body, unusual link)}."""


async def stage_package(
    connection: Connection, package: Package, forms: StoredForms, *, known: bool
) -> tuple[Staging, Counter[str]]:
    """Copy the rows of a package into the staging table; also how many there are of each kind.

    Of items and associations that are stored just so only the identifiers are copied: there is
    nothing to write, but they are not to be deleted either. Raises what going through the rows
    raises.
    """
    await create_staging(connection)
    stored = await _stored(connection, package) if known else {}
    records = StagedRows(package, forms, stored)
    await copy_staged(connection, records.of())
    reordered = frozenset(records.reordered if known else ())
    return Staging(known, frozenset(records.fields), reordered), records.counts


async def create_staging(connection: Connection) -> None:
    """Make the staging table of a transaction."""
    await connection.execute(str(CreateTable(STAGED).compile(dialect=DIALECT)))


async def copy_staged(connection: Connection, records: AsyncIterable[StagedRow]) -> None:
    """Copy records into the staging table."""
    await copy_rows(connection, STAGED.name, records, [column.name for column in STAGED.c])
    # Without statistics the planner takes the staging table for a small one.
    await connection.execute("ANALYZE staged (ordinal, kind, identifier)")


async def copy_rows(
    connection: Connection, table: str, rows: AsyncIterable[Any], columns: Sequence[str]
) -> None:
    """Copy rows into a table. Raises what going through them raises, once Postgres has ended.

    asyncpg would cancel what Postgres does for an error in the rows, and wait for ever where that
    had failed already.
    """
    failed: list[BaseException] = []

    async def until_one_fails() -> AsyncIterator[Any]:
        try:
            async for row in rows:
                yield row
        except BaseException as error:  # noqa: BLE001  it is raised below
            failed.append(error)

    try:
        await connection.copy_records_to_table(table, records=until_one_fails(), columns=columns)
    except asyncio.CancelledError:
        connection.terminate()
        raise
    except Exception:
        if not failed:
            raise
    for error in failed:
        raise error


class StagedRow(NamedTuple):
    """A row of the staging table."""

    ordinal: int
    kind: str
    place: int
    identifier: str
    body: str | None
    last_change_date_time: datetime
    keywords: str | None
    parent: str | None


class StagedRows:
    """The rows of the staging table, made as they are copied, and what is found out about them."""

    def __init__(self, package: Package, forms: StoredForms, stored: Stored | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.fields: set[str] = set()
        self.reordered: set[str] = set()
        self._forms = forms
        self._stored = stored or {}
        self._last_ordinals: dict[str, int] = {}
        self._siblings: Counter[tuple[str, str | None]] = Counter()
        self._missing = {f'"{field}":': field for field in REFERRING}
        self._rows = iter(package.rows)
        self._following = next(self._rows, None)

    @property
    def more(self) -> bool:
        """Whether there are any that nobody asked for."""
        return self._following is not None

    async def of(self, kinds: Collection[str] = KINDS) -> AsyncIterator[StagedRow]:
        """Those that follow, until one is of another kind.

        Reading rows takes time, so it is done beside the event loop, which others need.
        """
        while batch := await to_thread.run_sync(self._next, kinds):
            for record in batch:
                yield record

    def _next(self, kinds: Collection[str]) -> list[StagedRow]:
        batch: list[StagedRow] = []
        while self._following and self._following.kind in kinds and len(batch) < BATCH:
            batch.append(self._record(self._following))
            self._following = next(self._rows, None)
        return batch

    def _record(self, one: EntityRow) -> StagedRow:
        one = self._forms.restore(one)
        place = self.counts[one.kind]
        self.counts[one.kind] += 1
        stored = self._stored.get((one.kind, one.identifier), (None, None, None))
        ordinal, digest, container_link = stored
        one = with_container_link(one, container_link)
        body: str | None = one.body
        if digest and one.keywords is None and has_digest(one, digest):
            body = None
        else:
            for name in [name for name in self._missing if name in one.body]:
                self.fields.add(self._missing.pop(name))
        ordinal = self._ordinal(one, ordinal)
        return StagedRow(
            ordinal,
            one.kind,
            place,
            one.identifier,
            body,
            one.last_change_date_time,
            one.keywords,
            one.parent,
        )

    def _ordinal(self, one: EntityRow, stored: int | None) -> int:
        """Return the ordinal of a row: the stored one as long as the order is the stored one."""
        if one.kind not in TABLES:
            self.reordered.update({one.kind} & {RUBRICS.name})
            sibling = self._siblings[one.kind, one.parent]
            self._siblings[one.kind, one.parent] += 1
            return sibling
        last = self._last_ordinals.get(one.kind, -1)
        ordinal = last + 1 if stored is None or stored <= last else stored
        # Behind what was written one at a time, the next entity so written could have it, too.
        is_taken = stored is None and ordinal >= tables.ORDINAL_START
        if is_taken or (stored is not None and ordinal != stored):
            self.reordered.add(one.kind)
        self._last_ordinals[one.kind] = ordinal
        return ordinal


async def _stored(connection: Connection, package: Package) -> Stored:
    found: Stored = {}

    def remember(kind: str, rows: Sequence[asyncpg.Record]) -> None:
        found.update(((kind, identifier), (*stored,)) for identifier, *stored in rows)

    values = {"document_identifier": package.document_identifier}
    body = await _document().fetch_value(connection, **values)
    values["link_suffix"] = document_link_suffix(body)
    for kind in (ITEMS.name, ASSOCIATIONS.name):
        rows = await _prints(kind).fetch_all(connection, **values)
        await to_thread.run_sync(remember, kind, rows)
    return found


@cache
def _document() -> CompiledStatement:
    table = tables.documents
    return CompiledStatement(select(cast(table.c.body, Text)).where(table.c.identifier == DOCUMENT))


@cache
def _prints(kind: str) -> CompiledStatement:
    table = tables.metadata.tables[TABLES[kind]]
    live = table.c.deleted_at.is_(None) if "deleted_at" in table.c else true()
    return CompiledStatement(
        select(
            table.c.identifier,
            table.c.ordinal,
            digest_column(table),
            container_link_column(table),
        ).where(table.c.document_identifier == DOCUMENT, live)
    )


def source_of(kind: str) -> CTE:
    """The staged rows of a kind that are to be written, in the columns every source has."""
    names = ("ordinal", "identifier", "body", "last_change_date_time", "keywords")
    columns = (STAGED.c[name] for name in names)
    rows = select(*columns, STAGED.c.parent, DOCUMENT.label("document_identifier"))
    return rows.where(STAGED.c.kind == literal(kind), STAGED.c.body.is_not(None)).cte("source")


def identifiers_of(kind: str) -> Select[Any]:
    """The identifiers of the staged rows of a kind."""
    return select(STAGED.c.identifier).where(STAGED.c.kind == literal(kind))
