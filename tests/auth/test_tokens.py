import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.signing import (
    FIRST_KEY,
    SECOND_KEY,
    Sign,
    create_ec_key,
    encode_base64url,
    get_rsa_signer,
    sign_jwt,
)

from case_server.auth import tokens
from case_server.auth.tokens import (
    MAX_TOKEN_CHARS,
    SigningKey,
    TokenError,
    decode_token,
    decode_unverified,
    encode_token,
    generate_signing_key,
    get_public_jwk,
)

ISSUER = "https://issuer.test"
KEY = FIRST_KEY
FOREIGN = SigningKey(KEY.kid, SECOND_KEY.private_pem)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    all_claims = {"iss": ISSUER, "sub": "robot", "iat": now, "exp": now + 60} | changes
    return {name: value for name, value in all_claims.items() if value is not None}


def check(token: str, jwk: dict[str, Any] | None = None, leeway: int = 0) -> dict[str, Any]:
    return decode_token(token, jwk or get_public_jwk(KEY), issuer=ISSUER, leeway=leeway)


def refusal(token: str, jwk: dict[str, Any] | None = None, leeway: int = 0) -> str:
    with pytest.raises(TokenError) as caught:
        check(token, jwk, leeway)
    return str(caught.value)


def test_encoded_token_is_decoded() -> None:
    stated = claims(scope="a b")

    token = encode_token(KEY, stated)

    assert check(token) == stated
    assert decode_unverified(token) == ({"alg": "RS256", "typ": "JWT", "kid": KEY.kid}, stated)


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


def test_curve_of_other_algorithm_is_rejected() -> None:
    jwk, signer = create_ec_key(ec.SECP384R1(), hashes.SHA256())

    assert "not the one of the key" in refusal(sign_jwt({"alg": "ES256"}, claims(), signer), jwk)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 7, ["RS256"]])
@pytest.mark.parametrize("sign", [lambda _: b"", get_rsa_signer(KEY)])
def test_unsigned_token_is_rejected(algorithm: object, sign: Sign) -> None:
    token = sign_jwt({"alg": algorithm, "kid": KEY.kid}, claims(), sign)

    assert "its algorithm is not one of RS256" in refusal(token)


