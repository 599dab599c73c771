"""Where the rows of an upload lie while they are compared with what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    literal,
    select,
)
from sqlalchemy.schema import CreateTable

from ..case.package import Package
from . import tables
from .statement import DIALECT

if TYPE_CHECKING:
    from .database import Connection

STAGED = Table(
    "staged",
    MetaData(),
    Column("ordinal", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("last_change_date_time", tables.Moment, nullable=False),
    Column("keywords", JSON),
    Column("parent", Text),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
"""Gone when the transaction ends."""

DOCUMENT = bindparam("document_identifier", type_=Text)
"""The document that an upload is about."""


async def stage(connection: Connection, package: Package) -> None:
    """Copy the rows of a package into the staging table."""
    await connection.execute(str(CreateTable(STAGED).compile(dialect=DIALECT)))
    columns = [column.name for column in STAGED.c]
    records = (
        (ordinal, one.kind, one.identifier, one.body, one.last_change_date_time, *one[4:])
        for ordinal, one in enumerate(package.rows)
    )
    await connection.copy_records_to_table(STAGED.name, records=records, columns=columns)
    # Without statistics the planner takes the staging table for a small one.
    await connection.execute("ANALYZE staged")


def source_of(kind: str) -> CTE:
    """The staged rows of a kind, in the columns every source has."""
    columns = (STAGED.c[name] for name in ("ordinal", "body", "last_change_date_time", "keywords"))
    rows = select(*columns, STAGED.c.parent, DOCUMENT.label("document_identifier"))
    return rows.where(STAGED.c.kind == literal(kind)).cte("source")


def identifiers_of(kind: str) -> Select[Any]:
    """The identifiers of the staged rows of a kind."""
    return select(STAGED.c.identifier).where(STAGED.c.kind == literal(kind))
