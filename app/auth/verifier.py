"""From the text of a token to who is calling, remembered so that most calls cost a look-up."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from ..exceptions import ServiceUnavailable, Unauthorized
from .scopes import Scope, ScopeMap, token_scopes
from .tokens import MAX_TOKEN_CHARS, Claims, Jwk, TokenError, decode_token, decode_unverified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .local_issuer import LocalIssuer
    from .trusted_issuer import TrustedIssuer

MAX_CACHED_TOKENS = 10_000
CACHE_TTL_SECONDS = 300
"""Seconds for which a token that was verified is not verified again."""

ACCESS_TOKEN_TYPES = {"at+jwt", "application/at+jwt"}
"""Header types that state an access token (RFC 9068, section 2.1), in lower case."""
UNTYPED = {"", "jwt", "application/jwt"}
"""Header types that do not tell an access token from an ID token."""
OTHER_TOKEN_TYPES = {"id", "id_token", "refresh", "offline", "logout"}
"""Values of the ``typ`` claim, in lower case, by which Keycloak marks other tokens."""
ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")
"""Claims of ID tokens alone (OpenID Connect Core 1.0, sections 2 and 3.3.2.11)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The client behind a request, and what it may do."""

    client_id: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What the operator's settings ask of tokens."""

    audience: str = ""
    """Whom a token must be for; empty: anyone."""
    scope_map: ScopeMap = field(default_factory=dict)
    """The operator's own spellings of scopes."""
    max_chars: int = MAX_TOKEN_CHARS


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
    """

    def __init__(
        self,
        local: LocalIssuer | None,
        trusted: Sequence[TrustedIssuer],
        *,
        scopes_of: ScopesOf | None = None,
        policy: TokenPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        issuers: list[Issuer] = [*([local] if local else []), *trusted]
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._local = local
        self._scopes_of = scopes_of
        self._policy = policy or TokenPolicy()
        self._clock = clock
        self._revoked: frozenset[str] = frozenset()
        self._changes = 0
        self._remembered: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        for issuer in trusted:
            issuer.on_key_change = self.clear_cache

    async def verify(self, token: str) -> Caller:
        """Who sent this token; raises ``Unauthorised`` with the reason if nobody valid did."""
        if (known := self.get_cached(token)) is not None:
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

    def get_cached(self, token: str) -> Caller | None:
        """Who sent this token, if it was verified lately: no waiting, no cryptography."""
        found = self._remembered.get(_digest(token))
        return found[1] if found is not None and found[0] > self._clock() else None

    def clear_cache(self) -> None:
        """Verify every token anew: the keys or clients that vouched for them have changed."""
        self._changes += 1
        self._remembered.clear()

    def set_revoked_ids(self, token_ids: frozenset[str]) -> None:
        """Refuse these tokens and no others; ``revocation`` names them."""
        if token_ids != self._revoked:
            self._revoked = token_ids
            self.clear_cache()

    async def identify_token(self, token: str) -> tuple[str, datetime] | None:
        """Return the ID of a valid token, by which it can be revoked, and when it expires.

        None for any other token: nobody is to fill the table with what is refused anyway.
        """
        try:
            claims = await self._claims(token)
        except (TokenError, ServiceUnavailable):
            return None
        return _token_id(token, claims), datetime.fromtimestamp(claims["exp"], UTC)

    def revoke(self, token_id: str) -> None:
        """Refuse one more token."""
        self.set_revoked_ids(self._revoked | {token_id})

    async def _claims(self, token: str) -> Claims:
        """Return the claims of a valid access token; raises ``TokenError`` for any other."""
        header, stated = decode_unverified(token, self._policy.max_chars)
        issuer = self._issuers.get(str(stated.get("iss")).removesuffix("/"))
        if issuer is None:
            raise TokenError("this server does not trust its issuer")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise TokenError("its header does not name a key (kid)")
        claims = decode_token(
            token,
            await issuer.key(kid),
            issuer=issuer.url,
            leeway=issuer.leeway,
            max_chars=self._policy.max_chars,
        )
        _check_is_access_token(header, claims)
        if self._revoked and _token_id(token, claims) in self._revoked:
            raise TokenError("it was revoked when its session was signed out")
        audience = self._policy.audience
        if audience and not _is_for(audience, claims):
            raise TokenError("it is for another audience (aud, or client_id where it has no aud)")
        return claims

    async def _caller(self, claims: Claims) -> Caller:
        client_id, scopes = _client_id(claims), token_scopes(claims, self._policy.scope_map)
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
        self._remembered[digest] = (min(expires, self._clock() + CACHE_TTL_SECONDS), caller)
        if len(self._remembered) > MAX_CACHED_TOKENS:
            self._remembered.popitem(last=False)


def _token_id(token: str, claims: Claims) -> str:
    """Return ``jti``, or the digest of a token that has none (RFC 7519, section 4.1.7)."""
    jti = claims.get("jti")
    return jti if isinstance(jti, str) and jti else f"sha256:{_digest(token).hex()}"


def _digest(token: str) -> bytes:
    # The memory holds no tokens: whoever gets to read it cannot call with what is there.
    return hashlib.sha256(token.encode()).digest()


def _check_is_access_token(header: Mapping[str, object], claims: Claims) -> None:
    """Raise ``TokenError`` for an ID token, or for any other token that is not for access.

    An ID token is signed with the same keys, and shown to more parties than an access token.
    """
    header_type = str(header.get("typ", "")).lower()
    claim_type = str(claims.get("typ", "")).lower()
    if header_type not in ACCESS_TOKEN_TYPES | UNTYPED or claim_type in OTHER_TOKEN_TYPES:
        raise TokenError("it is not an access token (typ)")
    if claims.get("token_use", "access") != "access":
        raise TokenError("it is not an access token (token_use)")
    # Keycloak before 24 writes the nonce into access tokens, too, and marks them as Bearer.
    is_stated = header_type in ACCESS_TOKEN_TYPES or claim_type == "bearer"
    if not is_stated and (found := [name for name in ID_TOKEN_CLAIMS if name in claims]):
        raise TokenError(f"it is an ID token ({found[0]}), not an access token")


def _is_for(audience: str, claims: Claims) -> bool:
    """Return whether ``aud`` is this audience, or an array with it (RFC 7519, section 4.1.3).

    Cognito's access tokens have no ``aud``; there the client it was issued to is compared.
    """
    aud = claims.get("aud")
    if aud is None:
        return claims.get("client_id") == audience
    return bool(aud == audience) or (isinstance(aud, list) and audience in aud)


def unverified_client_id(token: str) -> str | None:
    """Return the client that a token states, true or not: for logs, never for access."""
    try:
        _, claims = decode_unverified(token)
        return _client_id(claims)
    except TokenError:
        return None


def _client_id(claims: Claims) -> str:
    """Return the client that a token was issued to: ``client_id``, ``azp``, or else ``sub``."""
    for name in ("client_id", "azp", "sub"):
        value = claims.get(name)
        if isinstance(value, str) and value:
            return value
    raise TokenError("it names no client: client_id, azp or sub must be a string")


def _refusal(description: str) -> Unauthorized:
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    return Unauthorized(description, headers={"WWW-Authenticate": challenge})
