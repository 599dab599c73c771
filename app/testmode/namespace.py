"""A namespace: a database of its own behind addresses of its own, and what was asked of it.

It runs on a copy of its seed. Going back undoes what was written there, which takes milliseconds
while little was. Only where requests still run on it, or where another state is gone to, does it go
on with another copy; the one it leaves is made ready behind it, to be gone back to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..auth.refresh import load_signing_keys
from ..auth.tokens import generate_signing_key
from ..case.package import Package
from ..db import auth_store
from ..db.write.package import write_package
from ..exceptions import Conflict, NotFound, ServiceUnavailable
from .clone import Copy, StandIn
from .faults import Faults
from .request_log import Journal

if TYPE_CHECKING:
    from ..api.dependencies import AppState
    from ..auth.local_issuer import LocalIssuer
    from ..db.postgres.clones import DatabaseCloner


SECONDS_TO_LEAVE = 0.1
"""How long requests may take to leave a copy before it is left to them: who has the last byte of an
answer may ask for a reset sooner than the server is done with it."""

SECONDS_TO_GET_READY = 1.0
"""How long the copy that was left is waited for; making one takes less."""


@dataclass
class Spare:
    """The copy that was left last, of what it is, and the task that makes it ready."""

    template: str
    task: asyncio.Task[Copy | None]


class Namespace:
    """What one suite of tests sees."""

    def __init__(
        self,
        name: str,
        services: AppState,
        stand_in: StandIn,
        copies: DatabaseCloner,
        current: Copy,
    ) -> None:
        self.name, self.app_state = name, services
        self.current, self.seed = current, current.template
        self._stand_in = stand_in
        self.snapshots: dict[str, str] = {}
        settings = services.settings
        secrets = (settings.client_secret, settings.test_api_token)
        self.journal = Journal(secret.get_secret_value() for secret in secrets)
        self.faults = Faults()
        self._copies = copies
        self.era = 0
        """How often it went back: what was sent before is not to be done after."""
        self._spare: Spare | None = None
        self._behind: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._adopt()

    @property
    def base_url(self) -> str:
        """Where its clients reach it."""
        return self.app_state.settings.base_url

    @asynccontextmanager
    async def request(self, *, writes: bool) -> AsyncIterator[AppState]:
        """The services of one request, the same from its start to its end."""
        await self._open.wait()
        services, copy = self.app_state, self.current
        copy.written |= writes
        copy.enter()
        try:
            yield services
        finally:
            copy.leave()

    async def reset(self) -> None:
        """Go back to the seed, and forget faults, journal, token lifetimes and failed logins."""
        async with self._changing:
            await self._go_to(self.seed)
        self.journal.clear()
        self.faults.replace([])
        self.app_state.clients.clear_failures()
        if self.app_state.issuer:
            self.app_state.issuer.lifetimes.clear()

    async def seed_with(self, empty: str, packages: Sequence[Package]) -> str:
        """Make these packages, and nothing else, the seed; return the one of before.

        ``empty`` names a database without entities. What cannot be stored raises as an upload
        does, and changes nothing.
        """
        async with self._changing:
            made = await Copy.make(self._copies, self.app_state.settings, empty)
            try:
                for package in packages:
                    await write_package(made.database, package)
                await made.disconnect()
            except BaseException:
                await made.drop()
                raise
            before, self.seed = self.seed, made.name
        await self.reset()
        return before

    async def snapshot(self, name: str) -> None:
        """Keep the data as it is now; requests wait meanwhile."""
        async with self._changing, self._standing_still():
            taken = await self._copies.clone(self.current.name)
        if former := self.snapshots.get(name):
            self._copies.drop_later(former)
        self.snapshots[name] = taken

    @asynccontextmanager
    async def _standing_still(self) -> AsyncIterator[None]:
        """Nobody is connected to the database while the block runs."""
        self._open.clear()
        try:
            await self.current.quiet()
            await self.current.disconnect()
            try:
                yield
            finally:
                await self.current.connect()
                self._adopt()
        finally:
            self._open.set()

    async def restore(self, name: str) -> None:
        """Go back to a snapshot; what was asked and is to fail stays as it is."""
        async with self._changing:
            await self._go_to(self._snapshot(name))

    async def forget_snapshot(self, name: str) -> None:
        """Drop a snapshot."""
        template = self._snapshot(name)
        del self.snapshots[name]
        async with self._changing:
            self._copies.drop_later(template)

    def _snapshot(self, name: str) -> str:
        if name not in self.snapshots:
            known = ", ".join(self.snapshots) or "there is none"
            raise NotFound("snapshot", name, f"take one first ({known})")
        return self.snapshots[name]

    async def rotate_keys(self, issuer: LocalIssuer, *, revoke: bool) -> str:
        """Sign with a new key from now on, and return its kid; ``revoke`` ends the old ones."""
        new = await asyncio.to_thread(generate_signing_key)
        async with self._changing:
            copy = self.current
            copy.written = True
            await auth_store.add_signing_key(
                copy.database, new.kid, new.private_pem, delete_older=revoke
            )
            copy.keys = await load_signing_keys(copy.database)
            issuer.set_keys(copy.keys)
            self.app_state.verifier.clear_cache()
        return new.kid

    async def close(self) -> None:
        """Drop every database that is this namespace's alone, but its seed."""
        async with self._changing:
            self._drop_spare()
            for name in self.snapshots.values():
                self._copies.drop_later(name)
            await asyncio.gather(self.current.drop(), *self._behind)

    async def _go_to(self, template: str) -> None:
        """Be as ``template`` is; requests wait meanwhile."""
        self.era += 1
        if self.current.template == template and not self.current.written:
            return
        self._open.clear()
        try:
            if self.current.template == template:
                with suppress(Conflict):
                    await self.current.quiet(SECONDS_TO_LEAVE)
                    await self.current.go_back()
                    self._adopt()
                    return
            old, self.current = self.current, await self._take(template)
            self._adopt()
            self._leave(old)
        finally:
            self._open.set()

    async def _take(self, template: str) -> Copy:
        """The copy that was left, if it is one of that template, else one made now."""
        if self._spare and self._spare.template == template:
            task = self._spare.task
            await asyncio.wait((task,), timeout=SECONDS_TO_GET_READY)
            if task.done() and (copy := task.result()):
                self._spare = None
                await copy.begin_anew()  # it may have waited long, and this is when it changes
                return copy
        return await Copy.make_to_go_back(self._copies, self.app_state.settings, template)

    def _leave(self, old: Copy) -> None:
        """Make a copy ready to be gone back to, in place of the one that was left before."""
        self._drop_spare()
        self._spare = Spare(old.template, asyncio.create_task(_made_ready(old)))
        if old.template not in {self.seed, *self.snapshots.values()}:
            self._drop_spare()  # nobody goes there any more

    def _adopt(self) -> None:
        """Make the services those of the current copy."""
        copy, known, issuer = self.current, self.app_state, self.app_state.issuer
        self._stand_in.current = copy.database
        self.app_state = replace(
            known, database=copy.database, revisions=copy.revisions, response_cache=copy.answers
        )
        if issuer and [key.kid for key in copy.keys] != issuer.kids:
            issuer.set_keys(copy.keys)
            known.verifier.clear_cache()

    def _drop_spare(self) -> None:
        """Drop the copy that was left, once it is left by all."""
        if self._spare:
            task = asyncio.create_task(_dropped(self._spare.task))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)
        self._spare = None


async def _made_ready(old: Copy) -> Copy | None:
    """Let the requests that run on a copy end, and take it back; it is gone if that fails."""
    try:
        await old.quiet()
        await old.go_back()
    except (Conflict, ServiceUnavailable):
        with suppress(ServiceUnavailable):  # what is left over is dropped when the server ends
            await old.drop()
        return None
    return old


async def _dropped(making_ready: asyncio.Task[Copy | None]) -> None:
    if copy := await making_ready:
        with suppress(ServiceUnavailable):
            await copy.drop()
