import time
from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import AsyncClient
from support.clock import FixedClock
from support.external_issuer import ExternalIssuer
from support.signing import FIRST_KEY, SECOND_KEY, THIRD_KEY

from case_server.auth import verifier as module
from case_server.auth.local_issuer import LocalIssuer
from case_server.auth.scopes import Scope
from case_server.auth.tokens import SigningKey, encode_token
from case_server.auth.trusted_issuer import TrustedIssuer
from case_server.auth.verifier import Caller, TokenPolicy, TokenVerifier
from case_server.exceptions import ServiceUnavailable, Unauthorized

HERE = "http://here.test"
OLD, NEW, FOREIGN = FIRST_KEY, SECOND_KEY, THIRD_KEY
LOCAL = LocalIssuer([OLD, NEW], HERE, 3600)
V1P1 = "https://purl.imsglobal.org/spec/case/v1p1/scope/"


@pytest.fixture
def verifier(clock: FixedClock) -> TokenVerifier:
    return TokenVerifier(LOCAL, [], clock=clock)


def token(key: SigningKey = NEW, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": HERE, "sub": "robot", "iat": now, "exp": now + 3600} | changes
    return encode_token(key, {name: value for name, value in claims.items() if value is not None})


async def refusal(verifier: TokenVerifier, text: str) -> str:
    with pytest.raises(Unauthorized) as exc_info:
        await verifier.verify(text)
    challenge = exc_info.value.headers["WWW-Authenticate"]
    description = exc_info.value.description
    assert challenge == f'Bearer error="invalid_token", error_description="{description}"'
    assert verifier.get_cached_caller(text) is None
    return description


@pytest.fixture
def trusting(
    external_issuer: ExternalIssuer, http: AsyncClient, clock: FixedClock
) -> TokenVerifier:
    """A verifier that also trusts the external issuer."""
    return TokenVerifier(LOCAL, [TrustedIssuer(external_issuer.url, http, clock=clock)])


async def test_local_token_is_verified(verifier: TokenVerifier) -> None:
    text, _ = LOCAL.issue("robot", {Scope.READONLY, Scope.DELETE})

    assert await verifier.verify(text) == Caller("robot", frozenset({Scope.READONLY, Scope.DELETE}))
    assert (await verifier.verify(token(OLD))).client_id == "robot"


@pytest.mark.parametrize(
    ("changes", "client_id"),
    [
        ({"client_id": "a", "azp": "b"}, "a"),
        ({"azp": "b"}, "b"),
        ({"client_id": 7, "azp": ""}, "robot"),
        ({}, "robot"),
    ],
)
async def test_client_id_is_claim_client_id_or_azp_or_sub(
    verifier: TokenVerifier, changes: dict[str, Any], client_id: str
) -> None:
    assert (await verifier.verify(token(**changes))).client_id == client_id


async def test_rejected_token_error_contains_the_reason(verifier: TokenVerifier) -> None:
    foreign = SigningKey(NEW.kid, FOREIGN.private_pem)
    unknown_key = SigningKey("x", NEW.private_pem)
    expiry = int(time.time()) - 1

    assert "is not a signed JSON Web Token" in await refusal(verifier, "rubbish")
    assert "has expired" in await refusal(verifier, token(exp=expiry))
    assert "lacks the claim exp" in await refusal(verifier, token(exp=None))
    assert "signature" in await refusal(verifier, token(foreign))
    assert "key that this server does not have" in await refusal(verifier, token(unknown_key))
    assert "not an access token" in await refusal(verifier, token(token_use="id"))
    for issuer in ("http://other.test", None, ["x"], HERE + "/x"):
        assert "does not trust its issuer" in await refusal(verifier, token(iss=issuer))


async def test_token_without_kid_is_rejected(verifier: TokenVerifier) -> None:
    for kid in (None, 7):
        key_without_kid = SigningKey(kid, NEW.private_pem)  # type: ignore[arg-type]  # a careless issuer's

        assert "does not name a key" in await refusal(verifier, token(key_without_kid))


async def test_local_tokens_contain_configured_audience() -> None:
    issuer = LocalIssuer([NEW], HERE, 60, audience="case")
    text, _ = issuer.issue("robot", {Scope.READONLY})
    assert await TokenVerifier(issuer, [], policy=TokenPolicy(audience="case")).verify(text)
    assert await TokenVerifier(issuer, []).verify(text)


async def test_verifier_without_issuers_rejects_all_tokens() -> None:
    assert "does not trust" in await refusal(TokenVerifier(None, []), token())


async def test_verified_token_is_cached(verifier: TokenVerifier, clock: FixedClock) -> None:
    text = token()
    assert verifier.get_cached_caller(text) is None

    caller = await verifier.verify(text)

    assert verifier.get_cached_caller(text) is caller
    assert await verifier.verify(text) is caller
    assert verifier.get_cached_caller(text + " ") is None
    clock.now += 299
    assert verifier.get_cached_caller(text) is caller
    clock.now += 2
    assert verifier.get_cached_caller(text) is None
    assert await verifier.verify(text) == caller
    assert verifier.get_cached_caller(text) == caller


async def test_cached_token_expires(verifier: TokenVerifier, clock: FixedClock) -> None:
    text = token(exp=int(clock.now) + 20)
    await verifier.verify(text)

    clock.now += 18
    assert verifier.get_cached_caller(text)
    clock.now += 2
    assert verifier.get_cached_caller(text) is None


async def test_expiry_beyond_the_year_9999_becomes_its_last_second(
    verifier: TokenVerifier,
) -> None:
    ends = [
        await verifier.get_token_id_and_expiry(token(jti="id", exp=exp)) for exp in (2**62, 2e11)
    ]

    assert ends == [("id", module.LAST_SECOND), ("id", datetime.fromtimestamp(2e11, UTC))]


async def test_cache_size_is_limited(
    verifier: TokenVerifier, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.MAX_CACHED_TOKENS == 10_000
    monkeypatch.setattr(module, "MAX_CACHED_TOKENS", 3)
    texts = [token(jti=str(number)) for number in range(4)]
    for text in texts[:3]:
        await verifier.verify(text)

    clock.now += 301
    await verifier.verify(texts[0])
    clock.now -= 301
    await verifier.verify(texts[3])

    is_cached = [verifier.get_cached_caller(text) is not None for text in texts]
    assert is_cached == [True, False, True, True]


async def test_cache_contains_no_tokens(verifier: TokenVerifier) -> None:
    text = token()
    await verifier.verify(text)

    assert text not in repr(vars(verifier))
    assert text.rpartition(".")[2] not in repr(vars(verifier))


async def test_cleared_token_is_verified_again(verifier: TokenVerifier) -> None:
    text = token()
    await verifier.verify(text)

    verifier.clear_cache()

    assert verifier.get_cached_caller(text) is None


async def test_local_and_trusted_issuer_are_both_accepted(
    external_issuer: ExternalIssuer, trusting: TokenVerifier
) -> None:

    caller = await trusting.verify(external_issuer.create_token(client_id="far"))
    slashed = await trusting.verify(external_issuer.create_token(iss=external_issuer.url + "/"))

    assert caller == Caller("far", frozenset({Scope.READONLY}))
    assert slashed.client_id == "robot"
    assert await trusting.verify(token())
    assert external_issuer.fetches == 1


async def test_issuer_cannot_sign_for_other_issuer(
    external_issuer: ExternalIssuer, trusting: TokenVerifier
) -> None:
    borrowed_name = SigningKey(NEW.kid, external_issuer.key.private_pem)

    assert "key that this server" in await refusal(trusting, external_issuer.create_token(iss=HERE))
    assert "signature" in await refusal(trusting, token(borrowed_name))
    assert "does not publish" in await refusal(trusting, token(iss=external_issuer.url))
    text = external_issuer.create_token(token_use="id")
    assert "not an access token" in await refusal(trusting, text)


async def test_clock_difference_of_a_minute_is_tolerated(
    external_issuer: ExternalIssuer, trusting: TokenVerifier
) -> None:
    expiry = int(time.time()) - 50

    assert await trusting.verify(external_issuer.create_token(exp=expiry))
    assert "expired" in await refusal(trusting, external_issuer.create_token(exp=expiry - 20))
    assert "expired" in await refusal(trusting, token(exp=expiry))


async def test_changed_keys_clear_cache(
    external_issuer: ExternalIssuer, trusting: TokenVerifier, clock: FixedClock
) -> None:
    text = external_issuer.create_token()
    assert await trusting.verify(text) == trusting.get_cached_caller(text)

    external_issuer.rotate_key()
    clock.now += 60
    assert await trusting.verify(external_issuer.create_token())

    assert trusting.get_cached_caller(text) is None
    assert "does not publish" in await refusal(trusting, text)


async def test_unreachable_issuer_returns_503(
    external_issuer: ExternalIssuer, trusting: TokenVerifier
) -> None:
    external_issuer.down = True

    with pytest.raises(ServiceUnavailable) as exc_info:
        await trusting.verify(external_issuer.create_token())
    assert exc_info.value.headers["Retry-After"] == "5"
    assert await trusting.verify(token())
