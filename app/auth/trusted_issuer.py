"""Trusted issuers: other servers whose access tokens are accepted, with their cached keys."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, ClassVar

import httpx
import orjson

from ..exceptions import ServiceUnavailable
from ..net import ssrf
from ..settings import is_https_or_loopback, require_secure_issuers
from .tokens import Jwk, TokenError

MAX_RESPONSE_BYTES = 512 * 1024
"""Size of a key set; real issuers publish a few thousand bytes."""

log = logging.getLogger(__name__)


class TrustedIssuer:
    """An external token issuer, whose public keys are fetched on first use and then cached."""

    leeway: ClassVar[int] = 60
    """Seconds by which its clock may differ."""
    max_age: ClassVar[int] = 3600
    """Seconds after which keys are fetched again, so that withdrawn ones are rejected."""
    min_retry_seconds: ClassVar[int] = 60
    """Least time between two fetches."""
    min_retry_seconds_without_keys: ClassVar[int] = 5
    """Shorter, because the issuer may be starting at the same time as this server."""

    def __init__(
        self, url: str, http: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        require_secure_issuers([url])
        self.url = url.removesuffix("/")
        self.on_key_change: Callable[[], None] = lambda: None
        self._http = http
        self._clock = clock
        self._keys: dict[str, Jwk] = {}
        self._last_success = self._last_attempt = -math.inf
        self._fetch_lock = asyncio.Lock()

    async def get_key(self, kid: str) -> Jwk:
        """Return the issuer's public key with the ID ``kid`` as a JSON Web Key.

        The keys are fetched if the ID is unknown, or if the cached keys are older than ``max_age``.
        Raises ``TokenError`` if the issuer has no such key, and ``ServiceUnavailable`` if its keys
        could not be fetched.
        """
        if kid not in self._keys or self._clock() - self._last_success >= self.max_age:
            await self._refresh()
        if not self._keys:
            raise ServiceUnavailable(
                f"The keys of the issuer {self.url} could not be fetched; retry later.",
                retry_after=max(1, math.ceil(self._compute_seconds_until_key_fetch())),
            )
        try:
            return self._keys[kid]
        except KeyError:
            raise TokenError("it names a key that its issuer does not publish") from None

    def _compute_seconds_until_key_fetch(self) -> float:
        """Return the seconds until keys may be fetched again; zero or less means now."""
        seconds = self.min_retry_seconds if self._keys else self.min_retry_seconds_without_keys
        return self._last_attempt + seconds - self._clock()

    async def _refresh(self) -> None:
        # A request that waited for the lock uses the result of the one that held it.
        async with self._fetch_lock:
            if self._compute_seconds_until_key_fetch() > 0:
                return
            try:
                keys = await self._fetch_keys()
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                log.warning("could not fetch the keys of %s: %s", self.url, error or repr(error))
                self._last_attempt = self._clock()
                return
            self._last_attempt = self._last_success = self._clock()
            if keys != self._keys:
                self._keys = keys
                self.on_key_change()

    async def _fetch_keys(self) -> dict[str, Jwk]:
        url = await self._fetch_jwks_uri()
        status, value = await self._fetch_member(url, "keys")
        entries = value if isinstance(value, list) else []
        keys: dict[str, Jwk] = {
            entry["kid"]: entry
            for entry in entries
            if isinstance(entry, dict) and isinstance(entry.get("kid"), str)
        }
        if not keys:
            raise ValueError(f"{url} answered {status} without keys")
        return keys

    async def _fetch_jwks_uri(self) -> str:
        url = f"{self.url}/.well-known/openid-configuration"
        _, uri = await self._fetch_member(url, "jwks_uri")
        return uri if isinstance(uri, str) else f"{self.url}/.well-known/jwks.json"

    async def _fetch_member(self, url: str, name: str) -> tuple[int, Any]:
        """Fetch a JSON object and return the HTTP status and the object's member ``name``.

        The member is None if it is missing, if the status is not 200, or if the response is not a
        JSON object. Raises ``ValueError`` for an insecure URL, ``httpx.HTTPError`` if the request
        fails.
        """
        if not is_https_or_loopback(url):
            raise ValueError(f"{url!r} must be an https URL")
        status, body = await ssrf.fetch_limited(self._http, url, max_bytes=MAX_RESPONSE_BYTES)
        try:
            content = orjson.loads(body) if status == httpx.codes.OK else None
        except ValueError:
            content = None
        return status, content.get(name) if isinstance(content, dict) else None
