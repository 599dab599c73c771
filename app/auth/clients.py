"""OAuth clients and the verification of their secrets.

A client is a row of the database, or the one that the settings configure. Verifying a secret is
slow on purpose (scrypt): it runs in a thread, one at a time, and success is cached for a while.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..db import auth_store
from ..db.pool import Database
from ..settings import Settings
from .hashing import FAST_COST, generate_unmatchable_hash, hash_secret, verify_secret
from .scopes import Scope, parse_scopes
from .throttle import LoginThrottle

Credentials = tuple[str, str]
"""A client ID and a secret."""

CLIENT_ID_PATTERN = re.compile(r"[!-9;-~]{1,255}")
"""IDs of clients in the database: visible ASCII without the colon, their end in HTTP Basic."""

CACHE_TTL_SECONDS = 300.0
"""Time for which a verified secret is not hashed again."""

MAX_CACHED_SECRETS = 1_000


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """An OAuth client that has authenticated, and the scopes that its tokens may have."""

    id: str
    scopes: frozenset[Scope]


class ClientAuthenticator:
    """Authenticates OAuth clients: the one in the settings and those in the database."""

    def __init__(
        self, settings: Settings, database: Database, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._configured_id = settings.client_id
        # A slow hash would protect nothing, because the settings contain the secret itself.
        self._configured_hash = hash_secret(settings.client_secret.get_secret_value(), FAST_COST)
        self._database = database
        self._clock = clock
        self._throttle = LoginThrottle(clock)
        self._hashing_lock = asyncio.Lock()
        self._pepper = secrets.token_bytes(32)
        self._verified: OrderedDict[tuple[bytes, str], float] = OrderedDict()
        self._unmatchable_hash = generate_unmatchable_hash()

    async def find_scopes(self, client_id: str) -> frozenset[Scope] | None:
        """Return the current scopes of a client, or None if it does not exist or was removed."""
        if client_id == self._configured_id:
            return frozenset(Scope)
        stored = await self._find_stored_credentials(client_id)
        return parse_scopes(stored.scopes) if stored else None

    def clear_failed_logins(self) -> None:
        """Forget all failed logins, so that no client has to wait before its next login."""
        self._throttle.clear()

    async def authenticate(
        self, credentials: Sequence[Credentials], address: str
    ) -> AuthenticatedClient | None:
        """Return the client with one of these credentials, or None if all of them are wrong.

        ``credentials`` are (ID, secret) pairs, because some requests can be decoded in two ways.
        A failure takes the same time whatever the reason. Raises ``TooManyAttempts`` if logins of
        the client or from the IP address ``address`` have failed too often.
        """
        for client_id, secret in dict.fromkeys(credentials):
            if client := await self._authenticate(client_id, secret, address):
                return client
        return None

    async def _authenticate(
        self, client_id: str, secret: str, address: str
    ) -> AuthenticatedClient | None:
        scopes, hashes = await self._find_scopes_and_hashes(client_id)
        proof = hmac.digest(self._pepper, f"{client_id}\0{secret}".encode(), "sha256")
        is_verified = self._is_verified(proof, hashes)
        self._throttle.check_login_allowed(client_id, address, was_recently_verified=is_verified)
        if not is_verified:
            async with self._hashing_lock:
                # While this request waited for the lock, another one may have failed, or may have
                # verified the same secret.
                is_verified = self._is_verified(proof, hashes)
                self._throttle.check_login_allowed(
                    client_id, address, was_recently_verified=is_verified
                )
                if not is_verified and not await self._verify(proof, secret, hashes):
                    self._throttle.record_failure(client_id, address)
                    return None
        self._throttle.record_success(client_id, address)
        return AuthenticatedClient(client_id, scopes)

    async def _find_scopes_and_hashes(self, client_id: str) -> tuple[frozenset[Scope], list[str]]:
        """Return the scopes of a client, and the hashes that its secret may match.

        An unknown client has no scopes, and one slow hash that no secret matches: it takes as long
        to reject as a known one, so the time does not show which clients exist. The client in the
        settings has a fast hash, followed by the slow one for the same reason.
        """
        if client_id == self._configured_id:
            return frozenset(Scope), [self._configured_hash, self._unmatchable_hash]
        stored = await self._find_stored_credentials(client_id)
        if stored and stored.secret_hashes:
            return parse_scopes(stored.scopes), stored.secret_hashes
        return frozenset(), [self._unmatchable_hash]

    async def _find_stored_credentials(self, client_id: str) -> auth_store.StoredClient | None:
        if not CLIENT_ID_PATTERN.fullmatch(client_id):
            return None
        return await auth_store.find_client_credentials(self._database, client_id)

    def _is_verified(self, proof: bytes, hashes: Sequence[str]) -> bool:
        now = self._clock()
        return any(self._verified.get((proof, stored), 0.0) > now for stored in hashes)

    async def _verify(self, proof: bytes, secret: str, hashes: Sequence[str]) -> bool:
        for stored in hashes:
            if await asyncio.to_thread(verify_secret, secret, stored):
                self._verified[proof, stored] = self._clock() + CACHE_TTL_SECONDS
                self._verified.move_to_end((proof, stored))
                if len(self._verified) > MAX_CACHED_SECRETS:
                    self._verified.popitem(last=False)
                return True
        return False
