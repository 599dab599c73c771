"""Secrets of clients: made here, kept only as salted slow hashes (scrypt, RFC 7914)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

COST, BLOCK, PARALLEL = 2**14, 8, 1
"""Sixteen megabytes and about fifty milliseconds for each guess."""
_SALT, _LENGTH = 16, 32


def generate_secret() -> str:
    """A secret of 256 random bits, in characters that need no escaping anywhere."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """What may be stored of a secret: ``scrypt$cost$block$parallel$salt$digest``. Slow."""
    salt = secrets.token_bytes(_SALT)
    digest = _scrypt(secret, salt, COST, BLOCK, PARALLEL)
    numbers = (str(number) for number in (COST, BLOCK, PARALLEL))
    return "$".join(("scrypt", *numbers, _encode(salt), _encode(digest)))


def verify_secret(secret: str, stored: str) -> bool:
    """Whether ``stored`` is the hash of this secret. Slow; compares in constant time."""
    _, cost, block, parallel, salt, digest = stored.split("$")
    found = _scrypt(secret, base64.b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, base64.b64decode(digest))


def _scrypt(secret: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        secret.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=2**26, dklen=_LENGTH
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
