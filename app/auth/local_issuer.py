"""The local issuer: this server, which signs access tokens with its own keys.

``trusted_issuer.py`` has the issuers elsewhere. Both return the public key of a key ID;
``tokens.py`` verifies signatures and claims.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import ClassVar

from ..exceptions import ServiceUnavailable
from .scopes import Scope, format_scopes
from .tokens import Claims, Jwk, SigningKey, TokenError, encode_token, get_public_jwk


class LocalIssuer:
    """Issues this server's own access tokens, signed with its newest key.

    It also verifies tokens that were signed with its older keys.
    """

    leeway: ClassVar[int] = 0
    """Seconds of clock difference: none, because the same clock issues and verifies."""

    min_reload_seconds: ClassVar[float] = 1.0
    """Least time between two reloads for an unknown key ID, which any request can name."""

    def __init__(
        self,
        keys: Sequence[SigningKey],
        url: str,
        lifetime: int,
        *,
        audience: str = "",
        load_keys: Callable[[], Awaitable[Sequence[SigningKey]]] | None = None,
    ) -> None:
        self.url = url.removesuffix("/")
        self.lifetimes: dict[str, int] = {}
        """Lifetimes in seconds of the tokens of single clients, instead of the default."""
        self._lifetime = lifetime
        self._audience = {"aud": audience} if audience else {}
        self._load_keys = load_keys
        self._last_reload = -math.inf
        self._keys: dict[str, SigningKey] = {}
        self.set_keys(keys)

    def set_keys(self, keys: Sequence[SigningKey]) -> None:
        """Replace the signing keys with ``keys``, oldest first, of which the last signs new tokens.

        If ``keys`` is empty, the current keys stay.
        """
        if keys:
            self._keys = {key.kid: key for key in keys}

    @property
    def key_ids(self) -> list[str]:
        """The IDs of the signing keys, oldest first."""
        return list(self._keys)

    def issue(self, client_id: str, scopes: Collection[Scope]) -> tuple[str, int]:
        """Issue an access token to a client; return the token and its lifetime in seconds."""
        claims = self.build_claims(client_id, scopes)
        return self.sign(claims), claims["exp"] - claims["iat"]

    def sign(self, claims: Claims) -> str:
        """Encode claims as a token that is signed with the newest key, without checking the claims.

        Raises ``ServiceUnavailable`` if there is no key yet: a server on a standby database cannot
        create one.
        """
        if not self._keys:
            raise ServiceUnavailable(
                "there is no signing key yet: start case-server on the primary once", retry_after=2
            )
        newest = next(reversed(self._keys.values()))
        return encode_token(newest, claims)

    def build_claims(self, client_id: str, scopes: Collection[Scope]) -> Claims:
        """Return the claims of a new access token as a dict, named as in Amazon Cognito's tokens.

        They include ``client_id``, ``scope`` (separated by spaces), ``exp`` (Unix time) and
        ``jti``, a new random token ID.
        """
        now = int(time.time())
        return {
            "sub": client_id,
            "client_id": client_id,
            "token_use": "access",
            "scope": format_scopes(scopes),
            "iss": self.url,
            "auth_time": now,
            "iat": now,
            "exp": now + self.lifetimes.get(client_id, self._lifetime),
            "version": 2,
            "jti": str(uuid.uuid4()),
            **self._audience,
        }

    def build_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Build the JSON Web Key Set that publishes the public keys (RFC 7517, section 5)."""
        return {"keys": [dict(get_public_jwk(key)) for key in self._keys.values()]}

    async def get_key(self, kid: str) -> Jwk:
        """Return the public key with the ID ``kid`` as a JSON Web Key, to verify a token.

        If the ID is unknown, the keys are reloaded, because another process may have added a key.
        Raises ``TokenError`` if there is no such key.
        """
        if kid not in self._keys and self._load_keys:
            now = time.monotonic()
            if now - self._last_reload >= self.min_reload_seconds:
                self._last_reload = now
                self.set_keys(await self._load_keys())
        try:
            return get_public_jwk(self._keys[kid])
        except KeyError:
            raise TokenError("it names a key that this server does not have") from None
