import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from support.signing import FIRST_KEY, create_ec_key, encode_base64url, get_rsa_signer, sign_jwt

from case_server.auth import tokens
from case_server.auth.tokens import (
    TokenError,
    decode_token,
    decode_unverified,
    encode_token,
    generate_signing_key,
    get_public_jwk,
)

ISSUER = "https://issuer.test"
KEY = FIRST_KEY


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    all_claims = {"iss": ISSUER, "sub": "robot", "iat": now, "exp": now + 60} | changes
    return {name: value for name, value in all_claims.items() if value is not None}


def check(token: str, jwk: dict[str, Any] | None = None, leeway: int = 0) -> dict[str, Any]:
    return decode_token(token, jwk or get_public_jwk(KEY), issuer=ISSUER, leeway=leeway)


def refusal(token: str, jwk: dict[str, Any] | None = None, leeway: int = 0) -> str:
    with pytest.raises(TokenError) as exc_info:
        check(token, jwk, leeway)
    return str(exc_info.value)


def test_encoded_token_is_decoded() -> None:
    payload = claims(scope="a b")

    token = encode_token(KEY, payload)

    assert check(token) == payload
    assert decode_unverified(token) == ({"alg": "RS256", "typ": "JWT", "kid": KEY.kid}, payload)


def test_repr_of_key_hides_private_key() -> None:
    assert "PRIVATE" not in repr(KEY)
    assert KEY.kid in repr(KEY)
    assert set(get_public_jwk(KEY)) == {"kty", "n", "e", "kid", "use", "alg"}
    assert len(base64.urlsafe_b64decode(get_public_jwk(KEY)["n"] + "==")) == 256


@pytest.mark.parametrize(
    ("algorithm", "hasher"),
    [("RS256", hashes.SHA256), ("RS384", hashes.SHA384), ("RS512", hashes.SHA512)],
)
def test_foreign_signature_is_verified(algorithm: str, hasher: type[hashes.HashAlgorithm]) -> None:
    jwk = {name: get_public_jwk(KEY)[name] for name in ("kty", "n", "e")}
    token = sign_jwt({"alg": algorithm}, claims(), get_rsa_signer(KEY, hasher))

    assert check(token, jwk)["sub"] == "robot"
    assert "algorithm" in refusal(token, {**jwk, "alg": "PS256"})


@pytest.mark.parametrize(
    ("algorithm", "curve", "hasher"),
    [("ES256", ec.SECP256R1(), hashes.SHA256()), ("ES384", ec.SECP384R1(), hashes.SHA384())],
)
def test_foreign_elliptic_curve_signature_is_verified(
    algorithm: str, curve: ec.EllipticCurve, hasher: hashes.HashAlgorithm
) -> None:
    jwk, signer = create_ec_key(curve, hasher)
    other, _ = create_ec_key(curve, hasher)
    token = sign_jwt({"alg": algorithm}, claims(), signer)

    assert check(token, jwk)["sub"] == "robot"
    assert refusal(token, other) == "its signature does not match"


@pytest.mark.parametrize("modulus", [None, "", "AQAB", "é", 7, ["x"]])
def test_malformed_key_is_rejected(modulus: object) -> None:
    token = encode_token(KEY, claims())

    assert (
        refusal(token, {**get_public_jwk(KEY), "n": modulus}) == "the key that it names is unusable"
    )


def test_changed_claims_are_rejected() -> None:
    header, _, signature = encode_token(KEY, claims()).split(".")
    body = encode_base64url(json.dumps(claims(sub="root")).encode())

    assert refusal(f"{header}.{body}.{signature}") == "its signature does not match"


def test_critical_header_is_rejected() -> None:
    token = sign_jwt({"alg": "RS256", "crit": ["b64"], "b64": False}, claims(), get_rsa_signer(KEY))

    assert "extensions" in refusal(token)


@pytest.mark.parametrize("name", ["exp", "iat", "iss"])
@pytest.mark.parametrize("value", [None, True, "", [], {}])
def test_missing_or_invalid_claim_is_rejected(name: str, value: object) -> None:
    assert f"it lacks the claim {name}" in refusal(encode_token(KEY, claims(**{name: value})))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, -1, "9999999999"])
def test_invalid_time_claim_is_rejected(name: str, value: object) -> None:
    assert f"it lacks the claim {name}" in refusal(encode_token(KEY, claims(**{name: value})))


def test_token_of_other_issuer_is_rejected() -> None:
    for issuer in ("https://other.test", ISSUER + ".attacker.test", ISSUER + "//", ISSUER.upper()):
        assert refusal(encode_token(KEY, claims(iss=issuer))) == "another issuer issued it"
    assert check(encode_token(KEY, claims(iss=ISSUER + "/")))["sub"] == "robot"


def test_audience_and_at_hash_are_not_verified() -> None:
    payload = claims(aud=["account"], at_hash="x", jti=7)

    assert check(encode_token(KEY, payload)) == payload


LONE_SURROGATE = rb'{"client_id": "\ud800"}'


@pytest.mark.parametrize(
    "token",
    [
        *("", "x", "a.b", "a.b.c", "..", "....", "é.é.é", "\x00.\n.\x7f"),
        f"{encode_base64url(b'[]')}.{encode_base64url(b'{}')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(b'[]')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(b'{')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(b'[' * 5000)}.",
        f"{encode_base64url(b'[' * 5000)}.{encode_base64url(b'{}')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(bytes([0xFF]))}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(LONE_SURROGATE)}.",
        f"{encode_base64url(LONE_SURROGATE)}.{encode_base64url(b'{}')}.",
    ],
)
def test_malformed_token_is_rejected(token: str) -> None:
    assert "JSON Web Token" in refusal(token)
    with pytest.raises(TokenError):
        decode_unverified(token)


def test_parsed_key_is_cached() -> None:
    jwk = get_public_jwk(generate_signing_key())  # one that nothing has parsed
    built = tokens._construct_public_key.cache_info().misses

    for _ in range(3):
        refusal(encode_token(KEY, claims()), dict(jwk))

    assert tokens._construct_public_key.cache_info().misses == built + 1
