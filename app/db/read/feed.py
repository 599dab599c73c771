"""The feed of changes: what was written since a moment, in the order in which it was.

A writer that drew a low sequence number may commit after a higher one was read. So a place in the
feed is not a number but a snapshot of Postgres: what was committed then. A page holds what is
committed now and was not then, and says up to which snapshot it goes.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    literal_column,
    not_,
    select,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import UserDefinedType

from ...case.resources import ASSOCIATIONS
from ...exceptions import BadRequest, Gone
from ..pool import Database
from ..schema import tables
from ..statement import CompiledStatement
from .visibility import NODE_KINDS, visible

if TYPE_CHECKING:
    from ..connector import AnyConnection

EMPTY_SNAPSHOT = "1:1:"
"""The snapshot in which nothing is committed."""


class Snapshot(UserDefinedType[str]):
    """pg_snapshot: the transactions that were committed at a moment."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The name of the type in SQL."""
        return "pg_snapshot"


class Cursor(NamedTuple):
    """Where a follower is.

    It has all that ``since`` sees and, of what ``until`` sees beyond that, all up to ``sequence``.
    """

    history: str
    since: str
    until: str
    sequence: int

    def encode(self) -> str:
        """The place as clients carry it: opaque, and safe in a URL."""
        said = "|".join((self.history, self.since, self.until, str(self.sequence)))
        return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


NO_CURSOR = "since: found no cursor, expected one that the feed gave as its next"

PLACE = re.compile(
    r"([0-9a-f-]{36})\|(\d{1,18}:\d{1,18}:[\d,]*)\|(\d{1,18}:\d{1,18}:[\d,]*)?\|(\d{1,18})"
)


def parse_cursor(cursor: str) -> Cursor:
    """The place that a cursor names. Raises ``BadRequest``."""
    try:
        said = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        said = ""
    found = PLACE.fullmatch(said)
    if not found:
        raise BadRequest(NO_CURSOR)
    history, since, until, sequence = found.groups(default="")
    return Cursor(history, since, until, int(sequence))


class Change(NamedTuple):
    """One entry: what happened to an entity, and where it lies."""

    kind: str
    identifier: str
    operation: str
    document_identifier: str | None
    changed_at: Any


class Page(NamedTuple):
    """Some changes, the place after them, and whether more are there already."""

    changes: list[Change]
    next_cursor: Cursor
    has_more: bool


async def fetch_changes(database: Database, cursor: str | None, limit: int) -> Page:
    """The changes after a cursor, or from the beginning; ``limit`` counts writes.

    An item or document that went, or came back, takes its associations along: they follow it in
    the page, as they are now. Raises ``BadRequest`` when the cursor is none, ``Gone`` when it is
    of a history that this store no longer tells.
    """
    place = parse_cursor(cursor) if cursor else None
    async with database.snapshot(scans=True) as connection:
        now = await _row(connection, _now())
        if place and place.history != now["history"]:
            raise Gone(
                "this store was restored, and its changes begin anew: read what you follow as a "
                "whole, then the feed without since"
            )
        place = place or Cursor(now["history"], EMPTY_SNAPSHOT, "", 0)
        until = place.until or now["snapshot"]
        values = {"since": place.since, "until": until, "after": place.sequence, "limit": limit + 1}
        try:
            with database.read_deadline():
                rows = await _page().fetch_all(connection, **values)
        except asyncpg.DataError as error:
            raise BadRequest(NO_CURSOR) from error
        more = len(rows) > limit
        found = [Change(*row[:-1]) for row in rows[:limit]]
        nodes = [each.identifier for each in found if _takes_along(each)]
        if nodes:
            with database.read_deadline():
                taken = await _taken_along().fetch_all(connection, identifiers=nodes)
            found += _not_told([Change(*row) for row in taken], found)
    if more:
        return Page(found, place._replace(until=until, sequence=rows[limit - 1]["sequence"]), more)
    return Page(found, Cursor(place.history, until, "", 0), more)


