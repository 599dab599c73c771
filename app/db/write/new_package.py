"""A new document with all that belongs to it, copied into the tables while it is read.

Nothing of it is staged that there is much of, and nothing compared: that it is new is taken for
granted, and where it is not, something fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from sqlalchemy import CTE, Text, exists, literal, literal_column, null, select

from ...case.package import Package
from ...case.resources import ASSOCIATIONS, ITEMS, Resource
from ..read.visibility import live
from ..schema import tables
from ..statement import CompiledStatement
from . import change_log, dml
from .conflicts import conflicts_of_new
from .package_statements import head_steps, link, register
from .rubrics import write_rubrics
from .staging import (
    DOCUMENT,
    HEAD_KINDS,
    RUBRIC_KINDS,
    STAGED,
    StagedRow,
    StagedRows,
    Staging,
    copy_rows,
    copy_staged,
    create_staging,
)
from .stored_forms import StoredForms
from .upload_run import NamedStatements, UploadRun

MANY = (ITEMS, ASSOCIATIONS)
COLUMNS = ("ordinal", "body", "last_change_date_time", "document_identifier")


class NotNew(Exception):
    """Something of it belongs to another document."""


async def add(run: UploadRun, package: Package, forms: StoredForms) -> Counter[str]:
    """Write a document that is not here; how many entities of each kind were sent.

    Raises ``NotNew`` or a unique violation where only the document is new, and whatever going
    through the rows raises.
    """
    records, keywords = StagedRows(package, forms), list[StagedRow]()
    await create_staging(run.connection)
    await copy_staged(run.connection, records.of(HEAD_KINDS))
    await run.execute_counted(head_steps, Staging(known=False, fields=frozenset(records.fields)))
    # The definitions that parts refer to are known once all of them were read.
    await run.connection.execute("SET CONSTRAINTS ALL DEFERRED")
    for resource in MANY:
        run.progress(resource.table)
        rows = _stored(records, resource, package.document_identifier, keywords)
        await copy_rows(run.connection, resource.table, rows, COLUMNS)
    await copy_staged(run.connection, records.of(RUBRIC_KINDS))
    await copy_staged(run.connection, _each(keywords))
    assert not records.more, "rows of a package come in the order of their kinds"
    if await run.fetch_all(conflicts_of_new()):
        raise NotNew
    await run.execute_counted(_last_steps, frozenset(records.fields))
    await run.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return records.counts


async def _stored(
    records: StagedRows, resource: Resource, document: str, keywords: list[StagedRow]
) -> AsyncIterator[tuple[Any, ...]]:
    """The records of a kind as its table has them; all keywords of one are no part of its body."""
    async for record in records.of((resource.name,)):
        if record.keywords is not None:
            keywords.append(record._replace(body=None))
        yield record.ordinal, record.body, record.last_change_date_time, document


async def _each(records: list[StagedRow]) -> AsyncIterator[StagedRow]:
    for record in records:
        yield record


@cache
def _last_steps(fields: frozenset[str]) -> NamedStatements:
    """What remains to be done when all rows are where they belong."""
    steps: NamedStatements = []
    for resource in MANY:
        for each in dml.REFERENCES[resource.name]:
            if each.field not in fields:
                continue
            source = (
                _with_keywords(resource) if each.keeps_old_links else _of_document(resource, each)
            )
            steps.append(("recording", register(source, each)))
            if each.link_table is not None:
                steps.append(("recording", link(source, each, each.link_table)))
        steps.append(("recording", _record(resource)))
    return [*steps, ("rubrics", write_rubrics())]


def _of_document(resource: Resource, reference: dml.Reference) -> CTE:
    """The rows that are looked through for links: where a column holds the one, only few."""
    table, definitions = tables.table_of(resource), reference.definitions
    columns = (table.c.identifier, table.c.body, null().label("keywords"))
    rows = select(*columns).where(table.c.document_identifier == DOCUMENT)
    for key in table.foreign_keys:
        if key.column.table is definitions:
            there = exists(literal_column("1")).where(key.column == key.parent, live(definitions))
            rows = rows.where(key.parent.is_not(None), ~there)
    return rows.cte("source")


def _with_keywords(resource: Resource) -> CTE:
    rows = select(STAGED.c.identifier, STAGED.c.body, STAGED.c.keywords)
    return rows.where(STAGED.c.kind == literal(resource.name)).cte("source")


def _record(resource: Resource) -> CompiledStatement:
    """Say of all that were copied that they were created."""
    table = tables.table_of(resource)
    created = literal_column(f"'{tables.CREATE}'", Text).label("operation")
    rows = select(table.c.identifier, created).where(table.c.document_identifier == DOCUMENT)
    done = rows.order_by(table.c.ordinal).cte("created")
    return change_log.count_by_operation(
        done, resource.name, *change_log.log_and_bump(done, resource, DOCUMENT)
    )
