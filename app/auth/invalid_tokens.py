"""Invalid access tokens, for tests of clients whose token is rejected."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Literal

from .local_issuer import LocalIssuer
from .scopes import Scope
from .tokens import SigningKey, encode_token, generate_signing_key

Defect = Literal["expired", "not_yet_valid", "wrong_issuer", "unknown_key"]

HOUR_SECONDS = 3600

UNKNOWN_ISSUER = "https://issuer.invalid"
"""A URL that no server can have (RFC 2606)."""


def make_test_token(
    issuer: LocalIssuer, client_id: str, scopes: Collection[Scope], defect: Defect | None = None
) -> str:
    """Make an access token for tests of clients.

    The token is valid if ``defect`` is None. Otherwise it has this single defect, such as
    ``expired``.
    """
    claims = issuer.build_claims(client_id, scopes)
    now = claims["iat"]
    if defect == "expired":
        claims |= {
            "iat": now - 2 * HOUR_SECONDS,
            "auth_time": now - 2 * HOUR_SECONDS,
            "exp": now - HOUR_SECONDS,
        }
    if defect == "not_yet_valid":
        claims |= {"nbf": now + HOUR_SECONDS, "exp": now + 2 * HOUR_SECONDS}
    if defect == "wrong_issuer":
        claims["iss"] = UNKNOWN_ISSUER
    if defect == "unknown_key":
        return encode_token(_get_unknown_key(), claims)
    return issuer.sign(claims)


@lru_cache(maxsize=1)
def _get_unknown_key() -> SigningKey:
    return generate_signing_key()
