"""All namespaces of a server: the one that is its own, and those made when first named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from ..case.package import Package
from ..db.pool import Database
from ..db.postgres import clones as databases
from ..db.postgres.clones import DatabaseCloner
from ..exceptions import BadRequest, Conflict, NotFound
from .clone import Copy, StandIn
from .namespace import Namespace

if TYPE_CHECKING:
    from ..api.dependencies import AppState
    from ..settings import Settings

DEFAULT = "default"
"""The namespace of requests that name none."""

NAME = re.compile(r"[a-z0-9-]{1,40}")
MOST = 32
"""Namespaces a server has at a time: each holds two pools, and Postgres gives 100 connections."""

CONNECTIONS = 3
"""The largest pool of a namespace that is not the server's own."""

Furnish = Callable[["Settings", Database], AbstractAsyncContextManager["AppState"]]
"""Makes the services of an application over a database."""


class Namespaces:
    """The namespaces of one server, over copies of its database."""

    def __init__(
        self, settings: Settings, copies: DatabaseCloner, furnish: Furnish, seed: str
    ) -> None:
        self._settings, self._copies, self._furnish = settings, copies, furnish
        self._seed = seed
        self._empty: str | None = None
        self._known: dict[str, Namespace] = {}
        self._stacks: dict[str, AsyncExitStack] = {}
        self._making = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, furnish: Furnish) -> AsyncIterator[Namespaces]:
        """Copy the database that the settings name, and start with the server's own namespace.

        What the database holds is the first seed. It is not written: nothing stays at the end.
        """
        async with DatabaseCloner.open(settings.database_url) as copies:
            seed = await Copy.make(copies, settings, copies.main)
            # The keys are made here, so that they are those of every copy.
            async with furnish(settings, seed.database):
                await seed.disconnect()
            namespaces = cls(settings, copies, furnish, seed.name)
            await namespaces.get(DEFAULT)
            try:
                yield namespaces
            finally:
                closing = (namespaces._close(name) for name in [*namespaces._known])
                # Where the database is gone before us, there is nothing to drop.
                await asyncio.gather(*closing, return_exceptions=True)

    def all(self) -> list[Namespace]:
        """The namespaces there are now."""
        return list(self._known.values())

    def has(self, name: str) -> bool:
        """Return whether there is a namespace of this name."""
        return name in self._known

    async def get(self, name: str) -> Namespace:
        """The namespace of this name, made now if it is new; seeded as the server's own is."""
        if found := self._known.get(name):
            return found
        if not NAME.fullmatch(name):
            raise BadRequest(
                f"{name!r} is no name for a namespace: 1 to 40 of the characters a-z, 0-9 and -"
            )
        async with self._making:
            return self._known.get(name) or await self._make(name)

    async def _make(self, name: str) -> Namespace:
        if len(self._known) >= MOST:
            raise Conflict(
                f"there are {MOST} namespaces already: DELETE /_test/namespaces/NAME drops one "
                f"({', '.join(self._known)})"
            )
        own = self._known.get(DEFAULT)
        seed, settings = own.seed if own else self._seed, self._settings
        if name != DEFAULT:
            update = {
                "public_url": f"{settings.base_url}/ns/{name}",
                "pool_size": min(settings.pool_size, CONNECTIONS),
            }
            settings = settings.model_copy(update=update)
        stack = AsyncExitStack()
        copy = await Copy.make_to_go_back(self._copies, settings, seed)
        stand_in = StandIn(copy.database)
        services = await stack.enter_async_context(self._furnish(settings, stand_in))
        made = Namespace(name, services, stand_in, self._copies, copy)
        self._known[name], self._stacks[name] = made, stack
        return made

    async def drop(self, name: str) -> None:
        """Drop a namespace and all it holds."""
        if name == DEFAULT:
            raise Conflict("the server's own namespace stays: POST /_test/reset empties it")
        if name not in self._known:
            raise NotFound("namespace", name, f"there are {', '.join(self._known)}")
        seed = self._known[name].seed
        await self._close(name)
        self._drop_seed(seed)

    async def seed(self, namespace: Namespace, packages: Sequence[Package]) -> None:
        """Make these packages the seed of a namespace, and go there."""
        before = await namespace.seed_with(await self._empty_template(), packages)
        self._drop_seed(before)

    async def _empty_template(self) -> str:
        async with self._making:
            if self._empty is None:
                copy = await Copy.make(self._copies, self._settings, self._seed)
                await databases.truncate_all(copy.database)
                await copy.disconnect()
                self._empty = copy.name
        return self._empty

    def _drop_seed(self, name: str) -> None:
        """Drop a seed that nobody goes back to any more."""
        if name != self._seed and all(one.seed != name for one in self._known.values()):
            self._copies.drop_later(name)

    async def _close(self, name: str) -> None:
        await self._known.pop(name).close()
        await self._stacks.pop(name).aclose()
