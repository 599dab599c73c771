"""A clone of a database, with the connection pool, caches and signing keys of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

from ..api.caching.response_cache import ResponseCache
from ..auth.refresh import load_signing_keys
from ..auth.tokens import SigningKey
from ..db.pool import Database
from ..db.postgres import baseline
from ..db.postgres.clones import DatabaseCloner
from ..db.read.revisions import RevisionCache
from ..exceptions import Conflict
from ..settings import Settings

IDLE_TIMEOUT_SECONDS = 30.0
"""Time for requests to finish on a clone that is to be copied or dropped."""

CLOSE_TIMEOUT_SECONDS = 1.0
"""Time for connections to close before the database is dropped anyway."""


class DatabaseProxy(Database):
    """A ``Database`` that forwards all calls to the current database clone of a namespace.

    Objects that outlive a clone, such as the client registry, use it as their database.
    """

    def __init__(self, current: Database) -> None:
        self.current = current

    def __getattribute__(self, name: str) -> Any:
        current = super().__getattribute__("current")
        return current if name == "current" else getattr(current, name)


class DatabaseClone:
    """A copy of a database for a test namespace, with its own pool, caches and signing keys.

    Counts its running requests, so that callers can wait for them before they copy or drop it.
    """

    database: Database
    """The database with its connection pool, which ``open`` sets."""

    def __init__(
        self, cloner: DatabaseCloner, settings: Settings, name: str, template: str
    ) -> None:
        self.name, self.template = name, template
        self.keys: list[SigningKey] = []
        self.is_written = False
        """True if the data may differ from that of the template."""
        self._cloner, self._settings = cloner, settings
        self._stack = AsyncExitStack()
        self._request_count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def create(
        cls, cloner: DatabaseCloner, settings: Settings, template: str, *, is_undoable: bool = False
    ) -> DatabaseClone:
        """Copy the database ``template`` and return a ``DatabaseClone`` connected to the copy.

        ``cloner`` copies the database and later drops the copy. No connection to ``template`` may
        be open. With ``is_undoable``, the data are saved, so that ``restore_baseline`` can undo
        later writes.
        """
        clone = cls(cloner, settings, await cloner.clone(template), template)
        await clone.open()
        if is_undoable:
            await baseline.save_baseline(clone.database)
        return clone

    async def open(self) -> None:
        """Open the connection pool, load the signing keys and create empty caches.

        May be called again after ``close``.
        """
        settings, url = self._settings, self._cloner.get_url(self.name)
        pool = Database.open(url, settings, read_timeout=settings.read_timeout)
        self.database = await self._stack.enter_async_context(pool)
        self._stack.push_async_callback(self._close_cache)
        await self._load()

    async def _load(self) -> None:
        self.keys = await load_signing_keys(self.database)
        self.revisions = RevisionCache(self.database)
        producers = max(1, self._settings.pool_size // 2)
        self.response_cache = ResponseCache(self._settings.cache_mb, producers=producers)

    async def _close_cache(self) -> None:
        await self.response_cache.close()

    async def restore_baseline(self) -> None:
        """Undo all writes since the database was copied.

        The caller must make sure that no request uses the clone meanwhile. ETags and change-feed
        cursors that clients received earlier become invalid.
        """
        await self._close_cache()
        await baseline.restore_baseline(self.database)
        await self._load()
        self.is_written = False

    async def close(self) -> None:
        """Close the response cache and all connections to the database.

        Postgres cannot copy a database that has open connections.
        """
        await self._stack.aclose()

    @contextmanager
    def count_request(self) -> Iterator[None]:
        """Count a request as running during the ``with`` block.

        ``wait_until_idle`` waits for the end of all running requests.
        """
        self._request_count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._request_count -= 1
            if not self._request_count:
                self._idle.set()

    async def wait_until_idle(self, seconds: float = IDLE_TIMEOUT_SECONDS) -> None:
        """Wait until no request uses the clone.

        Raises ``Conflict`` if a request is still running after ``seconds``.
        """
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError as error:
            count = self._request_count
            raise Conflict(f"{count} requests are still running; retry later") from error

    async def drop(self) -> None:
        """Close all connections to the clone, and drop its database in the background.

        Requests that still use the clone fail.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self.close(), CLOSE_TIMEOUT_SECONDS)
        self._cloner.drop_in_background(self.name)
