"""Verify access tokens, and cache the callers of verified ones."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..exceptions import ServiceUnavailable, Unauthorized
from .scopes import Scope, ScopeMap, collect_token_scopes
from .tokens import MAX_TOKEN_CHARS, Claims, TokenError, decode_token, decode_unverified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .local_issuer import LocalIssuer
    from .trusted_issuer import TrustedIssuer

LAST_SECOND = datetime.max.replace(microsecond=0, tzinfo=UTC)
"""The last second of the year 9999, the latest that ``datetime`` can express."""

MAX_CACHED_TOKENS = 10_000
CACHE_TTL_SECONDS = 300
"""Time for which a verified token is not verified again."""

ACCESS_TOKEN_TYPES = {"at+jwt", "application/at+jwt"}
"""Header types of access tokens (RFC 9068, section 2.1), in lower case."""

UNTYPED = {"", "jwt", "application/jwt"}
"""Header types that both access tokens and ID tokens use."""

OTHER_TOKEN_TYPES = {"id", "id_token", "refresh", "offline", "logout"}
"""Values of the ``typ`` claim, in lower case, with which Keycloak marks other tokens."""

ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")
"""Claims that only ID tokens have (OpenID Connect Core 1.0, sections 2 and 3.3.2.11)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated client that sent a request, and the scopes of its access token."""

    client_id: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """The operator's rules for tokens: required audience, names of scopes, and maximum length."""

    audience: str = ""
    """The audience that a token must have; empty: any."""
    scope_map: ScopeMap = field(default_factory=dict)
    """The configured aliases of scopes."""
    max_chars: int = MAX_TOKEN_CHARS
    """The longest token."""


FindScopes = Callable[[str], Awaitable[frozenset[Scope] | None]]
"""Returns the current scopes of a client of the local issuer, or None if it was removed."""


