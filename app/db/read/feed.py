"""Change feed: the writes since a cursor, in the order in which they were inserted.

A writer that drew a low sequence number may commit after a higher one was read, so a cursor cannot
be a sequence number. It is a Postgres snapshot, which says what transactions were committed. A page
holds the changes of transactions that are committed in the current snapshot but not in the
cursor's; the cursor after it holds the current one.

A restore from a backup, or a failover that lost writes, uses transaction numbers again. So a cursor
also names the history of the database, which consists of an identifier that a restore changes and
of the timeline of Postgres' WAL, which a failover changes. A standby cannot ask for its timeline:
it knows the last one that ``record_timeline`` stored on the primary.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
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
    update,
)

from ...case.resources import ASSOCIATIONS
from ...exceptions import BadRequest, Gone, RecoveryConflict, ServiceUnavailable
from ..connector import AnyConnection
from ..pool import Database
from ..schema import tables
from ..schema.expressions import IDENTIFIERS, LIMIT
from ..statement import CompiledStatement
from .visibility import (
    NODE_KINDS,
    build_association_end_condition,
    build_visible_association_condition,
)

EMPTY_SNAPSHOT = "1:1:"
"""The snapshot in which no transaction is committed."""


class FeedCursor(NamedTuple):
    """A position in the change feed, from which a client continues to read.

    The client has read all changes that are visible in the Postgres snapshot ``since``. It reads
    the newer changes page by page. Until the last page, ``until`` is the snapshot up to which it
    reads, the same for each page, and ``sequence`` is the number of the last change it has read.
    After that, ``until`` is "" and ``sequence`` is 0.
    """

    history: str
    since: str
    until: str
    sequence: int

    def encode(self) -> str:
        """Return the cursor as an opaque string that is safe in a URL."""
        text = "|".join((self.history, self.since, self.until, str(self.sequence)))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


INVALID_CURSOR = "since: invalid cursor; use the value of next from an earlier page"

CURSOR_PATTERN = re.compile(
    r"([0-9a-f-]{36}(?:/[0-9A-F]{8})?)\|(\d{1,18}:\d{1,18}:[\d,]*)\|(\d{1,18}:\d{1,18}:[\d,]*)?\|(\d{1,18})"
)


def parse_cursor(cursor: str) -> FeedCursor:
    """Decode the cursor string that a client sent. Raises ``BadRequest`` if it is malformed."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    match = CURSOR_PATTERN.fullmatch(text)
    if not match:
        raise BadRequest(INVALID_CURSOR)
    history, since, until, sequence = match.groups(default="")
    return FeedCursor(history, since, until, int(sequence))


class ChangeFeedEntry(NamedTuple):
    """An entry of the change feed: one write to an entity, and the document it belonged to."""

    kind: str
    identifier: str
    operation: str
    document_identifier: str | None
    changed_at: Any


class FeedPage(NamedTuple):
    """A page of the change feed, the cursor for the next page, and whether more changes follow."""

    changes: list[ChangeFeedEntry]
    next_cursor: FeedCursor
    has_more: bool


async def fetch_changes(database: Database, cursor: str | None, limit: int) -> FeedPage:
    """Return the first ``limit`` changes after a cursor, or from the beginning if it is None.

    Deleting an item or document hides its associations, and undeleting it makes them visible again.
    The page therefore ends with entries for the current state of these associations. Raises
    ``BadRequest`` for an invalid cursor, ``Gone`` if the database was restored or failed over after
    the cursor was issued, and ``QueryTimeout``.
    """
    position = parse_cursor(cursor) if cursor else None
    try:
        return await _fetch_page(database, position, limit)
    except RecoveryConflict:
        return await _fetch_page(database, position, limit)


async def _fetch_page(database: Database, position: FeedCursor | None, limit: int) -> FeedPage:
    async with database.open_snapshot(is_heavy=True) as connection:
        now = await _compile_feed_state().fetch_one(connection)
        assert now is not None
        if position and position.history != now["history"]:
            raise Gone(
                "the database was restored or failed over to another server, which may have lost "
                "writes, and its change feed starts again: read the entities in full, then the "
                "feed without since"
            )
        position = position or FeedCursor(now["history"], EMPTY_SNAPSHOT, "", 0)
        until = position.until or now["snapshot"]
        xmin, xmax = int(now["snapshot"].split(":")[0]), int(until.split(":")[1])
        if now["is_standby"] and xmin < xmax:
            # The rest of the page may not be replayed yet, and its cursor would skip it.
            raise ServiceUnavailable(
                "the standby is behind the server that sent the cursor; retry later"
            )
        values = {"since": position.since, "until": until, "after": position.sequence}
        try:
            with database.limit_read_time():
                rows = await _compile_page().fetch_all(connection, **values, limit=limit + 1)
        except asyncpg.DataError as error:
            raise BadRequest(INVALID_CURSOR) from error
        has_more = len(rows) > limit
        changes = [ChangeFeedEntry(*row[:-1]) for row in rows[:limit]]
        operations = (tables.DELETE, tables.REVIVE)
        relevant_changes = (change for change in changes if change.operation in operations)
        if nodes := [change.identifier for change in relevant_changes if change.kind in NODE_KINDS]:
            query = _compile_node_associations_query()
            with database.limit_read_time():
                association_rows = await query.fetch_all(connection, identifiers=nodes)
            associations = [ChangeFeedEntry(*row) for row in association_rows]
            changes += _exclude_listed_associations(associations, changes)
    if not now["is_recorded"]:
        await record_timeline(database)  # before a client can show the new cursor to a standby
    if has_more:
        last_sequence = rows[limit - 1]["sequence"]
        return FeedPage(changes, position._replace(until=until, sequence=last_sequence), has_more)
    return FeedPage(changes, FeedCursor(position.history, until, "", 0), has_more)


