"""Tokens in the formats of Cognito, Okta, Entra ID and Keycloak, from a real issuer."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from httpx import AsyncClient, Response
from support.applications import run_app
from support.external_issuer import ExternalIssuer
from support.live_server import run_command_in_process
from support.signing import Sign, create_ec_key, encode_base64url, get_rsa_signer

from case_server.auth.scopes import Scope
from case_server.settings import Settings

READONLY = Scope.READONLY.value
DOCUMENTS = "/case/1.1/CFDocuments"
MAPPED = (
    "case-api/case.readonly=readonly, Case.Editor = readonly+createput,https://a.test/?s=r=readonly"
)


Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]


@pytest.fixture
def serve(settings: Settings, clean: None) -> Serve:
    """Return a function that runs an application with changed settings, for a client of it."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[AsyncClient]:
        parsed = Settings(**changes)  # validated and parsed like the environment
        update = {name: getattr(parsed, name) for name in changes}
        async with run_app(settings.model_copy(update=update)) as (_, http):
            yield http

    return run


async def status(http: AsyncClient, token: str, method: str = "GET") -> int:
    return (await send_request(http, token, method)).status_code


async def send_request(http: AsyncClient, token: str, method: str = "GET") -> Response:
    path = DOCUMENTS if method == "GET" else f"{DOCUMENTS}/x"
    headers = {"Authorization": f"Bearer {token}"}
    return await http.request(method, path, headers=headers)


async def rejection_message(http: AsyncClient, token: str) -> str:
    response = await send_request(http, token)
    assert response.status_code == 401, response.text
    return str(response.json()["imsx_description"])


# Client identity


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": None, "client_id": None, "azp": "portal"},
        {"client_id": None, "azp": None},
        {"sub": None, "client_id": 7, "azp": "portal"},
    ],
)
async def test_token_with_a_client_but_without_sub_is_accepted(
    anonymous: AsyncClient, external_issuer: ExternalIssuer, claims: dict[str, Any]
) -> None:
    assert await status(anonymous, external_issuer.create_token(**claims)) == 200


@pytest.mark.parametrize("name", ["sub", "client_id", "azp"])
@pytest.mark.parametrize("value", [None, "", 7, ["robot"], {}])
async def test_token_without_a_client_is_rejected(
    anonymous: AsyncClient, external_issuer: ExternalIssuer, name: str, value: object
) -> None:
    claims = {"sub": None, "client_id": None, name: value}
    token = external_issuer.create_token(**claims)
    assert "names no client" in await rejection_message(anonymous, token)


# Scopes


@pytest.mark.parametrize(
    ("claims", "reads"),
    [
        ({"scp": f"openid {READONLY}"}, True),
        ({"scp": ["openid", READONLY]}, True),
        ({"scp": [READONLY.replace("v1p0", "v1p1")], "scope": "openid"}, True),
        ({"scp": [f"{READONLY} openid"]}, False),
        ({"scp": {READONLY: True}}, False),
        ({"roles": [READONLY]}, False),
        ({"scope": "case-api/case.readonly"}, False),
        ({"roles": ["Case.Editor"]}, False),
        ({"scope": "openid"}, False),
    ],
)
async def test_scope_and_scp_alone_grant_scopes(
    anonymous: AsyncClient, external_issuer: ExternalIssuer, claims: dict[str, Any], reads: object
) -> None:
    token = external_issuer.create_token(**({"scope": None} | claims))
    assert await status(anonymous, token) == (200 if reads else 403)
    assert await status(anonymous, token, "PUT") == 403


@pytest.mark.parametrize(
    ("claims", "reads", "writes"),
    [
        ({"scope": "case-api/case.readonly"}, True, False),
        ({"scope": "openid case-api/case.readonly"}, True, False),
        ({"scp": ["case-api/case.readonly"]}, True, False),
        ({"scope": "https://a.test/?s=r"}, True, False),
        ({"roles": ["Other", "Case.Editor"]}, True, True),
        ({"roles": "Case.Editor"}, True, True),
        ({"scope": READONLY}, True, False),
        ({"roles": ["case.editor"]}, False, False),
        ({"roles": [READONLY]}, False, False),
        ({"scope": "case-api/case.readonly/more"}, False, False),
    ],
)
async def test_mapped_scope_grants_the_configured_scopes(
    serve: Serve,
    external_issuer: ExternalIssuer,
    claims: dict[str, Any],
    reads: object,
    writes: object,
) -> None:
    token = external_issuer.create_token(**({"scope": None} | claims))
    async with serve(scope_map=MAPPED) as http:
        assert await status(http, token) == (200 if reads else 403)
        # The scope is checked first, then the body, which is missing here.
        assert await status(http, token, "PUT") == (400 if writes else 403)


