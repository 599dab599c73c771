"""NamespaceRegistry: isolated databases, issuers, faults and request logs of one server.

Requests of a namespace run on a clone of its seed. A reset reverts the rows that were written to
the clone, which takes about 10 ms; creating a clone takes 150 ms and more. So a namespace creates
one only if requests still use the current clone, or for a seed or snapshot that neither the current
nor the previous clone was created from.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

from ..auth.local_issuer import LocalIssuer
from ..auth.refresh import load_signing_keys
from ..auth.tokens import generate_signing_key
from ..case.package import PreparedPackage
from ..db import auth_store
from ..db.postgres import clones
from ..db.postgres.clones import DatabaseCloner
from ..db.write.upload.package import write_package
from ..exceptions import BadRequest, Conflict, NotFound, ServiceUnavailable
from ..settings import Settings
from ..state import AppState, open_app_state
from .clone import DatabaseClone, DatabaseProxy
from .faults import FaultRule
from .request_log import RequestLog

RESET_TIMEOUT_SECONDS = 0.1
"""Time that a reset waits for requests on the current clone before it creates another one.

A client may request a reset when it has the last byte of a response, before the server has finished
the request."""

DEFAULT_NAMESPACE = "default"
"""The namespace of requests that name none."""

NAME_PATTERN = re.compile(r"[a-z0-9-]{1,40}")
MAX_NAMESPACES = 32
"""Maximum number: each has up to two pools, and Postgres allows 100 connections by default."""

MAX_POOL_SIZE = 3
"""Largest connection pool of a namespace other than the default one."""


class Namespace:
    """An isolated database, faults, tokens and request log for a test suite on a shared server.

    Test suites in different namespaces do not affect each other.
    """

    def __init__(
        self,
        name: str,
        app_state: AppState,
        proxy: DatabaseProxy,
        cloner: DatabaseCloner,
        current: DatabaseClone,
    ) -> None:
        self.name, self.app_state = name, app_state
        self.current, self.seed = current, current.template
        self.snapshots: dict[str, str] = {}
        """Names of databases by names of snapshots."""
        settings = app_state.settings
        secrets = (settings.client_secret, settings.test_api_token)
        self.request_log = RequestLog(secret.get_secret_value() for secret in secrets)
        self.faults: list[FaultRule] = []
        """The faults; if several apply to a request, the first is injected."""
        self.generation = 0
        """Number of resets and restores; a request of an earlier generation is not applied."""
        self._proxy, self._cloner = proxy, cloner
        self._previous: DatabaseClone | None = None
        """The clone used before the current one."""
        self._drops: set[asyncio.Task[None]] = set()
        self._change_lock = asyncio.Lock()
        self._is_available = asyncio.Event()
        self._is_available.set()
        self._update_app_state()

    @asynccontextmanager
    async def acquire_app_state(self, *, writes: bool) -> AsyncIterator[AppState]:
        """Yield the application state for a request, and keep its database from being dropped.

        Waits while the database is being switched. ``writes`` must be true if the request may
        change data, because the next reset otherwise assumes that the database is unmodified.
        """
        await self._is_available.wait()
        app_state, clone = self.app_state, self.current
        clone.is_written |= writes
        with clone.count_request():
            yield app_state

    async def reset(self) -> None:
        """Restore the seed data, and clear faults, requests, token lifetimes and failed logins.

        Tests call this so that no test depends on another.
        """
        async with self._change_lock:
            await self._switch_to_template(self.seed)
        self.request_log.clear()
        self.faults = []
        self.app_state.clients.clear_failed_logins()
        if self.app_state.issuer:
            self.app_state.issuer.lifetimes.clear()

    async def replace_seed(self, empty_template: str, packages: Sequence[PreparedPackage]) -> str:
        """Replace the seed data with packages, reset, and return the old seed database's name.

        The packages are written to a copy of the database ``empty_template``. If ``write_package``
        raises an error for one of them, nothing changes. The caller must drop the old database if
        no other namespace uses it.
        """
        async with self._change_lock:
            settings = self.app_state.settings
            clone = await DatabaseClone.create(self._cloner, settings, empty_template)
            try:
                for package in packages:
                    await write_package(clone.database, package)
                await clone.close()
            except BaseException:
                await clone.drop()
                raise
            previous, self.seed = self.seed, clone.name
        await self.reset()
        return previous

    async def save_snapshot(self, name: str) -> None:
        """Save the current data under a name, so that ``restore_snapshot`` can restore them.

        Requests wait until the snapshot is saved. Raises ``Conflict`` if requests that are already
        running take more than 30 s.
        """
        async with self._change_lock:
            self._is_available.clear()
            try:
                await self.current.wait_until_idle()
                await self.current.close()  # Postgres copies no database in use
                try:
                    database = await self._cloner.clone(self.current.name)
                finally:
                    await self.current.open()
                    self._update_app_state()
            finally:
                self._is_available.set()
        if old_snapshot := self.snapshots.get(name):
            self._cloner.drop_in_background(old_snapshot)
        self.snapshots[name] = database

    async def restore_snapshot(self, name: str) -> None:
        """Replace the current data with those of a snapshot.

        The faults and the request log stay as they are. Raises ``NotFound`` for an unknown name.
        """
        async with self._change_lock:
            await self._switch_to_template(self._snapshot_database(name))

    async def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot and drop its database."""
        database = self._snapshot_database(name)
        del self.snapshots[name]
        async with self._change_lock:
            self._cloner.drop_in_background(database)

    def _snapshot_database(self, name: str) -> str:
        if name not in self.snapshots:
            names = ", ".join(self.snapshots) or "there are none"
            raise NotFound("snapshot", name, f"take it first (snapshots: {names})")
        return self.snapshots[name]

    async def rotate_keys(self, issuer: LocalIssuer, *, revoke: bool) -> str:
        """Make ``issuer`` sign access tokens with a new key and return its ID (``kid``).

        With ``revoke``, deletes the older keys, so that tokens signed by them become invalid.
        """
        key = await asyncio.to_thread(generate_signing_key)
        async with self._change_lock:
            clone = self.current
            clone.is_written = True
            await auth_store.rotate_signing_key(
                clone.database, key.kid, key.private_pem, delete_older=revoke
            )
            clone.keys = await load_signing_keys(clone.database)
            issuer.set_keys(clone.keys)
            self.app_state.verifier.clear_cache()
        return key.kid

    async def drop_databases(self) -> None:
        """Drop the databases of this namespace, except its seed, which other namespaces may use."""
        async with self._change_lock:
            self._drop_previous_clone()
            for database in self.snapshots.values():
                self._cloner.drop_in_background(database)
            await asyncio.gather(self.current.drop(), *self._drops)

    async def _switch_to_template(self, template: str) -> None:
        """Switch the namespace to an unmodified copy of the database ``template``.

        Requests wait meanwhile. Does nothing if the current clone is a copy of it and was not
        written to.
        """
        self.generation += 1
        old_clone = self.current
        if old_clone.template == template and not old_clone.is_written:
            return
        self._is_available.clear()
        try:
            self.current = await self._get_or_create_clone(template)
            self._update_app_state()
        finally:
            self._is_available.set()
        if self.current is not old_clone:
            if self.current is not self._previous:
                self._drop_previous_clone()
            self._previous = old_clone
        if self._previous and self._previous.template not in {self.seed, *self.snapshots.values()}:
            self._drop_previous_clone()

    async def _get_or_create_clone(self, template: str) -> DatabaseClone:
        """Return an unmodified copy of the database ``template``.

        Reuses the current or the previous clone if it is a copy of ``template``, after waiting for
        its requests and undoing its writes. Otherwise, or if a request takes too long, creates a
        new clone.
        """
        for clone in (self.current, self._previous):
            if clone and clone.template == template:
                with suppress(Conflict):
                    await clone.wait_until_idle(RESET_TIMEOUT_SECONDS)
                    await clone.restore_baseline()
                    return clone
        settings = self.app_state.settings
        return await DatabaseClone.create(self._cloner, settings, template, is_undoable=True)

    def _update_app_state(self) -> None:
        """Switch the application state to the database, caches and keys of the current clone."""
        clone, app_state, issuer = self.current, self.app_state, self.app_state.issuer
        self._proxy.current = clone.database
        self.app_state = replace(
            app_state,
            database=clone.database,
            revisions=clone.revisions,
            response_cache=clone.response_cache,
        )
        if issuer and [key.kid for key in clone.keys] != issuer.key_ids:
            issuer.set_keys(clone.keys)
            app_state.verifier.clear_cache()

    def _drop_previous_clone(self) -> None:
        if self._previous:
            task = asyncio.create_task(_drop_when_idle(self._previous))
            self._drops.add(task)
            task.add_done_callback(self._drops.discard)
        self._previous = None


