"""Where mirrored documents come from, and how far they are in step with that."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    bindparam,
    delete,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from .pool import Database
from .read.revisions import Revision
from .read.visibility import live
from .schema import tables
from .schema.tables import mirrors
from .statement import CompiledStatement


class Mirror(NamedTuple):
    """What is remembered of a source."""

    url: str
    list_url: str | None
    document_identifier: str
    etag: str | None
    last_modified: str | None
    history: str
    revision: int

    def is_unchanged(self, now: Revision | None) -> bool:
        """Whether nobody but the mirror has written the document since."""
        return now is not None and (now.history, now.document) == (self.history, self.revision)


PART_TABLES = (tables.items, tables.associations, tables.rubrics)
"""The tables of what belongs to one document."""

FIELDS = [mirrors.c[name] for name in Mirror._fields]


async def find_mirror(database: Database, url: str) -> Mirror | None:
    """What is remembered of a source."""
    found = await database.fetch_one(_find(), url=url)
    return Mirror(*found) if found else None


async def list_mirrors(database: Database, list_url: str) -> list[Mirror]:
    """The sources that a list named when it was last read."""
    return [Mirror(*row) for row in await database.fetch_all(_listed(), list_url=list_url)]


async def list_source_urls(database: Database, document: str) -> list[str]:
    """Return the URLs that a document is mirrored from."""
    rows = await database.fetch_all(_urls_of_document(), document_identifier=document)
    return [row["url"] for row in rows]


async def count_entities(database: Database, document: str) -> int:
    """Return how many entities a framework holds, as ``ChangeCounts`` counts them."""
    row = await database.fetch_one(_count_entities(), document_identifier=document)
    assert row is not None
    return int(row["entities"])


async def save_mirror(database: Database, mirror: Mirror) -> None:
    """Keep what a source said."""
    await database.execute(_remember(), **mirror._asdict())


async def delete_mirror(database: Database, url: str) -> None:
    """Of a source that is no longer."""
    await database.execute(_forget(), url=url)


@cache
def _find() -> CompiledStatement:
    return CompiledStatement(select(*FIELDS).where(mirrors.c.url == bindparam("url", type_=Text)))


@cache
def _listed() -> CompiledStatement:
    mine = mirrors.c.list_url == bindparam("list_url", type_=Text)
    return CompiledStatement(select(*FIELDS).where(mine).order_by(mirrors.c.url))


@cache
def _urls_of_document() -> CompiledStatement:
    document = bindparam("document_identifier", type_=Text)
    mine = mirrors.c.document_identifier == document
    return CompiledStatement(select(mirrors.c.url).where(mine).order_by(mirrors.c.url))


@cache
def _count_entities() -> CompiledStatement:
    document = bindparam("document_identifier", type_=Text)
    total: ColumnElement[int] = literal_column("0")
    for table, column in (
        (tables.documents, tables.documents.c.identifier),
        *((table, table.c.document_identifier) for table in PART_TABLES),
        *((table, table.c.document_identifier) for table in tables.package_definitions.values()),
    ):
        counted = select(func.count()).select_from(table).where(column == document, live(table))
        total = total + counted.scalar_subquery()
    return CompiledStatement(select(total.label("entities")))


@cache
def _remember() -> CompiledStatement:
    types: dict[str, Any] = {"revision": BigInteger}
    values = {name: bindparam(name, type_=types.get(name, Text)) for name in Mirror._fields}
    fresh = insert(mirrors).values(**values, changed_at=func.now())
    given = {name: fresh.excluded[name] for name in values if name != "url"}
    given["changed_at"] = fresh.excluded.changed_at
    return CompiledStatement(
        fresh.on_conflict_do_update(index_elements=[mirrors.c.url], set_=given)
    )


@cache
def _forget() -> CompiledStatement:
    return CompiledStatement(delete(mirrors).where(mirrors.c.url == bindparam("url", type_=Text)))
