"""The role of the Postgres server: a primary, or a standby that replays a primary's WAL."""

from __future__ import annotations

import asyncio
import logging
import math
import time

from sqlalchemy import Text, func, literal_column, select

from .pool import Database
from .read.feed import record_timeline
from .schema.tables import feed_history
from .statement import CompiledStatement

log = logging.getLogger("case_server")

POLL_INTERVAL_SECONDS = 1.0
"""The longest time until a promotion or demotion of the server is noticed."""

MAX_SILENCE_SECONDS = 2.0
"""Time without a message of the primary after which a standby counts as cut off from it."""

RECEIVER_SILENCE = """(
SELECT greatest(0, extract(epoch FROM clock_timestamp() - last_msg_receipt_time) - coalesce(
    nullif(extract(epoch FROM current_setting('wal_receiver_timeout')::interval), 0) / 2 - 1,
    'infinity'))::float8
FROM pg_stat_wal_receiver)"""
"""Seconds since the WAL receiver should have received a message; NULL without a WAL receiver.

An idle primary sends nothing. The receiver requests a reply after half of its timeout, so that it
may be silent until then, and for another second. That is no time at all with a timeout of two
seconds, and 29 s with the default of a minute. Without a timeout, it requests nothing. The role
cannot read the time of the last message unless it has a privilege; the seconds then are 0, because
``greatest`` ignores NULL."""

STATUS = CompiledStatement(
    select(
        func.pg_is_in_recovery().label("is_standby"),
        literal_column(RECEIVER_SILENCE).label("receiver_silence"),
        (feed_history.c.timeline == func.wal_timeline(type_=Text)).label("is_recorded"),
    )
)


class ReplicationMonitor:
    """Polls whether the database is a primary or a standby, and whether a standby receives WAL.

    The result decides whether the server accepts writes, and whether it reports that its data may
    be out of date.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_received = -math.inf

    @property
    def has_lost_primary(self) -> bool:
        """True if the database is a standby that received nothing from its primary for two seconds.

        Its data may then be out of date.
        """
        silence = time.monotonic() - self._last_received
        return self._database.is_standby and silence > MAX_SILENCE_SECONDS

    async def run(self) -> None:
        """Call ``refresh_status`` once a second until cancelled; an error does not end the loop."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            try:
                await self.refresh_status()
            except Exception as error:  # noqa: BLE001  after any error, the next poll may succeed
                log.debug("could not read the role of the database: %s", error)

    async def refresh_status(self) -> None:
        """Query whether Postgres is a standby, and set ``is_standby`` of the database pool.

        On a primary, also records its WAL timeline in the database: a new timeline shows that a
        standby has been promoted.
        """
        status = await self._database.fetch_one(STATUS)
        assert status is not None
        if status["receiver_silence"] is not None:
            self._last_received = time.monotonic() - status["receiver_silence"]
        if status["is_standby"] != self._database.is_standby:
            self._database.is_standby = status["is_standby"]
            role = "standby: writes get 405" if status["is_standby"] else "primary: writes succeed"
            log.warning("the database is a %s", role)
        if not status["is_recorded"]:
            await record_timeline(self._database)
