"""Limit how long a commit waits for the standbys that must confirm it.

With ``synchronous_standby_names``, Postgres lets a commit wait for standbys indefinitely, although
the write is already stored. The server reports such a write with 503 after a few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from ..exceptions import ServiceUnavailable
from .connector import Connection, is_open, open_connection
from .driver_errors import CONNECT_ERRORS

log = logging.getLogger("case_server")

COMMIT_TIMEOUT_SECONDS = 3.0
"""Maximum wait for the standbys that must confirm a commit, once it was noticed."""

COMMIT_CHECK_SECONDS = 0.5

OBSERVER_TIMEOUT_SECONDS = 1.0
"""Time to connect for a look at the waiting commits, which is repeated if it fails."""

WAITING_COMMITS = """
SELECT pid FROM pg_stat_activity
WHERE pid = ANY ($1::int[]) AND wait_event = 'SyncRep' AND usename = current_user"""


def make_unconfirmed_commit_error() -> ServiceUnavailable:
    """Log that no standby confirmed a commit, and return the 503 error to raise for its request.

    The write is stored, but on the primary only, so a failover may lose it.
    """
    log.warning("a commit was not confirmed by a standby")
    return ServiceUnavailable(
        "the write is stored on this node, but not confirmed by a standby, so that a failover may "
        "lose it; retry later",
        retry_after=5,
    )


class CommitMonitor:
    """Cancels commits that wait too long for a standby to confirm them.

    ``list_candidates`` returns the connections that may be committing: those in use for at least
    ``COMMIT_CHECK_SECONDS``.
    """

    def __init__(self, url: str, list_candidates: Callable[[], list[Connection]]) -> None:
        self._url, self._list_candidates = url, list_candidates
        self.unconfirmed: set[Connection] = set()
        """Connections whose commit no longer waits for a standby."""
        self._waiting_since: dict[int, float] = {}
        """``time.monotonic()`` when the commit of a server process was first seen waiting."""

    async def run(self) -> None:
        """Look for commits that wait too long twice a second, until cancelled."""
        while True:
            await asyncio.sleep(COMMIT_CHECK_SECONDS)
            if candidates := self._list_candidates():
                with suppress(*CONNECT_ERRORS):
                    await self._cancel_waiting_commits(candidates)
            else:
                self._waiting_since.clear()

    async def _cancel_waiting_commits(self, candidates: list[Connection]) -> None:
        """Cancel commits that have waited at least ``COMMIT_TIMEOUT_SECONDS`` for a standby."""
        by_pid = {
            connection.get_server_pid(): connection
            for connection in candidates
            if is_open(connection)
        }
        now = time.monotonic()
        async with open_connection(
            self._url, max_timeout=OBSERVER_TIMEOUT_SECONDS, statement_cache_size=0
        ) as observer:
            rows = await observer.fetch(WAITING_COMMITS, [*by_pid])
            waiting_since = {row["pid"]: self._waiting_since.get(row["pid"], now) for row in rows}
            for pid, first_seen_at in list(waiting_since.items()):
                is_late = now - first_seen_at >= COMMIT_TIMEOUT_SECONDS
                if is_late and by_pid[pid] in self._list_candidates():
                    self.unconfirmed.add(by_pid[pid])
                    await observer.execute("SELECT pg_cancel_backend($1)", pid)
                    del waiting_since[pid]
        self._waiting_since = waiting_since

    def require_confirmation(self, connection: Connection) -> None:
        """Raise ``ServiceUnavailable`` if no standby confirmed the connection's last commit."""
        if connection in self.unconfirmed:
            self.unconfirmed.discard(connection)
            raise make_unconfirmed_commit_error()
