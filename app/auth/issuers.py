"""Who issues tokens that this server accepts: itself, and issuers elsewhere that it trusts.

Both answer the same question, which key has this ``kid``; checking the token is ``tokens``' work.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import httpx
import orjson

from .. import guarded
from ..errors import StartupError, Unavailable
from ..settings import is_loopback
from .scopes import Scope, spell
from .tokens import Claims, Jwk, SigningKey, TokenError, public_jwk, sign

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

MAX_ANSWER = 512 * 1024
"""Bytes of keys that are read at most; real issuers publish a few thousand."""

logger = logging.getLogger(__name__)


class LocalIssuer:
    """This server as issuer: signs with its newest key, stands by what the older ones signed."""

    leeway: ClassVar[int] = 0  # the clock that issued is the clock that checks

    pause: ClassVar[float] = 1.0
    """Seconds between two looks for a key that is not known: any request can name one."""

    def __init__(
        self,
        keys: Sequence[SigningKey],
        url: str,
        lifetime: int,
        *,
        audience: str = "",
        reload: Callable[[], Awaitable[Sequence[SigningKey]]] | None = None,
    ) -> None:
        self.url = url.removesuffix("/")
        self.lifetimes: dict[str, int] = {}
        """Seconds that the tokens of a client live, where that is not what all others do."""
        self._lifetime = lifetime
        self._audience = {"aud": audience} if audience else {}
        self._reload = reload
        self._looked = -math.inf
        self._newest = keys[-1]
        self._public: dict[str, dict[str, str]] = {}
        self.use(keys)

    def use(self, keys: Sequence[SigningKey]) -> None:
        """Sign with the last of these keys, and stand by all of them; none change nothing."""
        if not keys:
            return
        self._newest = keys[-1]
        self._public = {key.kid: public_jwk(key) for key in keys}

    @property
    def kids(self) -> list[str]:
        """The names of its keys, the newest last."""
        return list(self._public)

    def issue(self, client_id: str, scopes: Collection[Scope]) -> tuple[str, int]:
        """Return a new token and the seconds it lives."""
        claims = self.claims(client_id, scopes)
        return self.sign(claims), claims["exp"] - claims["iat"]

    def sign(self, claims: Claims) -> str:
        """Any claims as a token of this issuer."""
        return sign(self._newest, claims)

    def claims(self, client_id: str, scopes: Collection[Scope]) -> Claims:
        """What a new token says; the claims are those of Cognito's."""
        now = int(time.time())
        return {
            "sub": client_id,
            "client_id": client_id,
            "token_use": "access",
            "scope": spell(scopes),
            "iss": self.url,
            "auth_time": now,
            "iat": now,
            "exp": now + self.lifetimes.get(client_id, self._lifetime),
            "version": 2,
            "jti": str(uuid.uuid4()),
            **self._audience,
        }

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The document that publishes the keys."""
        return {"keys": list(self._public.values())}

    async def key(self, kid: str) -> Jwk:
        """The public key of this name, looked for once more if another process may have made it."""
        if kid not in self._public and self._reload:
            now = time.monotonic()
            if now - self._looked >= self.pause:
                self._looked = now
                self.use(await self._reload())
        try:
            return self._public[kid]
        except KeyError:
            raise TokenError("it names a key that this server does not have") from None


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
        refuse_unsafe_issuers([url])
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
            raise Unavailable(
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
        if not _is_safe(url):
            raise ValueError(f"{url!r} is neither https nor on this machine")
        status, body = await guarded.read(self._http, url, limit=MAX_ANSWER)
        return status, _object(status, body).get(name)


def refuse_unsafe_issuers(urls: Iterable[str]) -> None:
    """Raise ``StartupError`` for an issuer whose keys somebody between could exchange."""
    for url in urls:
        if not _is_safe(url):
            raise StartupError(
                f"the trusted issuer {url!r} must be an https URL (http only on this machine): "
                "its keys decide who may come in"
            )


def _nothing() -> None:
    """Nobody listens yet."""


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    )


def _object(status: int, body: bytes) -> dict[str, Any]:
    if status != httpx.codes.OK:
        return {}
    try:
        content = orjson.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