def _exclude_listed_associations(
    associations: list[ChangeFeedEntry], changes: list[ChangeFeedEntry]
) -> list[ChangeFeedEntry]:
    """Return the entries of ``associations`` that ``changes`` does not already contain.

    An entry is left out if the last entry of the same association in ``changes`` has the same
    effect: both are deletions, or neither is.
    """
    was_deleted = {
        (change.kind, change.identifier): change.operation == tables.DELETE for change in changes
    }
    return [
        association
        for association in associations
        if was_deleted.get((association.kind, association.identifier))
        != (association.operation == tables.DELETE)
    ]


@cache
def _compile_feed_state() -> CompiledStatement:
    history, timeline = tables.feed_history, func.wal_timeline(type_=Text)
    current = func.pg_current_snapshot()
    xmin = cast(func.pg_snapshot_xmin(current), Text)
    ended = func.concat(xmin, ":", xmin, ":")
    return CompiledStatement(
        select(
            (history.c.identifier + "/" + timeline).label("history"),
            (history.c.timeline == timeline).label("is_recorded"),
            # In recovery a snapshot lists no transaction in progress: only those before its xmin
            # have surely ended.
            case((func.pg_is_in_recovery(), ended), else_=cast(current, Text)).label("snapshot"),
            func.pg_is_in_recovery().label("is_standby"),
        )
    )


def _build_visibility_condition(snapshot: ColumnElement[Any]) -> ColumnElement[bool]:
    """Build the SQL condition that the transaction of a change is visible in a snapshot."""
    transaction: ColumnElement[Any] = literal_column("changes.transaction_id::text::xid8")
    return func.pg_visible_in_snapshot(transaction, snapshot)


@cache
def _compile_page() -> CompiledStatement:
    table = tables.changes
    # The name of a type as that of a function is a cast.
    since, until = (func.pg_snapshot(bindparam(name, type_=Text)) for name in ("since", "until"))
    # All transactions before this one are visible in ``since``, so the index can skip them.
    oldest = cast(cast(func.pg_snapshot_xmin(since), Text), BigInteger)
    return CompiledStatement(
        select(
            table.c.kind,
            table.c.identifier,
            table.c.operation,
            table.c.document_identifier,
            table.c.changed_at,
            table.c.sequence,
        )
        .where(table.c.transaction_id >= oldest, not_(_build_visibility_condition(since)))
        .where(_build_visibility_condition(until))
        .where(table.c.sequence > bindparam("after", type_=BigInteger))
        .order_by(table.c.sequence)
        .limit(LIMIT)
    )


@cache
def _compile_node_associations_query() -> CompiledStatement:
    """Compile the query for the associations of nodes that were soft-deleted or restored.

    The SQL parameter ``identifiers`` lists the nodes, which are items and documents. Each row is a
    feed entry: an update if the association is visible, otherwise a deletion.
    """
    table = tables.associations
    visibility = (build_visible_association_condition(), literal(tables.UPDATE))
    operation = case(visibility, else_=literal(tables.DELETE))
    return CompiledStatement(
        select(
            literal(ASSOCIATIONS.name),
            table.c.identifier,
            operation,
            table.c.document_identifier,
            func.now(),
        )
        .where(build_association_end_condition(func.any(IDENTIFIERS)))
        .order_by(table.c.ordinal)
    )


async def record_timeline(database: Database) -> None:
    """Store the current WAL timeline of the primary, so that its standbys can read it.

    Every cursor of the change feed contains the timeline, and a standby cannot ask Postgres for it.
    Nothing is written if the timeline is stored already.
    """
    history, timeline = tables.feed_history, func.wal_timeline(type_=Text)
    statement = update(history).values(timeline=timeline).where(history.c.timeline != timeline)
    await database.run_write(CompiledStatement(statement))


async def reset_change_feed(connection: AnyConnection) -> None:
    """Start a new history of the change feed, so that its clients read everything again.

    Old cursors and package revisions become invalid. New clients start from an empty snapshot. All
    existing changes get transaction ID 1, which is visible in every other snapshot.
    """
    changes = tables.changes
    statements = (
        update(changes)
        .values(transaction_id=literal_column("1"))
        .where(changes.c.transaction_id > 1),
        update(tables.feed_history).values(identifier=cast(func.gen_random_uuid(), Text)),
        insert(tables.revision_marks).values(scope=literal(tables.DEFINITIONS_SCOPE, Text)),
    )
    async with connection.transaction():
        for statement in statements:
            await CompiledStatement(statement).execute(connection)


async def reset_change_feed_if_restored(connection: AnyConnection) -> None:
    """Reset the change feed if the database was restored into another Postgres cluster.

    The transaction IDs of a new cluster start low. Changes with higher IDs, from the old cluster,
    would count as not yet committed, so clients would not get them.
    """
    newest = select(func.max(tables.changes.c.transaction_id)).scalar_subquery()
    xmax = cast(func.pg_snapshot_xmax(func.pg_current_snapshot()), Text)
    statement = CompiledStatement(select(newest >= cast(xmax, BigInteger)))
    if await statement.fetch_value(connection):
        await reset_change_feed(connection)