def _takes_along(change: Change) -> bool:
    operations = (tables.DELETE, tables.REVIVE)
    return change.kind in NODE_KINDS and change.operation in operations


def _not_told(along: list[Change], found: list[Change]) -> list[Change]:
    """Return the associations taken along whose state no entry of the page tells already."""
    last = {(each.kind, each.identifier): each.operation for each in found}
    delete = tables.DELETE
    return [
        each
        for each in along
        if (told := last.get((each.kind, each.identifier))) is None
        or (told == delete) != (each.operation == delete)
    ]


async def _row(connection: AnyConnection, statement: CompiledStatement) -> asyncpg.Record:
    found = await statement.fetch_one(connection)
    assert found is not None
    return found


@cache
def _now() -> CompiledStatement:
    snapshot = cast(func.pg_current_snapshot(), Text).label("snapshot")
    return CompiledStatement(select(tables.feed_history.c.identifier.label("history"), snapshot))


def _is_in(snapshot: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the transaction of a change is committed in a snapshot."""
    transaction: ColumnElement[Any] = literal_column("changes.transaction_id::text::xid8")
    return func.pg_visible_in_snapshot(transaction, snapshot)


def _snapshot(name: str) -> ColumnElement[Any]:
    return cast(bindparam(name, type_=Text), Snapshot)


@cache
def _page() -> CompiledStatement:
    table = tables.changes
    since, until = _snapshot("since"), _snapshot("until")
    # What the first snapshot sees entirely need not be looked at: an index leads past it.
    oldest = cast(cast(func.pg_snapshot_xmin(since), Text), BigInteger)
    operation = table.c.operation
    return CompiledStatement(
        select(
            table.c.kind,
            table.c.identifier,
            operation,
            table.c.document_identifier,
            table.c.changed_at,
            table.c.sequence,
        )
        .where(table.c.transaction_id >= oldest, not_(_is_in(since)), _is_in(until))
        .where(table.c.sequence > bindparam("after", type_=BigInteger))
        .order_by(table.c.sequence)
        .limit(bindparam("limit", type_=Integer))
    )


@cache
def _taken_along() -> CompiledStatement:
    """The associations of some nodes, as changes to what can be seen of them now."""
    table = tables.associations
    asked = bindparam("identifiers", type_=ARRAY(Text))
    ends = (table.c.origin_identifier, table.c.destination_identifier)
    # A union rather than an OR: each half is one look-up in an index.
    either = union(*(select(table.c.identifier).where(end == func.any(asked)) for end in ends))
    seen = case((visible(table), literal(tables.UPDATE)), else_=literal(tables.DELETE))
    return CompiledStatement(
        select(
            literal(ASSOCIATIONS.name),
            table.c.identifier,
            seen,
            table.c.document_identifier,
            func.now(),
        )
        .where(table.c.identifier.in_(either))
        .order_by(table.c.ordinal)
    )


async def reset_history(connection: AnyConnection) -> None:
    """Tell the changes so far as history, and let those who followed them know.

    Whoever kept an answer of the former history is told that all packages changed now.
    """
    table = tables.changes
    past = (
        update(table).values(transaction_id=literal_column("1")).where(table.c.transaction_id > 1)
    )
    renamed = update(tables.feed_history).values(identifier=cast(func.gen_random_uuid(), Text))
    marked = insert(tables.revision_marks).values(scope=literal(tables.DEFINITIONS_SCOPE, Text))
    async with connection.transaction():
        for statement in (
            CompiledStatement(past),
            CompiledStatement(renamed),
            CompiledStatement(marked),
        ):
            await statement.execute(connection)


async def reset_history_if_restored(connection: AnyConnection) -> None:
    """Begin anew where the changes are of another Postgres, whose transactions were others."""
    newest = select(func.max(tables.changes.c.transaction_id)).scalar_subquery()
    now = cast(cast(func.pg_snapshot_xmax(func.pg_current_snapshot()), Text), BigInteger)
    found = await _row(connection, CompiledStatement(select((newest >= now).label("foreign"))))
    if found["foreign"]:
        await reset_history(connection)
