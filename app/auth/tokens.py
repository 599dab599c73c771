"""Sign and verify JSON Web Tokens; no other module imports jose.

By itself, python-jose accepts the algorithm that a token's header names, and tokens that never
expire. This module therefore decides which algorithms are allowed, with which kind of key, and
which claims are required. Key locations in a header (``jku``, ``x5u``, ``jwk``) are never read: the
caller supplies the key.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwk as jose_jwk
from jose import jws, jwt
from jose.exceptions import JOSEError

if TYPE_CHECKING:
    from jose.backends.base import Key

Claims = dict[str, Any]
Jwk = Mapping[str, Any]

MAX_TOKEN_CHARS = 8 * 1024
MIN_RSA_BITS = 2048
"""RS256 with a shorter key is not allowed (RFC 7518, section 3.3)."""

JWT_PATTERN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""Header, claims and signature without padding (RFC 7515, section 2). Decoders ignore any other
characters, so one token could otherwise be written in many ways."""

# Public-key algorithms only, each with its kind of key. With a shared-secret algorithm in this
# table, an attacker could sign tokens with the public key as the secret.
_ALGORITHMS = {
    "RS256": {"kty": "RSA"},
    "RS384": {"kty": "RSA"},
    "RS512": {"kty": "RSA"},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
}
_KEY_FIELDS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}

CLOCK_SKEW_SECONDS = 60
"""Largest difference between the clocks of two servers that is tolerated."""

MAX_TIMESTAMP = 2**63
"""Upper limit of time claims; excludes Infinity and numbers of a thousand digits."""


class TokenError(Exception):
    """Raised for a token that is not accepted, with a reason such as "it has expired".

    The message becomes part of a header, so it contains no quotes and no text from the token.
    """


@dataclass(frozen=True)
class SigningKey:
    """A private key that signs tokens, and the key ID under which its public key is published."""

    kid: str
    private_pem: str = field(repr=False)


def generate_signing_key() -> SigningKey:
    """Generate a ``SigningKey``: a 2048-bit RSA key with a random key ID."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(secrets.token_urlsafe(12), pem.decode())


# Parsing a key takes almost as long as verifying a signature, so parsed keys are cached.
@lru_cache(maxsize=16)
def get_public_jwk(key: SigningKey) -> Jwk:
    """Return the public part of a signing key as a JSON Web Key (RFC 7517)."""
    return {**_load_private_key(key).public_key().to_dict(), "kid": key.kid, "use": "sig"}


def encode_token(key: SigningKey, claims: Claims) -> str:
    """Encode claims as a JSON Web Token, signed with RS256."""
    return jwt.encode(dict(claims), _load_private_key(key), "RS256", headers={"kid": key.kid})


def decode_unverified(
    token: str, max_chars: int = MAX_TOKEN_CHARS
) -> tuple[dict[str, Any], Claims]:
    """Return the (header, claims) of a token as dicts, without verifying them.

    Use them only for logs, or to choose the issuer and the key. Raises ``TokenError`` if the token
    is malformed or has more than ``max_chars`` characters.
    """
    if len(token) > max_chars:
        raise TokenError(f"it is longer than {max_chars} characters")
    if not JWT_PATTERN.fullmatch(token):
        raise TokenError("it is not a signed JSON Web Token")
    try:
        header, claims = jwt.get_unverified_header(token), jwt.get_unverified_claims(token)
        # JSON can escape half of a surrogate pair, which logs and responses cannot contain.
        json.dumps((header, claims), ensure_ascii=False).encode()
    except (JOSEError, RecursionError, UnicodeEncodeError) as error:
        raise TokenError("it is not a readable JSON Web Token") from error
    return header, claims


def decode_token(
    token: str, jwk: Jwk, *, issuer: str, leeway: int, max_chars: int = MAX_TOKEN_CHARS
) -> Claims:
    """Verify a token with the public key ``jwk`` and return its claims.

    Raises ``TokenError`` unless the token comes from ``issuer``, is valid now and has at most
    ``max_chars`` characters. ``leeway`` is the tolerated clock difference in seconds.
    """
    header, _ = decode_unverified(token, max_chars)
    if "crit" in header:
        raise TokenError("it requires header extensions that this server does not support (crit)")
    algorithm = _require_allowed_algorithm(header.get("alg"), jwk)
    try:
        payload = jws.verify(token, _load_public_key(algorithm, jwk), [algorithm])
    except JOSEError as error:
        raise TokenError("its signature does not match") from error
    claims: Claims = json.loads(payload)
    _check_issuer(claims, issuer)
    _check_times(claims, leeway)
    return claims


def _require_allowed_algorithm(algorithm: object, jwk: Jwk) -> str:
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise TokenError(f"its algorithm is not one of {', '.join(_ALGORITHMS)}")
    is_fitting = all(jwk.get(name) == value for name, value in _ALGORITHMS[algorithm].items())
    if not is_fitting or jwk.get("alg", algorithm) != algorithm:
        raise TokenError("its algorithm is not the one of the key that it names")
    if not _can_verify_signatures(jwk):
        raise TokenError("the key that it names is not for signatures")
    return algorithm


def _can_verify_signatures(jwk: Jwk) -> bool:
    """Return whether ``use`` and ``key_ops`` of a key allow verifying (RFC 7517, 4.2 and 4.3)."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )


def _load_public_key(algorithm: str, jwk: Jwk) -> Key:
    kind = jwk["kty"]
    numbers = tuple((name, jwk.get(name)) for name in _KEY_FIELDS[kind])
    try:
        key = _construct_public_key(algorithm, kind, numbers)
    except (JOSEError, ValueError, TypeError, AttributeError) as error:
        raise TokenError("the key that it names is unusable") from error
    if kind == "RSA" and cast("Any", key).prepared_key.key_size < MIN_RSA_BITS:
        raise TokenError(f"the key that it names is shorter than {MIN_RSA_BITS} bits")
    return key


@lru_cache(maxsize=128)
def _construct_public_key(algorithm: str, kind: str, numbers: tuple[tuple[str, Any], ...]) -> Key:
    return jose_jwk.construct({"kty": kind, **dict(numbers)}, algorithm)


@lru_cache(maxsize=16)
def _load_private_key(key: SigningKey) -> Key:
    return jose_jwk.construct(key.private_pem, "RS256")


def _check_issuer(claims: Claims, issuer: str) -> None:
    if not isinstance(claims.get("iss"), str) or not claims["iss"]:
        raise TokenError("it lacks the claim iss, or that is not a string")
    # Some issuers' names end with a slash, which settings often omit.
    if claims["iss"].removesuffix("/") != issuer.removesuffix("/"):
        raise TokenError("another issuer issued it")


def _check_times(claims: Claims, leeway: int) -> None:
    now = time.time()
    expires, starts = _get_time_claim(claims, "exp"), _get_time_claim({"nbf": 0, **claims}, "nbf")
    issued_at = _get_time_claim(claims, "iat")
    if expires <= now - leeway:
        raise TokenError("it has expired")
    if starts > now + leeway:
        raise TokenError("it is not valid yet")
    # Several servers may issue under one name, each with its own clock.
    if issued_at > now + CLOCK_SKEW_SECONDS:
        raise TokenError("it was issued in the future (iat)")


def _get_time_claim(claims: Claims, name: str) -> float:
    value: Any = claims.get(name)
    if type(value) not in {int, float} or not 0 <= value < MAX_TIMESTAMP:
        raise TokenError(f"it lacks the claim {name}, or that is not a valid time")
    return float(value)
