import time

import pytest
from support.signing import FIRST_KEY, SECOND_KEY

from case_server.auth.local_issuer import LocalIssuer
from case_server.auth.scopes import Scope, format_scopes
from case_server.auth.tokens import TokenError, decode_token, decode_unverified, get_public_jwk

OLD, NEW = FIRST_KEY, SECOND_KEY


def test_local_token_has_cognito_claims() -> None:
    issuer = LocalIssuer([NEW], "http://here.test/", 1200)
    before = int(time.time())

    token, lifetime = issuer.issue("robot", frozenset(Scope))

    claims = decode_token(token, get_public_jwk(NEW), issuer="http://here.test", leeway=0)
    assert lifetime == 1200
    assert claims["exp"] - claims["iat"] == 1200
    assert before <= claims["iat"] == claims["auth_time"] <= time.time()
    assert claims["sub"] == claims["client_id"] == "robot"
    assert claims["scope"] == format_scopes(frozenset(Scope))
    assert claims["iss"] == issuer.url == "http://here.test"
    assert (claims["token_use"], claims["version"]) == ("access", 2)
    second_token, _ = issuer.issue("robot", frozenset(Scope))
    assert claims["jti"] != decode_unverified(second_token)[1]["jti"]


async def test_newest_key_signs_and_all_keys_are_published() -> None:
    issuer = LocalIssuer([OLD, NEW], "http://here.test", 60)

    token, _ = issuer.issue("robot", {Scope.READONLY})

    assert decode_unverified(token)[0]["kid"] == NEW.kid
    assert issuer.build_jwks() == {"keys": [get_public_jwk(OLD), get_public_jwk(NEW)]}
    assert await issuer.get_key(OLD.kid) == get_public_jwk(OLD)
    with pytest.raises(TokenError, match="does not have"):
        await issuer.get_key("x")
