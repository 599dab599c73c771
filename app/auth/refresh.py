"""Refresh signing keys, clients and revoked tokens that other processes may have changed."""

from __future__ import annotations

import asyncio
import logging

from ..db import auth_store
from ..db.pool import Database
from .local_issuer import LocalIssuer
from .tokens import SigningKey, generate_signing_key
from .verifier import TokenVerifier

log = logging.getLogger("case_server")

POLL_INTERVAL_SECONDS = 2.0
"""The longest time for which the token of a removed client is still accepted."""


async def load_signing_keys(database: Database) -> list[SigningKey]:
    """Load the local issuer's keys from the database as ``SigningKey`` objects, oldest first."""
    stored = await auth_store.list_signing_keys(database)
    return [SigningKey(key.kid, key.private_pem) for key in stored]


async def load_or_create_signing_keys(database: Database) -> list[SigningKey]:
    """Return the local issuer's stored signing keys, after creating one if there are none.

    The list of ``SigningKey`` objects begins with the oldest. On a standby, which cannot store a
    key, it is empty until the primary has a key.
    """
    keys = await load_signing_keys(database)
    if not keys and not database.is_standby:
        key = generate_signing_key()
        await auth_store.add_first_signing_key(database, key.kid, key.private_pem)
        keys = await load_signing_keys(database)
    return keys


class CredentialRefresher:
    """Polls the database for keys, clients and revoked tokens that other processes changed.

    It passes changes to ``verifier`` and to ``issuer``, which issues this server's own tokens. If
    ``issuer`` is None, it polls only revoked tokens.
    """

    # Not LISTEN, because some poolers do not support it.

    def __init__(
        self, database: Database, issuer: LocalIssuer | None, verifier: TokenVerifier
    ) -> None:
        self._database, self._issuer, self._verifier = database, issuer, verifier
        self._last_state: object = None

    async def run(self) -> None:
        """Call ``refresh`` at regular intervals until cancelled; log errors and continue."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001  after any error, the next poll may succeed
                log.debug("could not refresh keys and clients: %s", error)

    async def refresh(self) -> None:
        """Load revoked tokens, keys and clients from the database, and apply changes.

        Replaces the verifier's revoked tokens. If a key or client has changed since the last poll,
        also replaces the issuer's keys and clears the verifier's cache. Raises database errors.
        """
        self._verifier.set_revoked_token_ids(
            await auth_store.list_revoked_token_ids(self._database)
        )
        if self._issuer is None:
            return
        stored = await load_or_create_signing_keys(self._database)
        clients = await auth_store.list_clients(self._database)
        state = (
            [key.kid for key in stored],
            [(client.identifier, client.scopes) for client in clients],
        )
        if state == self._last_state:
            return
        self._last_state = state
        self._issuer.set_keys(stored)
        self._verifier.clear_cache()
