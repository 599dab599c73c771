"""Issuers elsewhere whose tokens this server accepts: their keys, fetched and kept."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import orjson

from ..exceptions import ServiceUnavailable
from ..net import ssrf
from ..settings import is_https_or_loopback, require_secure_issuers
from .tokens import Jwk, TokenError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RESPONSE_BYTES = 512 * 1024
"""Bytes of keys that are read at most; real issuers publish a few thousand."""

logger = logging.getLogger(__name__)


class TrustedIssuer:
    """An issuer elsewhere: its keys are fetched when first needed, and kept."""

    leeway: ClassVar[int] = 60
    max_age: ClassVar[int] = 3600
    """Keys are asked for again after this time, so that a withdrawn one stops being accepted."""
    pause: ClassVar[int] = 60
    pause_without_keys: ClassVar[int] = 5
    """An issuer that starts beside this server, and more slowly, is not left out for a minute."""

    def __init__(
        self,
        url: str,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_secure_issuers([url])
        self.url = url.removesuffix("/")
        self.on_key_change: Callable[[], None] = _nothing
        self._http = http
        self._clock = clock
        self._keys: dict[str, Jwk] = {}
        self._fetched = self._tried = -math.inf
        self._fetching = asyncio.Lock()

    async def key(self, kid: str) -> Jwk:
        """The public key of this name, asking the issuer if it is unknown or long kept."""
        if kid not in self._keys or self._clock() - self._fetched >= self.max_age:
            await self._refresh()
        if not self._keys:
            raise ServiceUnavailable(
                f"The keys of the issuer {self.url} cannot be fetched now.",
                headers={"Retry-After": str(max(1, math.ceil(self._wait())))},
            )
        try:
            return self._keys[kid]
        except KeyError:
            raise TokenError("it names a key that its issuer does not publish") from None

    def _wait(self) -> float:
        pause = self.pause if self._keys else self.pause_without_keys
        return self._tried + pause - self._clock()

    async def _refresh(self) -> None:
        # Whoever waited here for another request's fetch finds it done, and uses what it brought.
        async with self._fetching:
            if self._wait() > 0:
                return
            try:
                keys = await self._fetch()
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                logger.warning("cannot fetch the keys of %s: %s", self.url, error or repr(error))
                self._tried = self._clock()
                return
            self._tried = self._fetched = self._clock()
            if keys != self._keys:
                self._keys = keys
                self.on_key_change()

    async def _fetch(self) -> dict[str, Jwk]:
        url = await self._jwks_uri()
        status, listed = await self._get(url, "keys")
        entries = listed if isinstance(listed, list) else []
        keys: dict[str, Jwk] = {
            entry["kid"]: entry
            for entry in entries
            if isinstance(entry, dict) and isinstance(entry.get("kid"), str)
        }
        if not keys:
            raise ValueError(f"{url} answered {status} and no keys")
        return keys

    async def _jwks_uri(self) -> str:
        _, uri = await self._get(f"{self.url}/.well-known/openid-configuration", "jwks_uri")
        return uri if isinstance(uri, str) else f"{self.url}/.well-known/jwks.json"

    async def _get(self, url: str, name: str) -> tuple[int, Any]:
        """The status, and what the object at ``url`` has under this name."""
        if not is_https_or_loopback(url):
            raise ValueError(f"{url!r} is neither https nor on this machine")
        status, body = await ssrf.fetch_limited(self._http, url, max_bytes=MAX_RESPONSE_BYTES)
        return status, _object(status, body).get(name)


def _nothing() -> None:
    """Nobody listens yet."""


def _object(status: int, body: bytes) -> dict[str, Any]:
    if status != httpx.codes.OK:
        return {}
    try:
        content = orjson.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