@pytest.mark.parametrize("secret", ["pem", "jwk", "modulus"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_public_key_as_shared_secret_is_rejected(algorithm: str, secret: str) -> None:
    private = serialization.load_pem_private_key(KEY.private_pem.encode(), None)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    jwk = get_public_jwk(KEY)
    bytes_of = {"pem": pem, "jwk": json.dumps(jwk).encode(), "modulus": jwk["n"].encode()}
    hasher = getattr(hashlib, f"sha{algorithm[2:]}")
    token = sign_jwt(
        {"alg": algorithm, "kid": KEY.kid},
        claims(),
        lambda text: hmac.digest(bytes_of[secret], text, hasher),
    )

    assert "its algorithm is not one of RS256" in refusal(token)
    assert "its algorithm is not one of RS256" in refusal(
        token, {"kty": "oct", "k": encode_base64url(bytes_of[secret]), "alg": algorithm}
    )


def test_algorithm_that_does_not_match_key_is_rejected() -> None:
    token = encode_token(KEY, claims())

    for change in ({"alg": "RS512"}, {"kty": "EC"}, {"kty": "oct"}):
        assert "not the one of the key" in refusal(token, {**get_public_jwk(KEY), **change})
    assert "not for signatures" in refusal(token, {**get_public_jwk(KEY), "use": "enc"})


@pytest.mark.parametrize("modulus", [None, "", "AQAB", "é", 7, ["x"]])
def test_malformed_key_is_rejected(modulus: object) -> None:
    token = encode_token(KEY, claims())

    assert (
        refusal(token, {**get_public_jwk(KEY), "n": modulus}) == "the key that it names is unusable"
    )


def test_foreign_key_with_same_id_is_rejected() -> None:
    assert refusal(encode_token(FOREIGN, claims())) == "its signature does not match"


def test_changed_claims_are_rejected() -> None:
    header, _, signature = encode_token(KEY, claims()).split(".")
    body = encode_base64url(json.dumps(claims(sub="root")).encode())

    assert refusal(f"{header}.{body}.{signature}") == "its signature does not match"


@pytest.mark.parametrize("place", ["jku", "x5u", "jwk", "x5c"])
def test_key_in_header_is_ignored(place: str) -> None:
    own: dict[str, Any] = {
        "jku": "https://attacker.test/jwks.json",
        "x5u": "https://attacker.test/cert",
        "jwk": get_public_jwk(FOREIGN),
        "x5c": ["MIIB"],
    }
    header = {"alg": "RS256", "kid": KEY.kid, place: own[place]}

    assert (
        refusal(sign_jwt(header, claims(), get_rsa_signer(FOREIGN)))
        == "its signature does not match"
    )
    assert check(sign_jwt(header, claims(), get_rsa_signer(KEY)))["sub"] == "robot"


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


def test_expired_token_is_rejected() -> None:
    now = int(time.time())

    assert refusal(encode_token(KEY, claims(exp=now))) == "it has expired"
    assert refusal(encode_token(KEY, claims(exp=now - 60)), leeway=60) == "it has expired"
    assert check(encode_token(KEY, claims(exp=now - 50)), leeway=60)["exp"] == now - 50


def test_token_before_nbf_is_rejected() -> None:
    soon = int(time.time()) + 50

    assert refusal(encode_token(KEY, claims(nbf=soon))) == "it is not valid yet"
    assert check(encode_token(KEY, claims(nbf=soon)), leeway=60)["nbf"] == soon
    assert check(encode_token(KEY, claims(nbf=soon - 100)))["nbf"] == soon - 100


def test_token_issued_in_the_future_is_rejected() -> None:
    now = int(time.time())

    assert check(encode_token(KEY, claims(iat=now + 50, exp=now + 100)))["iat"] == now + 50
    assert "issued in the future" in refusal(encode_token(KEY, claims(iat=now + 70, exp=now + 100)))


def test_token_of_other_issuer_is_rejected() -> None:
    for issuer in ("https://other.test", ISSUER + ".attacker.test", ISSUER + "//", ISSUER.upper()):
        assert refusal(encode_token(KEY, claims(iss=issuer))) == "another issuer issued it"
    assert check(encode_token(KEY, claims(iss=ISSUER + "/")))["sub"] == "robot"


def test_audience_and_at_hash_are_not_verified() -> None:
    stated = claims(aud=["account"], at_hash="x", jti=7)

    assert check(encode_token(KEY, stated)) == stated


def test_token_length_limit() -> None:
    assert len(encode_token(KEY, claims(pad="x" * 5600))) <= MAX_TOKEN_CHARS
    assert check(encode_token(KEY, claims(pad="x" * 5600)))["sub"] == "robot"
    assert "longer than 8192" in refusal(encode_token(KEY, claims(pad="x" * 6000)))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b",
        "a.b.c",
        "..",
        "....",
        "é.é.é",
        "\x00.\n.\x7f",
        f"{encode_base64url(b'[]')}.{encode_base64url(b'{}')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(b'[]')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(b'{')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(b'[' * 5000)}.",
        f"{encode_base64url(b'[' * 5000)}.{encode_base64url(b'{}')}.",
        f"{encode_base64url(b'{}')}.{encode_base64url(bytes([0xFF]))}.",
    ],
)
def test_malformed_token_is_rejected(token: str) -> None:
    assert "JSON Web Token" in refusal(token)
    with pytest.raises(TokenError):
        decode_unverified(token)


def test_token_of_four_parts_is_rejected() -> None:
    assert "not a signed JSON Web Token" in refusal(encode_token(KEY, claims()) + ".x")


def test_parsed_key_is_cached() -> None:
    jwk = get_public_jwk(generate_signing_key())  # one that nothing has parsed
    built = tokens._construct.cache_info().misses

    for _ in range(3):
        refusal(encode_token(KEY, claims()), dict(jwk))

    assert tokens._construct.cache_info().misses == built + 1
