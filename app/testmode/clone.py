"""One copy of a database in use: its pool, what is remembered of it, and who is using it now."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from typing import TYPE_CHECKING

from ..api.response_cache import ResponseCache as Answers
from ..auth.refresh import load_signing_keys
from ..auth.tokens import SigningKey
from ..db.pool import AcquireContext, Database
from ..db.postgres import baseline
from ..db.read import feed
from ..db.read.revisions import Revisions
from ..exceptions import Conflict

if TYPE_CHECKING:
    from ..db.postgres.clones import DatabaseCloner
    from ..settings import Settings

SECONDS_TO_FINISH = 30.0
"""How long requests on a database may go on after it was replaced or is to be copied."""

SECONDS_TO_CLOSE = 1.0
"""How long connections may take to close before they are cut off."""


class StandIn(Database):
    """Stands for the database a namespace is on now, for what outlives each of them."""

    def __init__(self, current: Database) -> None:
        self.current = current

    def connection(self) -> AcquireContext:
        """A connection to the database of now."""
        return self.current.connection()

    def scan_connection(self) -> AcquireContext:
        """Lease a connection to the database of now, for reads that may take long."""
        return self.current.scan_connection()

    def read_deadline(self) -> AbstractContextManager[None]:
        """Limit the time of reads in a block by the current database's timeout."""
        return self.current.read_deadline()


class Copy:
    """A database that requests run on."""

    def __init__(
        self, copies: DatabaseCloner, settings: Settings, name: str, template: str
    ) -> None:
        self.name, self.template = name, template
        self.keys: list[SigningKey] = []
        self.written = False
        """Whether it may differ from its template."""
        self._copies, self._settings = copies, settings
        self._stack = AsyncExitStack()
        self._database: Database | None = None
        self._users = 0
        self._free = asyncio.Event()
        self._free.set()

    @classmethod
    async def make(cls, copies: DatabaseCloner, settings: Settings, template: str) -> Copy:
        """Copy ``template``, to which nobody may be connected, and connect to the copy."""
        made = cls(copies, settings, await copies.clone(template), template)
        await made.connect()
        return made

    @classmethod
    async def make_to_go_back(
        cls, copies: DatabaseCloner, settings: Settings, template: str
    ) -> Copy:
        """A copy that can be made what it is now again."""
        made = await cls.make(copies, settings, template)
        await baseline.save_baseline(made.database)
        return made

    @property
    def database(self) -> Database:
        """The database, connected."""
        assert self._database, "it is connected before anybody is given it"
        return self._database

    async def connect(self) -> None:
        """Open the pool and read the keys; nothing is remembered of answers yet."""
        settings = self._settings
        opened = Database.open(
            self._copies.url(self.name), settings, read_timeout=settings.read_timeout
        )
        self._database = await self._stack.enter_async_context(opened)
        self._stack.push_async_callback(self._forget)
        await self._remember_nothing()

    async def _remember_nothing(self) -> None:
        """Begin with no answers, and the keys that are there."""
        settings = self._settings
        self.keys = await load_signing_keys(self.database)
        self.revisions = Revisions(self.database)
        self.answers = Answers(settings.cache_mb, producers=max(1, settings.pool_size // 2))

    async def _forget(self) -> None:
        await self.answers.close()

    async def go_back(self) -> None:
        """Be what it was when it was made; no request may run on it.

        What clients know of it, such as ETags and places in the feed, is belied.
        """
        await self._forget()
        await baseline.restore_baseline(self.database)
        await self._remember_nothing()
        self.written = False

    async def begin_anew(self) -> None:
        """Belie what clients know of another copy: their ETags, their places in the feed."""
        async with self.database.connection() as connection:
            await feed.reset_history(connection)

    async def disconnect(self) -> None:
        """Close the pool, so that the database can be a template."""
        await self._stack.aclose()

    def enter(self) -> None:
        """One more request runs on it."""
        self._users += 1
        self._free.clear()

    def leave(self) -> None:
        """One request less runs on it."""
        self._users -= 1
        if not self._users:
            self._free.set()

    async def quiet(self, seconds: float = SECONDS_TO_FINISH) -> None:
        """Wait until no request runs on it; ``Conflict`` when that takes longer."""
        try:
            await asyncio.wait_for(self._free.wait(), seconds)
        except TimeoutError as error:
            raise Conflict(f"{self._users} requests are still being answered") from error

    async def drop(self) -> None:
        """Close the pool, and have the database dropped, whoever still uses it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.disconnect(), SECONDS_TO_CLOSE)
        self._copies.drop_later(self.name)
