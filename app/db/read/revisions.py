"""How often a package was written: what tells a reader that nothing is new.

A revision counts every write that can change what a package answers: those of the document and
its parts, those of the definitions all packages share, and, for packages that relate nodes of
other documents, those that add or remove nodes anywhere. It is read in one look, and two readers
who see the same revision see the same package.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    FromClause,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import array, insert

from ...exceptions import NotFound, ServiceUnavailable
from ..pool import Database
from ..schema import tables
from ..single_flight import SingleFlight
from ..statement import CompiledStatement
from .package import DOCUMENT, select_package
from .visibility import live

if TYPE_CHECKING:
    from ..connector import Connection

COMPACT_AT = 100
"""How many marks are counted one by one before they are folded into the version."""

REMEMBERED = 1000
"""Of how many revisions it is remembered whether they depend on other documents, and of how many
names which document they led to."""

SCOPE = bindparam("scope", type_=Text)


class Revision(NamedTuple):
    """The state of a package, and when it came about."""

    document_identifier: str
    history: str
    """That of the whole store: it is another one where a backup was restored."""
    document: int
    definitions: int
    nodes: int
    changed_at: datetime | None


class Revisions:
    """Revisions of packages, and which of them are the same to a reader."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._last: OrderedDict[str, Revision] = OrderedDict()
        self._relates_others: OrderedDict[Revision, bool] = OrderedDict()
        self._together = SingleFlight(self._look)

    async def current(self, identifier: str) -> Revision:
        """That of the package or document with this identifier. Raises ``NotFound``."""
        return await self._together.do(identifier)

    async def _look(self, identifier: str) -> Revision:
        last = self._last.get(identifier)
        if last and (now := await self._since(last)):
            return now
        self._last.pop(identifier, None)
        found = await self.database.fetch_one(_revision(), identifier=identifier)
        if not found:
            raise NotFound("CFPackage or CFDocument", identifier)
        *state, marks = found
        now = self._last[identifier] = Revision(*state)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
        if marks > COMPACT_AT:
            await compact(self.database, now.document_identifier)
        return now

    async def _since(self, last: Revision) -> Revision | None:
        """The revision that is now, if the document itself is as it was: None if it is not.

        Whether it is there and what its package is called need not be asked again, which is most
        of what the question costs.
        """
        document = last.document_identifier
        scopes = (document, tables.DEFINITIONS_SCOPE, tables.NODES_SCOPE)
        found = await self.database.fetch_all(_counts(), scopes=scopes)
        counts: dict[str, int] = dict.fromkeys(scopes, 0)
        for history, scope, version, _ in found:
            counts[scope] += version
            if history != last.history:
                return None
        # Very many are asked for in full once more, which also folds them.
        if counts[document] != last.document or len(found) > COMPACT_AT:
            return None
        return last._replace(
            definitions=counts[tables.DEFINITIONS_SCOPE],
            nodes=counts[tables.NODES_SCOPE],
            changed_at=max((moment for *_, moment in found), default=None),
        )

    async def is_equivalent(self, then: Revision, now: Revision) -> bool:
        """Whether a package that was read then is what it is now."""
        if then._replace(nodes=now.nodes, changed_at=now.changed_at) != now:
            return False
        return then.nodes == now.nodes or not await self._depends_on_others(now)

    async def _depends_on_others(self, now: Revision) -> bool:
        """Whether its associations have ends elsewhere; remembered, as the question is dear."""
        key = now._replace(nodes=0, definitions=0, changed_at=None)
        if key not in self._relates_others:
            async with self.database.snapshot() as connection:
                found = await fetch_revision(connection, now.document_identifier)
                if found is None or found._replace(nodes=0, definitions=0, changed_at=None) != key:
                    return True
                self._relates_others[key] = await _relates_others().fetch_value(
                    connection, document_identifier=now.document_identifier
                )
            if len(self._relates_others) > REMEMBERED:
                self._relates_others.popitem(last=False)
        return self._relates_others[key]