# Audience


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"aud": "case"}, True),
        ({"aud": ["other", "case"]}, True),
        ({"client_id": "case"}, True),
        ({"aud": "other", "client_id": "case"}, False),
        ({"aud": [], "client_id": "case"}, False),
        ({"aud": "", "client_id": "case"}, False),
        ({"aud": "casement"}, False),
        ({"aud": "x case"}, False),
        ({"aud": ["CASE"]}, False),
        ({"aud": {"case": 1}}, False),
        ({"client_id": "robot"}, False),
        ({"client_id": None, "azp": "case"}, False),
        ({"client_id": ["case"]}, False),
    ],
)
async def test_audience_is_aud_or_else_client_id(
    serve: Serve, external_issuer: ExternalIssuer, claims: dict[str, Any], accepted: object
) -> None:
    token = external_issuer.create_token(**claims)
    async with serve(audience="case") as http:
        if accepted:
            assert await status(http, token) == 200
        else:
            assert "another audience" in await rejection_message(http, token)


# Keys


def rsa_key(bits: int) -> tuple[dict[str, Any], Sign]:
    private = rsa.generate_private_key(65537, bits)
    numbers = private.public_key().public_numbers()
    n, e = (
        encode_base64url(number.to_bytes(-(-number.bit_length() // 8), "big"))
        for number in (numbers.n, numbers.e)
    )
    jwk = {"kty": "RSA", "n": n, "e": e}
    return jwk, lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256())


STRONG, STRONG_SIGN = rsa_key(2048)
WEAK, WEAK_SIGN = rsa_key(1024)
P256, P256_SIGN = create_ec_key(ec.SECP256R1(), hashes.SHA256())
P384, P384_SIGN = create_ec_key(ec.SECP384R1(), hashes.SHA256())
SHARED = b"s" * 64
OCTETS = {"kty": "oct", "k": encode_base64url(SHARED)}


def hmac_sign(data: bytes) -> bytes:
    return hmac.digest(SHARED, data, hashlib.sha256)


@pytest.mark.parametrize(
    ("jwk", "sign", "algorithm", "reason"),
    [
        (STRONG, STRONG_SIGN, "RS256", None),
        (
            STRONG | {"use": "sig", "key_ops": ["verify"], "alg": "RS256"},
            STRONG_SIGN,
            "RS256",
            None,
        ),
        (STRONG | {"key_ops": ["sign", "verify"]}, STRONG_SIGN, "RS256", None),
        (P256, P256_SIGN, "ES256", None),
        (WEAK, WEAK_SIGN, "RS256", "shorter than 2048 bits"),
        (STRONG | {"use": "enc"}, STRONG_SIGN, "RS256", "not for signatures"),
        (STRONG | {"key_ops": ["encrypt"]}, STRONG_SIGN, "RS256", "not for signatures"),
        (STRONG | {"key_ops": ["sign"]}, STRONG_SIGN, "RS256", "not for signatures"),
        (STRONG | {"key_ops": []}, STRONG_SIGN, "RS256", "not for signatures"),
        (STRONG | {"key_ops": "verify"}, STRONG_SIGN, "RS256", "not for signatures"),
        (STRONG | {"use": "sig", "key_ops": ["wrapKey"]}, STRONG_SIGN, "RS256", "not for sig"),
        (P256 | {"use": "enc"}, P256_SIGN, "ES256", "not for signatures"),
        (P384, P384_SIGN, "ES256", "not the one of the key"),
        (P384 | {"crv": "P-256"}, P384_SIGN, "ES256", "unusable"),
        (P256 | {"crv": "P-384"}, P256_SIGN, "ES384", "unusable"),
        (P256 | {"y": P256["x"]}, P256_SIGN, "ES256", "unusable"),
        (P256 | {"kty": "RSA"}, P256_SIGN, "ES256", "not the one of the key"),
        (OCTETS, hmac_sign, "HS256", "its algorithm is not one"),
        (OCTETS, hmac_sign, "RS256", "not the one of the key"),
    ],
)
async def test_only_suitable_signature_keys_are_accepted(
    serve: Serve,
    external_issuer: ExternalIssuer,
    jwk: dict[str, Any],
    sign: Sign,
    algorithm: str,
    reason: str | None,
) -> None:
    external_issuer.published = [jwk | {"kid": "k"}]
    token = external_issuer.create_forged_token(sign, {"alg": algorithm, "kid": "k"})
    async with serve() as http:
        if reason is None:
            assert await status(http, token) == 200
        else:
            assert reason in await rejection_message(http, token)


# Token type


@pytest.mark.parametrize(
    ("header", "claims", "accepted"),
    [
        ({}, {"token_use": "id"}, False),
        ({}, {"nonce": "n"}, False),
        ({}, {"at_hash": "h"}, False),
        ({}, {"typ": "ID"}, False),
        ({}, {"nonce": "n", "token_use": None}, False),
        ({}, {"at_hash": "h", "token_use": None}, False),
        ({}, {"c_hash": "h", "token_use": None}, False),
        ({}, {"typ": "ID", "token_use": None}, False),
        ({}, {"typ": "Refresh", "token_use": None}, False),
        ({"typ": "JWT"}, {"nonce": "n", "token_use": None}, False),
        ({"typ": "id_token+jwt"}, {"token_use": None}, False),
        ({"typ": "logout+jwt"}, {"token_use": None}, False),
        ({"typ": "dpop+jwt"}, {"token_use": None}, False),
        ({"typ": 7}, {"token_use": None}, False),
        ({"typ": "at+jwt"}, {"token_use": "id"}, False),
        ({}, {"token_use": None}, True),
        ({"typ": "JWT"}, {"token_use": None}, True),
        ({"typ": "at+jwt"}, {"token_use": None}, True),
        ({"typ": "application/at+JWT"}, {"token_use": None, "nonce": "n"}, True),
        ({"typ": "JWT"}, {"typ": "Bearer", "nonce": "keycloak 23", "token_use": None}, True),
        ({}, {"jti": "j", "auth_time": 1, "sid": "s"}, True),
    ],
)
async def test_access_tokens_alone_are_accepted(
    anonymous: AsyncClient,
    external_issuer: ExternalIssuer,
    header: dict[str, Any],
    claims: dict[str, Any],
    accepted: object,
) -> None:
    sign = get_rsa_signer(external_issuer.key)
    token = external_issuer.create_forged_token(sign, header, **claims)
    if accepted:
        assert await status(anonymous, token) == 200
        return
    reason = await rejection_message(anonymous, token)
    assert "not an access token" in reason
    assert next(iter([*claims, *header])) in reason or "(typ)" in reason


# Length


async def test_maximum_token_length_is_configurable(
    serve: Serve, external_issuer: ExternalIssuer, anonymous: AsyncClient
) -> None:
    long = external_issuer.create_token(groups=["x" * 100] * 80)
    assert 8192 < len(long) < 12_000
    assert "longer than 8192 characters" in await rejection_message(anonymous, long)
    async with serve(max_token_chars=12_000) as http:
        assert await status(http, long) == 200
        longer = external_issuer.create_token(groups=["x" * 100] * 120)
        assert "longer than 12000 characters" in await rejection_message(http, longer)


# Invalid settings


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("case-api/case.readonly", "ALIAS=SCOPE"),
        ("=readonly", "ALIAS=SCOPE"),
        ("editor=", "ALIAS=SCOPE"),
        ("editor=write", "'editor=write'"),
        ("editor=readonly+", "ALIAS=SCOPE"),
        ("editor=readonly createput", "ALIAS=SCOPE"),
        ("good=readonly,editor", "'editor'"),
        ("editor=readonly,editor=delete", "duplicate alias"),
        (f"{READONLY}=delete", "is a CASE scope itself"),
        ('{"editor": "readonly"}', "ALIAS=SCOPE"),
    ],
)
def test_invalid_scope_map_is_rejected_at_startup(tmp_path: Path, value: str, message: str) -> None:
    result = run_command_in_process("serve", data_dir=tmp_path / "d", CASE_SERVER_SCOPE_MAP=value)
    assert result.returncode == 1
    assert "CASE_SERVER_SCOPE_MAP" in result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "d").exists()
