"""From the text of a token to who is calling, remembered so that most calls cost a look-up."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import Unauthorised
from .scopes import Scope, parse_scopes
from .tokens import Claims, Jwk, TokenError, unverified, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .issuers import LocalIssuer
    from .trusted import TrustedIssuer

CAPACITY = 10_000
REMEMBER = 300
"""Seconds for which a token that was verified is not verified again."""


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


ScopesOf = Callable[[str], Awaitable[frozenset[Scope] | None]]
"""What a client of the local issuer may do now; None if it is not known any more."""


class Verifier:
    """Accepts tokens of the issuers it was given, and of nobody else.

    ``scopes_of`` asks for the clients of the local issuer; without it, its word alone counts.
    With an ``audience``, a token must be for it.
    """

    def __init__(
        self,
        local: LocalIssuer | None,
        trusted: Sequence[TrustedIssuer],
        *,
        scopes_of: ScopesOf | None = None,
        audience: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        issuers: list[Issuer] = [*([local] if local else []), *trusted]
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._local = local
        self._scopes_of = scopes_of
        self._audience = audience
        self._clock = clock
        self._changes = 0
        self._remembered: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        for issuer in trusted:
            issuer.on_key_change = self.forget

    async def verify(self, token: str) -> Caller:
        """Who sent this token; raises ``Unauthorised`` with the reason if nobody valid did."""
        if (known := self.recall(token)) is not None:
            return known
        try:
            claims = await self._claims(token)
            changes = self._changes
            caller = await self._caller(claims)
        except TokenError as error:
            raise _refusal(f"The access token is not accepted: {error}.") from error
        if changes == self._changes:  # else what it was checked against may be gone by now
            self._keep(token, caller, claims["exp"])
        return caller

    def recall(self, token: str) -> Caller | None:
        """Who sent this token, if it was verified lately: no waiting, no cryptography."""
        found = self._remembered.get(_digest(token))
        return found[1] if found is not None and found[0] > self._clock() else None

    def forget(self) -> None:
        """Verify every token anew: the keys or clients that vouched for them have changed."""
        self._changes += 1
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
        if self._audience and not _is_for(self._audience, claims.get("aud")):
            raise TokenError("it is for another audience (aud)")
        return claims

    async def _caller(self, claims: Claims) -> Caller:
        client_id, scopes = _client_id(claims), parse_scopes(claims.get("scope"))
        ours = self._local is not None and claims["iss"].removesuffix("/") == self._local.url
        if ours and self._scopes_of:
            held = await self._scopes_of(client_id)
            if held is None:
                raise TokenError("its client is not known here any more")
            scopes &= held
        return Caller(client_id, scopes)

    def _keep(self, token: str, caller: Caller, expires: float) -> None:
        digest = _digest(token)
        self._remembered.pop(digest, None)  # kept again, it is among the newest
        self._remembered[digest] = (min(expires, self._clock() + REMEMBER), caller)
        if len(self._remembered) > CAPACITY:
            self._remembered.popitem(last=False)


def _digest(token: str) -> bytes:
    # The memory holds no tokens: whoever gets to read it cannot call with what is there.
    return hashlib.sha256(token.encode()).digest()


def _is_for(audience: str, claim: object) -> bool:
    """Whether the claim is this audience, or an array with it (RFC 7519, section 4.1.3)."""
    return claim == audience or (isinstance(claim, list) and audience in claim)


def stated_client(token: str) -> str | None:
    """Who a token says its client is, whether that is true or not: for logs, never for access."""
    try:
        _, claims = unverified(token)
        return _client_id({"sub": "", **claims})
    except (TokenError, StopIteration):
        return None


def _client_id(claims: Claims) -> str:
    names = (claims.get("client_id"), claims.get("azp"), claims["sub"])
    return next(name for name in names if isinstance(name, str) and name)


def _refusal(description: str) -> Unauthorised:
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    return Unauthorised(description, headers={"WWW-Authenticate": challenge})
