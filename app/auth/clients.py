"""Who may ask this server for a token, and for which scopes.

A client is a row of the database, or the one that the settings name. Checking a secret is slow on
purpose: it is done in a thread, one at a time, and what was right is remembered for a while.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..db import auth_store
from .hashing import generate_secret, hash_secret, verify_secret
from .scopes import Scope, parse_scopes
from .throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..db.pool import Database
    from ..settings import Settings

Credentials = tuple[str, str]
"""A client's id and its secret."""

CLIENT_ID_PATTERN = re.compile(r"[!-9;-~]{1,255}")
"""What an id in the database is: visible ASCII, without the colon that HTTP Basic ends it with."""
CACHE_TTL_SECONDS = 300.0
"""Seconds for which a secret that was right is not hashed again."""
MAX_CACHED_SECRETS = 1_000


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who proved to know a secret."""

    id: str
    scopes: frozenset[Scope]


class ClientRegistry:
    """Everybody who may ask: the client that the settings name first, then the database's."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = settings.client_id
        self._first_secret = settings.client_secret
        self._database = database
        self._clock = clock
        self._throttle = Throttle(clock)
        self._one_at_a_time = asyncio.Lock()
        self._pepper = secrets.token_bytes(32)
        self._proven: OrderedDict[tuple[bytes, str], float] = OrderedDict()
        self._nobodys_secret = generate_secret()
        self._hashed: dict[str, str] = {}

    async def scopes_of(self, client_id: str) -> frozenset[Scope] | None:
        """What a client may do now; None if there is no such client, or no more."""
        if client_id == self._first:
            return frozenset(Scope)
        if not CLIENT_ID_PATTERN.fullmatch(client_id):
            return None
        known = await auth_store.find_client(self._database, client_id)
        return parse_scopes(known.scopes) if known else None

    def clear_failures(self) -> None:
        """Forget all failed attempts, so that none delays the next one."""
        self._throttle.clear()

    async def authenticate(self, credentials: Sequence[Credentials], address: str) -> Client | None:
        """The client that one of these readings of a request proves.

        Finding none takes the same time for any reason. Raises ``TooManyAttempts`` when this
        client, or ``address``, failed too often lately.
        """
        for client_id, secret in dict.fromkeys(credentials):
            if client := await self._authenticate(client_id, secret, address):
                return client
        return None

    async def _authenticate(self, client_id: str, secret: str, address: str) -> Client | None:
        scopes, hashes = await self._known(client_id)
        proof = hmac.digest(self._pepper, f"{client_id}\0{secret}".encode(), "sha256")
        proven = self._is_proven(proof, hashes)
        self._throttle.check(client_id, address, is_verified=proven)
        if not proven:
            async with self._one_at_a_time:
                # Who waited here may find that another request failed, or proved the same.
                proven = self._is_proven(proof, hashes)
                self._throttle.check(client_id, address, is_verified=proven)
                if not proven and not await self._prove(proof, secret, hashes):
                    self._throttle.record_failure(client_id, address)
                    return None
        self._throttle.record_success(client_id, address)
        return Client(client_id, scopes)

    async def _known(self, client_id: str) -> tuple[frozenset[Scope], list[str]]:
        if client_id == self._first:
            return frozenset(Scope), [await self._hash(self._first_secret.get_secret_value())]
        known = (
            await auth_store.find_client(self._database, client_id)
            if CLIENT_ID_PATTERN.fullmatch(client_id)
            else None
        )
        if known and known.hashes:
            return parse_scopes(known.scopes), known.hashes
        return frozenset(), [await self._hash(self._nobodys_secret)]

    def _is_proven(self, proof: bytes, hashes: Sequence[str]) -> bool:
        now = self._clock()
        return any(self._proven.get((proof, one), 0.0) > now for one in hashes)

    async def _prove(self, proof: bytes, secret: str, hashes: Sequence[str]) -> bool:
        for one in hashes:
            if await asyncio.to_thread(verify_secret, secret, one):
                self._proven[proof, one] = self._clock() + CACHE_TTL_SECONDS
                self._proven.move_to_end((proof, one))
                if len(self._proven) > MAX_CACHED_SECRETS:
                    self._proven.popitem(last=False)
                return True
        return False

    async def _hash(self, secret: str) -> str:
        """The hash of a secret that is in no database, made once."""
        if secret not in self._hashed:
            self._hashed[secret] = await asyncio.to_thread(hash_secret, secret)
        return self._hashed[secret]
