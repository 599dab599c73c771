"""JSON Web Tokens that are signed without the library under test."""

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from case_server.auth.tokens import SigningKey, generate_signing_key

Sign = Callable[[bytes], bytes]

FIRST_KEY, SECOND_KEY, THIRD_KEY = (generate_signing_key() for _ in range(3))
"""Keys for all tests, because generating or parsing one takes 40 ms of CPU time."""


def encode_base64url(data: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_jwt(header: dict[str, Any], claims: dict[str, Any], sign: Sign) -> str:
    signed = ".".join(encode_base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{encode_base64url(sign(signed.encode()))}"


def get_rsa_signer(key: SigningKey, hasher: type[hashes.HashAlgorithm] = hashes.SHA256) -> Sign:
    private = _parse_key(key.private_pem)
    return lambda data: private.sign(data, padding.PKCS1v15(), hasher())


@cache
def _parse_key(private_pem: str) -> rsa.RSAPrivateKey:
    private = serialization.load_pem_private_key(private_pem.encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private


def create_ec_key(
    curve: ec.EllipticCurve, hasher: hashes.HashAlgorithm
) -> tuple[dict[str, Any], Sign]:
    """Return the public JWK of a new key, and a function that signs with it."""
    private = ec.generate_private_key(curve)
    size = curve.key_size // 8
    point = private.public_key().public_numbers()
    x, y = (encode_base64url(number.to_bytes(size, "big")) for number in (point.x, point.y))

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hasher)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return {"kty": "EC", "crv": f"P-{curve.key_size}", "x": x, "y": y}, sign
