"""Where the rows of an upload lie while they are compared with what is stored."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from anyio import to_thread
from sqlalchemy import (
    CTE,
    JSON,
    Column,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.schema import CreateTable

from ..case.package import Package
from ..case.resources import ASSOCIATIONS, ITEMS
from . import tables
from .parts import REFERENCES
from .statement import DIALECT, Statement

if TYPE_CHECKING:
    from .database import Connection

STAGED = Table(
    "staged",
    MetaData(),
    Column("ordinal", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("body", JSON),
    Column("last_change_date_time", tables.Moment, nullable=False),
    Column("keywords", JSON),
    Column("parent", Text),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""Gone when the transaction ends."""

TABLES = {ITEMS.name: ITEMS.table, ASSOCIATIONS.name: ASSOCIATIONS.table}
"""The kinds of which there are many."""

REFERRING = {each.field for several in REFERENCES.values() for each in several}

DOCUMENT = bindparam("document_identifier", type_=Text)
"""The document that an upload is about."""


class Staged(NamedTuple):
    """What lies in the staging table."""

    known: bool
    """Whether the document was here before."""
    fields: frozenset[str]
    """Which of the fields that refer to definitions any of its rows has."""


async def stage(connection: Connection, package: Package, *, known: bool) -> Staged:
    """Copy the rows of a package into the staging table.

    Of items and associations that are stored just so only the identifiers are copied: there is
    nothing to write, but they are not to be deleted either.
    """
    await connection.execute(str(CreateTable(STAGED).compile(dialect=DIALECT)))
    stored = await _stored(connection, package) if known else {}
    # Beside the event loop, which others need meanwhile.
    records, fields = await to_thread.run_sync(_records, package, stored)
    columns = [column.name for column in STAGED.c]
    await connection.copy_records_to_table(STAGED.name, records=records, columns=columns)
    # Without statistics the planner takes the staging table for a small one.
    await connection.execute("ANALYZE staged")
    return Staged(known, fields)


def _records(
    package: Package, stored: dict[tuple[str, str], tuple[Any, ...]]
) -> tuple[list[tuple[Any, ...]], frozenset[str]]:
    """The rows of the staging table, and the fields that refer to definitions in them."""
    records, missing = [], {f'"{field}":': field for field in REFERRING}
    fields = set()
    for ordinal, one in enumerate(package.rows):
        body: str | None = one.body
        print_of = stored.get((one.kind, one.identifier))
        if (
            print_of
            and one.keywords is None
            and print_of == (ordinal, one.last_change_date_time, _print(one.body))
        ):
            body = None
        else:
            for found in [name for name in missing if name in one.body]:
                fields.add(missing.pop(found))
        place = (ordinal, one.kind, one.identifier, body)
        records.append((*place, one.last_change_date_time, *one[4:]))
    return records, frozenset(fields)


def _print(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


async def _stored(
    connection: Connection, package: Package
) -> dict[tuple[str, str], tuple[Any, ...]]:
    """What the document has: {(kind, identifier): (ordinal, time, digest of the body)}."""
    found = {}
    for kind in (ITEMS.name, ASSOCIATIONS.name):
        statement = _prints(kind)
        arguments = statement.arguments({"document_identifier": package.document_identifier})
        for row in await connection.fetch(statement.sql, *arguments):
            found[kind, row["identifier"]] = (row["ordinal"], row["changed"], row["print"])
    return found


@cache
def _prints(kind: str) -> Statement:
    table = tables.metadata.tables[TABLES[kind]]
    live = table.c.deleted_at.is_(None) if "deleted_at" in table.c else true()
    return Statement(
        select(
            table.c.identifier,
            table.c.ordinal,
            table.c.last_change_date_time.label("changed"),
            func.md5(cast(table.c.body, Text)).label("print"),
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
