"""Generate client secrets, and hash them with scrypt (RFC 7914) for storage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

COST, BLOCK_SIZE, PARALLELISM = 2**14, 8, 1
"""Parameters of scrypt, with which one hash takes 16 MB of memory and about 50 ms."""

FAST_COST = 2
"""Cost with which a hash takes a few microseconds, for secrets that are known to the server."""

SALT_BYTES = 16
DIGEST_BYTES = 32


def generate_secret() -> str:
    """Return a new random secret: 256 bits, encoded in URL-safe characters."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str, cost: int = COST) -> str:
    """Hash a client secret with scrypt, so that the secret itself need not be stored.

    Returns ``scrypt$cost$block$parallel$salt$digest``. ``cost`` is scrypt's N, a power of two. With
    the default, hashing takes about 50 ms, to slow down guessing.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    return _format(cost, salt, _scrypt(secret, salt, cost, BLOCK_SIZE, PARALLELISM))


def generate_unmatchable_hash() -> str:
    """Return a hash in the form of ``hash_secret`` that no secret matches, because it is random."""
    return _format(COST, secrets.token_bytes(SALT_BYTES), secrets.token_bytes(DIGEST_BYTES))


def verify_secret(secret: str, stored: str) -> bool:
    """Return whether a client secret matches ``stored``, a result of ``hash_secret``.

    Takes about 50 ms. The comparison takes constant time, so it reveals nothing about the hash.
    """
    _, cost, block, parallel, salt, digest = stored.split("$")
    actual = _scrypt(secret, base64.b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(actual, base64.b64decode(digest))


def _scrypt(secret: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        secret.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=2**26, dklen=DIGEST_BYTES
    )


def _format(cost: int, salt: bytes, digest: bytes) -> str:
    numbers = (str(number) for number in (cost, BLOCK_SIZE, PARALLELISM))
    return "$".join(("scrypt", *numbers, _encode(salt), _encode(digest)))


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
