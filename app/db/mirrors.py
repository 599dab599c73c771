"""Where mirrored documents come from, and how far they are in step with that."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Text, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from .database import Database
from .revision import Revision
from .statement import Statement
from .tables import mirrors


class Mirror(NamedTuple):
    """What is remembered of a source."""

    url: str
    list_url: str | None
    document_identifier: str
    etag: str | None
    last_modified: str | None
    history: str
    revision: int

    def is_as_left(self, now: Revision | None) -> bool:
        """Whether nobody but the mirror has written the document since."""
        return now is not None and (now.history, now.document) == (self.history, self.revision)


FIELDS = [mirrors.c[name] for name in Mirror._fields]


async def find(database: Database, url: str) -> Mirror | None:
    """What is remembered of a source."""
    found = await database.row(_find(), url=url)
    return Mirror(*found) if found else None


async def listed(database: Database, list_url: str) -> list[Mirror]:
    """The sources that a list named when it was last read."""
    return [Mirror(*row) for row in await database.rows(_listed(), list_url=list_url)]


async def remember(database: Database, mirror: Mirror) -> None:
    """Keep what a source said."""
    await database.run(_remember(), **mirror._asdict())


async def forget(database: Database, url: str) -> None:
    """Of a source that is no longer."""
    await database.run(_forget(), url=url)


@cache
def _find() -> Statement:
    return Statement(select(*FIELDS).where(mirrors.c.url == bindparam("url", type_=Text)))


@cache
def _listed() -> Statement:
    mine = mirrors.c.list_url == bindparam("list_url", type_=Text)
    return Statement(select(*FIELDS).where(mine).order_by(mirrors.c.url))


@cache
def _remember() -> Statement:
    types: dict[str, Any] = {"revision": BigInteger}
    values = {name: bindparam(name, type_=types.get(name, Text)) for name in Mirror._fields}
    fresh = insert(mirrors).values(**values, changed_at=func.now())
    given = {name: fresh.excluded[name] for name in values if name != "url"}
    given["changed_at"] = fresh.excluded.changed_at
    return Statement(fresh.on_conflict_do_update(index_elements=[mirrors.c.url], set_=given))


@cache
def _forget() -> Statement:
    return Statement(delete(mirrors).where(mirrors.c.url == bindparam("url", type_=Text)))
