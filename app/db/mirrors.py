"""The sources of mirrored documents, and the state of the last sync with each."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, bindparam, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from .pool import Database
from .read.revisions import Revision
from .read.visibility import build_live_condition
from .schema import tables
from .schema.expressions import DOCUMENT
from .schema.tables import get_document_column, mirrors
from .statement import CompiledStatement


class Mirror(NamedTuple):
    """A package that ``sync`` copies from another server, and the state of its last sync.

    ``etag`` and ``last_modified`` are validators from the other server's response, with which the
    next sync makes a conditional request. ``history`` and ``revision`` are the revision of the
    local copy after the sync; another revision now means local changes.
    """

    url: str
    list_url: str | None
    document_identifier: str
    etag: str | None
    last_modified: str | None
    history: str
    revision: int

    def is_local_copy_unchanged(self, revision: Revision | None) -> bool:
        """Return whether the local copy of the mirrored framework is unchanged since the last sync.

        ``revision`` is the current revision of the copy, or None if it was deleted.
        """
        if revision is None:
            return False
        return (revision.history, revision.document) == (self.history, self.revision)


COLUMNS = [mirrors.c[name] for name in Mirror._fields]


async def find_mirror(database: Database, url: str) -> Mirror | None:
    """Return the mirror that ``sync`` stored for a package's source URL, or None."""
    row = await database.fetch_one(_compile_mirrors_query("url"), url=url)
    return Mirror(*row) if row else None


async def list_mirrors(database: Database, list_url: str) -> list[Mirror]:
    """Return the mirrors whose packages were found in another server's list of documents.

    ``list_url`` is the URL of that list, as stored with each mirror.
    """
    rows = await database.fetch_all(_compile_mirrors_query("list_url"), list_url=list_url)
    return [Mirror(*row) for row in rows]


async def list_source_urls(database: Database, document_id: str) -> list[str]:
    """Return the URLs from which ``sync`` copies a document's package; [] if it is no mirror."""
    query = _compile_mirrors_query("document_identifier")
    rows = await database.fetch_all(query, document_identifier=document_id)
    return [row["url"] for row in rows]


async def count_framework_entities(database: Database, document_id: str) -> int:
    """Return the number of live entities of a framework, including its definitions."""
    row = await database.fetch_one(_compile_count_entities(), document_identifier=document_id)
    assert row is not None
    return int(row["entities"])


async def save_mirror(database: Database, mirror: Mirror) -> None:
    """Store a mirror, replacing the stored mirror with the same source URL, if any."""
    await database.run_write(_compile_upsert(), **mirror._asdict())


async def stop_mirroring(database: Database, url: str) -> None:
    """Stop mirroring the package from the source ``url``; keep its local copy."""
    statement = CompiledStatement(delete(mirrors).where(mirrors.c.url == url))
    await database.run_write(statement)


@cache
def _compile_mirrors_query(column: str) -> CompiledStatement:
    """Compile the query for the mirrors with a given value of ``column``, ordered by URL.

    The SQL parameter has the name of the column, such as ``list_url``.
    """
    is_match = mirrors.c[column] == bindparam(column, type_=Text)
    return CompiledStatement(select(*COLUMNS).where(is_match).order_by(mirrors.c.url))


@cache
def _compile_count_entities() -> CompiledStatement:
    total: ColumnElement[int] = literal_column("0")
    parts = (tables.items, tables.associations, tables.rubrics)
    for table in (tables.documents, *parts, *tables.package_definitions.values()):
        is_own = get_document_column(table) == DOCUMENT
        count = select(func.count()).where(is_own, build_live_condition(table))
        total = total + count.scalar_subquery()
    return CompiledStatement(select(total.label("entities")))


@cache
def _compile_upsert() -> CompiledStatement:
    values = {name: bindparam(name, type_=mirrors.c[name].type) for name in Mirror._fields}
    statement = insert(mirrors).values(**values, changed_at=func.now())
    new = statement.excluded
    changes = {name: new[name] for name in (*values, "changed_at") if name != "url"}
    return CompiledStatement(
        statement.on_conflict_do_update(index_elements=[mirrors.c.url], set_=changes)
    )
