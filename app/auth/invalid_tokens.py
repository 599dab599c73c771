"""Tokens with a flaw, for whoever tests what a client does when its token is refused."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from .tokens import SigningKey, encode_token, generate_signing_key

if TYPE_CHECKING:
    from collections.abc import Collection

    from .local_issuer import LocalIssuer
    from .scopes import Scope

Defect = Literal["expired", "not_yet_valid", "wrong_issuer", "unknown_key"]

HOUR = 3600
ELSEWHERE = "https://issuer.invalid"
"""No server can have this name (RFC 2606)."""


def make_invalid_token(
    issuer: LocalIssuer, client_id: str, scopes: Collection[Scope], defect: Defect | None = None
) -> str:
    """A token as ``issuer`` makes them, but for its flaw; nothing else about it is wrong."""
    claims = issuer.claims(client_id, scopes)
    now = int(time.time())
    if defect == "expired":
        claims |= {"iat": now - 2 * HOUR, "auth_time": now - 2 * HOUR, "exp": now - HOUR}
    if defect == "not_yet_valid":
        claims |= {"nbf": now + HOUR, "exp": now + 2 * HOUR}
    if defect == "wrong_issuer":
        claims["iss"] = ELSEWHERE
    return encode_token(_unknown_key(), claims) if defect == "unknown_key" else issuer.sign(claims)


@lru_cache(maxsize=1)
def _unknown_key() -> SigningKey:
    """A key that nobody publishes; making one takes a tenth of a second."""
    return generate_signing_key()