async def fetch_revision(connection: Connection, identifier: str) -> Revision | None:
    """The revision that a snapshot sees; None when it sees no such package."""
    found = await _revision().fetch_one(connection, identifier=identifier)
    return Revision(*found[:-1]) if found else None


async def compact(database: Database, *scopes: str) -> None:
    """Count the marks of these scopes, and of the shared ones, into their versions."""
    for scope in (*scopes, tables.DEFINITIONS_SCOPE, tables.NODES_SCOPE):
        try:
            await database.execute(_fold(), scope=scope)
        except ServiceUnavailable:
            return


@cache
def _revision() -> CompiledStatement:
    package, documents = tables.packages, tables.documents
    document = package.c.document_identifier
    state = _state(document)
    history = select(tables.feed_history.c.identifier).scalar_subquery()
    found = select_package(document, history, *state.c).join(documents).join(state, true())
    return CompiledStatement(found.where(live(documents)))


@cache
def _counts() -> CompiledStatement:
    """Rows (history, scope, version, changed_at): what is counted for these scopes."""
    kept, marks = tables.revisions, tables.revision_marks
    history = select(tables.feed_history.c.identifier).scalar_subquery()
    one: ColumnElement[int] = literal_column("1::bigint")
    scopes = func.any(bindparam("scopes", type_=ARRAY(Text)))
    return CompiledStatement(
        union_all(
            select(history, kept.c.scope, kept.c.version, kept.c.changed_at).where(
                kept.c.scope == scopes
            ),
            select(history, marks.c.scope, one, marks.c.changed_at).where(marks.c.scope == scopes),
        )
    )


def _state(document: ColumnElement[str]) -> FromClause:
    """What is counted for a document, for the definitions, and for all nodes, in one row."""
    kept, marks = tables.revisions, tables.revision_marks
    zero: ColumnElement[int] = literal_column("0")
    one: ColumnElement[int] = literal_column("1")
    each = union_all(
        select(kept.c.scope, kept.c.version, kept.c.changed_at, zero.label("marks")),
        select(marks.c.scope, one, marks.c.changed_at, one),
    ).subquery("each")
    definitions, nodes = (
        literal(scope, Text) for scope in (tables.DEFINITIONS_SCOPE, tables.NODES_SCOPE)
    )
    scopes = (document, definitions, nodes)

    def version(scope: ColumnElement[str]) -> ColumnElement[int]:
        counted = func.sum(each.c.version).filter(each.c.scope == scope)
        return func.coalesce(counted, zero).cast(BigInteger)

    return (
        select(
            version(document).label("document"),
            version(definitions).label("definitions"),
            version(nodes).label("nodes"),
            func.max(each.c.changed_at).label("changed_at"),
            func.coalesce(func.sum(each.c.marks), zero).label("marks"),
        )
        .where(each.c.scope == func.any(array(scopes)))
        .lateral("state")
    )


@cache
def _relates_others() -> CompiledStatement:
    table, items = tables.associations, tables.items
    mine = table.c.document_identifier == DOCUMENT
    ends = (table.c.origin_identifier, table.c.destination_identifier)
    own = exists(literal_column("1"))
    elsewhere = [
        and_(
            end != DOCUMENT,
            ~own.where(items.c.identifier == end, items.c.document_identifier == DOCUMENT),
        )
        for end in ends
    ]
    return CompiledStatement(select(exists(literal_column("1")).where(mine, or_(*elsewhere))))


@cache
def _fold() -> CompiledStatement:
    marks, table = tables.revision_marks, tables.revisions
    gone = delete(marks).where(marks.c.scope == SCOPE).returning(marks.c.changed_at).cte("gone")
    counted = select(SCOPE, func.count(), func.max(gone.c.changed_at)).having(func.count() > 0)
    fresh = insert(table).from_select(["scope", "version", "changed_at"], counted)
    return CompiledStatement(
        fresh.on_conflict_do_update(
            index_elements=[table.c.scope],
            set_={
                "version": table.c.version + fresh.excluded.version,
                "changed_at": func.greatest(table.c.changed_at, fresh.excluded.changed_at),
            },
        )
    )
