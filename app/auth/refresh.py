"""Refresh what a process knows of signing keys, clients and revoked tokens, which others change."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ..db import auth_store
from .tokens import SigningKey

if TYPE_CHECKING:
    from ..db.pool import Database
    from .local_issuer import LocalIssuer
    from .verifier import Verifier

log = logging.getLogger("case_server")

POLL_INTERVAL_SECONDS = 2.0
"""Between two looks: so long does a removed client's token open doors at most."""


async def load_signing_keys(database: Database) -> list[SigningKey]:
    """The keys of the local issuer, the newest last."""
    return [SigningKey(kid, pem) for kid, pem in await auth_store.load_signing_keys(database)]


class CredentialRefresher:
    """Polls keys, clients and revoked tokens; LISTEN does not work through every pooler.

    Without a local ``issuer`` there are no keys and clients to poll.
    """

    def __init__(self, database: Database, issuer: LocalIssuer | None, verifier: Verifier) -> None:
        self._database, self._issuer, self._verifier = database, issuer, verifier
        self._seen: object = None

    async def run(self) -> None:
        """Look until cancelled; a database that is away is looked at again."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001  whatever it was, the next look may go well
                log.debug("keys and clients could not be looked at: %s", error)

    async def refresh(self) -> None:
        """Take over what changed since the last look."""
        self._verifier.set_revoked_ids(await auth_store.list_revoked_tokens(self._database))
        if self._issuer is None:
            return
        stored = await load_signing_keys(self._database)
        everyone = await auth_store.list_clients(self._database)
        seen = ([key.kid for key in stored], [(one.identifier, one.scopes) for one in everyone])
        if seen == self._seen:
            return
        self._seen = seen
        self._issuer.set_keys(stored)
        self._verifier.clear_cache()