class TokenVerifier:
    """Verifies access tokens of this server and of other trusted issuers.

    Callers of verified tokens are cached. ``find_scopes`` looks up the current scopes of a client
    of this server; such a client's token grants only the scopes that the client still has.
    """

    def __init__(
        self,
        local: LocalIssuer | None,
        trusted: Sequence[TrustedIssuer],
        *,
        find_scopes: FindScopes | None = None,
        policy: TokenPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        issuers: list[LocalIssuer | TrustedIssuer] = [*([local] if local else []), *trusted]
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._local = local
        self._find_scopes = find_scopes
        self._policy = policy or TokenPolicy()
        self._clock = clock
        self._revoked: frozenset[str] = frozenset()
        self._generation = 0
        self._cache: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        for issuer in trusted:
            issuer.on_key_change = self.clear_cache

    async def verify(self, token: str) -> Caller:
        """Return the caller of an access token, or raise ``Unauthorized`` if it is not accepted."""
        if (cached := self.get_cached_caller(token)) is not None:
            return cached
        try:
            claims = await self._verify_access_token(token)
            generation = self._generation
            caller = await self._build_caller(claims)
        except TokenError as error:
            description = f"The access token is not accepted: {error}. Request a new one."
            challenge = f'Bearer error="invalid_token", error_description="{description}"'
            raise Unauthorized(description, headers={"WWW-Authenticate": challenge}) from error
        if generation == self._generation:  # else keys, clients or revocations changed meanwhile
            self._cache_caller(token, caller, claims["exp"])
        return caller

    def get_cached_caller(self, token: str) -> Caller | None:
        """Return the caller of a token that was verified recently, or None."""
        entry = self._cache.get(_hash_token(token))
        return entry[1] if entry is not None and entry[0] > self._clock() else None

    def clear_cache(self) -> None:
        """Forget all verified tokens; call it when keys, clients or revoked tokens have changed."""
        self._generation += 1
        self._cache.clear()

    def set_revoked_token_ids(self, token_ids: frozenset[str]) -> None:
        """Replace the IDs of revoked tokens; these tokens are rejected from now on.

        The IDs are those that ``get_token_id_and_expiry`` returns.
        """
        if token_ids != self._revoked:
            self._revoked = token_ids
            self.clear_cache()

    async def get_token_id_and_expiry(self, token: str) -> tuple[str, datetime] | None:
        """Return the ID by which a token can be revoked, and its expiry as a datetime in UTC.

        A later expiry than a datetime can express, the end of the year 9999, becomes that time.
        Returns None for an invalid token, because made-up tokens must not fill the table of revoked
        ones.
        """
        try:
            claims = await self._verify_access_token(token)
        except (TokenError, ServiceUnavailable):
            return None
        expiry = min(claims["exp"], LAST_SECOND.timestamp())
        return _get_token_id(token, claims), datetime.fromtimestamp(expiry, UTC)

    def revoke(self, token_id: str) -> None:
        """Reject the token with this ID from now on, but only in this process."""
        self.set_revoked_token_ids(self._revoked | {token_id})

    async def _verify_access_token(self, token: str) -> Claims:
        """Verify an access token and return its claims as a dict.

        Raises ``TokenError`` if the token is not accepted, and ``ServiceUnavailable`` if the keys
        of its issuer could not be fetched.
        """
        header, unverified = decode_unverified(token, self._policy.max_chars)
        issuer = self._issuers.get(str(unverified.get("iss")).removesuffix("/"))
        if issuer is None:
            raise TokenError("this server does not trust its issuer")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise TokenError("its header does not name a key (kid)")
        claims = decode_token(
            token,
            await issuer.get_key(kid),
            issuer=issuer.url,
            leeway=issuer.leeway,
            max_chars=self._policy.max_chars,
        )
        _require_access_token(header, claims)
        if self._revoked and _get_token_id(token, claims) in self._revoked:
            raise TokenError("it was revoked when its session was signed out")
        audience = self._policy.audience
        if audience and not _matches_audience(audience, claims):
            raise TokenError("it is for another audience (aud, or client_id where it has no aud)")
        return claims

    async def _build_caller(self, claims: Claims) -> Caller:
        client_id = _get_client_id(claims)
        scopes = collect_token_scopes(claims, self._policy.scope_map)
        is_local = self._local is not None and claims["iss"].removesuffix("/") == self._local.url
        if is_local and self._find_scopes:
            current = await self._find_scopes(client_id)
            if current is None:
                raise TokenError("its client was removed")
            scopes &= current
        return Caller(client_id, scopes)

    def _cache_caller(self, token: str, caller: Caller, expires: float) -> None:
        digest = _hash_token(token)
        self._cache.pop(digest, None)  # so that the entry becomes the newest
        self._cache[digest] = (min(expires, self._clock() + CACHE_TTL_SECONDS), caller)
        if len(self._cache) > MAX_CACHED_TOKENS:
            self._cache.popitem(last=False)


def _get_token_id(token: str, claims: Claims) -> str:
    """Return the ID by which a token can be revoked.

    It is the claim ``jti`` (RFC 7519, section 4.1.7) or, without one, the token's SHA-256 digest.
    """
    jti = claims.get("jti")
    return jti if isinstance(jti, str) and jti else f"sha256:{_hash_token(token).hex()}"


def _hash_token(token: str) -> bytes:
    # The cache stores digests, so that a dump of the memory contains no usable tokens.
    return hashlib.sha256(token.encode()).digest()


def _require_access_token(header: Mapping[str, object], claims: Claims) -> None:
    """Raise ``TokenError`` if the token is not an access token, for example an ID token.

    ID tokens are signed with the same keys, but are given to more parties than access tokens.
    """
    header_type = str(header.get("typ", "")).lower()
    claim_type = str(claims.get("typ", "")).lower()
    if header_type not in ACCESS_TOKEN_TYPES | UNTYPED or claim_type in OTHER_TOKEN_TYPES:
        raise TokenError("it is not an access token (typ)")
    if claims.get("token_use", "access") != "access":
        raise TokenError("it is not an access token (token_use)")
    # Keycloak before 24 also writes the nonce into access tokens, which it marks as Bearer.
    is_stated = header_type in ACCESS_TOKEN_TYPES or claim_type == "bearer"
    if not is_stated and (names := [name for name in ID_TOKEN_CLAIMS if name in claims]):
        raise TokenError(f"it is an ID token ({names[0]}), not an access token")


def _matches_audience(audience: str, claims: Claims) -> bool:
    """Return whether the ``aud`` claim is or contains ``audience`` (RFC 7519, section 4.1.3).

    Cognito's access tokens have no ``aud``; their ``client_id`` is compared with it instead.
    """
    aud = claims.get("aud")
    if aud is None:
        return claims.get("client_id") == audience
    return bool(aud == audience) or (isinstance(aud, list) and audience in aud)


def get_unverified_client_id(token: str) -> str | None:
    """Return the client ID in an unverified token, or None if it is malformed or has no ID.

    Use it only for logs, never to grant access.
    """
    try:
        _, claims = decode_unverified(token)
        return _get_client_id(claims)
    except TokenError:
        return None


def _get_client_id(claims: Claims) -> str:
    """Return the client ID of a token: the first of ``client_id``, ``azp`` and ``sub``.

    Raises ``TokenError`` if the token has none of them.
    """
    for name in ("client_id", "azp", "sub"):
        value = claims.get(name)
        if isinstance(value, str) and value:
            return value
    raise TokenError("it names no client: client_id, azp or sub must be a string")
