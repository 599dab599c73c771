"""Who issues tokens that this server accepts: itself; issuers elsewhere are in ``trusted``.

Both answer the same question, which key has this ``kid``; checking the token is ``tokens``' work.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from typing import TYPE_CHECKING, ClassVar

from .scopes import Scope, format_scopes
from .tokens import Claims, Jwk, SigningKey, TokenError, encode_token, public_jwk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

logger = logging.getLogger(__name__)


class LocalIssuer:
    """This server as issuer: signs with its newest key, stands by what the older ones signed."""

    leeway: ClassVar[int] = 0  # the clock that issued is the clock that checks

    min_reload_seconds: ClassVar[float] = 1.0
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
        self._keys: dict[str, SigningKey] = {}
        self.set_keys(keys)

    def set_keys(self, keys: Sequence[SigningKey]) -> None:
        """Sign with the last of these keys, and stand by all of them; none change nothing."""
        if not keys:
            return
        self._newest = keys[-1]
        self._keys = {key.kid: key for key in keys}

    @property
    def kids(self) -> list[str]:
        """The names of its keys, the newest last."""
        return list(self._keys)

    def issue(self, client_id: str, scopes: Collection[Scope]) -> tuple[str, int]:
        """Return a new token and the seconds it lives."""
        claims = self.claims(client_id, scopes)
        return self.sign(claims), claims["exp"] - claims["iat"]

    def sign(self, claims: Claims) -> str:
        """Any claims as a token of this issuer."""
        return encode_token(self._newest, claims)

    def claims(self, client_id: str, scopes: Collection[Scope]) -> Claims:
        """What a new token says; the claims are those of Cognito's."""
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

    def warm_up(self) -> None:
        """Read the keys, so that they are at hand."""
        self.jwks()

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The document that publishes the keys."""
        return {"keys": [dict(public_jwk(key)) for key in self._keys.values()]}

    async def key(self, kid: str) -> Jwk:
        """The public key of this name, looked for once more if another process may have made it."""
        if kid not in self._keys and self._reload:
            now = time.monotonic()
            if now - self._looked >= self.min_reload_seconds:
                self._looked = now
                self.set_keys(await self._reload())
        try:
            return public_jwk(self._keys[kid])
        except KeyError:
            raise TokenError("it names a key that this server does not have") from None
