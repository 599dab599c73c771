"""From the text of a token to who is calling, remembered so that most calls cost a look-up."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import Unauthorised
from .scopes import Scope, parse_scopes
from .tokens import Claims, Jwk, TokenError, unverified, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .issuers import LocalIssuer, TrustedIssuer

CAPACITY = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """The client behind a request, and what it may do."""

    client_id: str
    scopes: frozenset[Scope]


class Issuer(Protocol):
    """What the verifier asks of an issuer."""

    @property
    def url(self) -> str:
        """The name its tokens carry as ``iss``."""

    @property
    def leeway(self) -> int:
        """By how many seconds its clock may differ from ours."""

    async def key(self, kid: str) -> Jwk:
        """The public key of this name; ``TokenError`` if there is none."""


class Verifier:
    """Accepts tokens of the issuers it was given, and of nobody else."""

    def __init__(
        self,
        local: LocalIssuer | None,
        trusted: Sequence[TrustedIssuer],
        remember: int = 300,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        issuers: list[Issuer] = [*([local] if local else []), *trusted]
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._remember = remember
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        for issuer in trusted:
            issuer.on_key_change = self.forget

    async def verify(self, token: str) -> Caller:
        """Who sent this token; raises ``Unauthorised`` with the reason if nobody valid did."""
        if (known := self.recall(token)) is not None:
            return known
        try:
            claims = await self._claims(token)
        except TokenError as error:
            raise _refusal(f"The access token is not accepted: {error}.") from error
        caller = Caller(_client_id(claims), parse_scopes(claims.get("scope")))
        self._keep(token, caller, claims["exp"])
        return caller

    def recall(self, token: str) -> Caller | None:
        """Who sent this token, if it was verified lately: no waiting, no cryptography."""
        found = self._remembered.get(_digest(token))
        return found[1] if found is not None and found[0] > self._clock() else None

    def forget(self) -> None:
        """Verify every token anew: the keys that vouched for them have changed."""
        self._remembered.clear()

    async def _claims(self, token: str) -> Claims:
        header, stated = unverified(token)
        issuer = self._issuers.get(str(stated.get("iss")).removesuffix("/"))
        if issuer is None:
            raise TokenError("this server does not trust its issuer")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise TokenError("its header does not name a key (kid)")
        claims = verify(token, await issuer.key(kid), issuer=issuer.url, leeway=issuer.leeway)
        if claims.get("token_use", "access") != "access":
            raise TokenError("it is not an access token (token_use)")
        return claims

    def _keep(self, token: str, caller: Caller, expires: float) -> None:
        digest = _digest(token)
        self._remembered.pop(digest, None)  # kept again, it is among the newest
        self._remembered[digest] = (min(expires, self._clock() + self._remember), caller)
        if len(self._remembered) > CAPACITY:
            self._remembered.popitem(last=False)


def _digest(token: str) -> bytes:
    # The memory holds no tokens: whoever gets to read it cannot call with what is there.
    return hashlib.sha256(token.encode()).digest()


def _client_id(claims: Claims) -> str:
    names = (claims.get("client_id"), claims.get("azp"), claims["sub"])
    return next(name for name in names if isinstance(name, str) and name)


def _refusal(description: str) -> Unauthorised:
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    return Unauthorised(description, headers={"WWW-Authenticate": challenge})