async def _drop_when_idle(clone: DatabaseClone) -> None:
    with suppress(Conflict):
        await clone.wait_until_idle()
    with suppress(ServiceUnavailable):  # the server drops it when it stops
        await clone.drop()


class NamespaceRegistry:
    """Creates, returns and drops the test namespaces of a server, each with its own database."""

    def __init__(self, settings: Settings, cloner: DatabaseCloner, seed: str) -> None:
        self._settings, self._cloner, self._seed = settings, cloner, seed
        self._empty: str | None = None
        self.by_name: dict[str, Namespace] = {}
        """All existing test namespaces."""
        self._stacks: dict[str, AsyncExitStack] = {}
        self._create_lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[NamespaceRegistry]:
        """Yield a ``NamespaceRegistry`` whose default namespace has a copy of the server's data.

        All namespaces use copies of the database, which are dropped on exit. The server's database
        is never modified.
        """
        async with DatabaseCloner.open(settings.database_url) as cloner:
            seed = await DatabaseClone.create(cloner, settings, cloner.main)
            # Creating the state creates the signing keys. As they are part of the seed, all clones
            # have the same ones.
            async with open_app_state(settings, seed.database):
                await seed.close()
            namespaces = cls(settings, cloner, seed.name)
            await namespaces.get_or_create(DEFAULT_NAMESPACE)
            try:
                yield namespaces
            finally:
                closing = (namespaces._close(name) for name in [*namespaces.by_name])
                # If Postgres has stopped before, there is nothing to drop.
                await asyncio.gather(*closing, return_exceptions=True)

    def get(self, name: str) -> Namespace:
        """Return the existing test namespace ``name``. Raises ``NotFound`` if there is none."""
        if name not in self.by_name:
            raise NotFound("namespace", name, f"choose from {', '.join(self.by_name)}")
        return self.by_name[name]

    async def get_or_create(self, name: str) -> Namespace:
        """Return a test namespace, which is created with the default seed if it does not exist.

        Raises ``BadRequest`` for an invalid name, ``Conflict`` if there are already 32 namespaces.
        """
        if namespace := self.by_name.get(name):
            return namespace
        if not NAME_PATTERN.fullmatch(name):
            raise BadRequest(
                f"invalid namespace {name!r}: use 1 to 40 of the characters a-z, 0-9 and -"
            )
        async with self._create_lock:
            return self.by_name.get(name) or await self._create(name)

    async def _create(self, name: str) -> Namespace:
        if len(self.by_name) >= MAX_NAMESPACES:
            raise Conflict(
                f"there are already {MAX_NAMESPACES} namespaces: drop one with DELETE "
                f"/_test/namespaces/NAME ({', '.join(self.by_name)})"
            )
        default = self.by_name.get(DEFAULT_NAMESPACE)
        seed, settings = default.seed if default else self._seed, self._settings
        if name != DEFAULT_NAMESPACE:
            pool_size = min(settings.pool_size, MAX_POOL_SIZE)
            update = {"public_url": f"{settings.base_url}/ns/{name}", "pool_size": pool_size}
            settings = settings.model_copy(update=update)
        stack = AsyncExitStack()
        clone = await DatabaseClone.create(self._cloner, settings, seed, is_undoable=True)
        proxy = DatabaseProxy(clone.database)
        try:
            app_state = await stack.enter_async_context(open_app_state(settings, proxy))
        except BaseException:
            await clone.drop()
            raise
        namespace = Namespace(name, app_state, proxy, self._cloner, clone)
        self.by_name[name], self._stacks[name] = namespace, stack
        return namespace

    async def drop(self, name: str) -> None:
        """Delete a test namespace and its databases.

        Raises ``NotFound`` for an unknown namespace, ``Conflict`` for the default one.
        """
        if name == DEFAULT_NAMESPACE:
            raise Conflict("the default namespace cannot be dropped: use POST /_test/reset")
        seed = self.get(name).seed
        await self._close(name)
        await self._drop_unused_seed(seed)

    async def replace_seed(self, namespace: Namespace, packages: Sequence[PreparedPackage]) -> None:
        """Replace the seed data of a namespace with packages, and reset the namespace to them.

        Later resets restore the same data.
        """
        previous = await namespace.replace_seed(await self._get_empty_database(), packages)
        await self._drop_unused_seed(previous)

    async def _get_empty_database(self) -> str:
        async with self._create_lock:
            if self._empty is None:
                clone = await DatabaseClone.create(self._cloner, self._settings, self._seed)
                await clones.delete_all_frameworks(clone.database)
                await clone.close()
                self._empty = clone.name
        return self._empty

    async def _drop_unused_seed(self, name: str) -> None:
        # A namespace that is being created may have begun to copy the seed.
        async with self._create_lock:
            seeds = {self._seed, *(namespace.seed for namespace in self.by_name.values())}
            if name not in seeds:
                self._cloner.drop_in_background(name)

    async def _close(self, name: str) -> None:
        await self.by_name.pop(name).drop_databases()
        await self._stacks.pop(name).aclose()
