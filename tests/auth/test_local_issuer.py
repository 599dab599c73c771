import asyncio
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from support.clock import FixedClock
from support.external_issuer import ExternalIssuer

from case_server.auth.local_issuer import LocalIssuer
from case_server.auth.scopes import Scope, format_scopes
from case_server.auth.tokens import (
    TokenError,
    decode_token,
    decode_unverified,
    generate_signing_key,
    get_public_jwk,
)
from case_server.auth.trusted_issuer import TrustedIssuer
from case_server.exceptions import CommandError, ServiceUnavailable
from case_server.net.ssrf import create_public_only_client

OLD, NEW = generate_signing_key(), generate_signing_key()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(follow_redirects=True) as client:
        yield client


@pytest.fixture
def trusted(
    external_issuer: ExternalIssuer, http: httpx.AsyncClient, clock: FixedClock
) -> TrustedIssuer:
    return TrustedIssuer(external_issuer.url, http, clock=clock)


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
    again, _ = issuer.issue("robot", frozenset(Scope))
    assert claims["jti"] != decode_unverified(again)[1]["jti"]


async def test_newest_key_signs_and_all_keys_are_published() -> None:
    issuer = LocalIssuer([OLD, NEW], "http://here.test", 60)

    token, _ = issuer.issue("robot", {Scope.READONLY})

    assert decode_unverified(token)[0]["kid"] == NEW.kid
    assert issuer.build_jwks() == {"keys": [get_public_jwk(OLD), get_public_jwk(NEW)]}
    assert await issuer.get_key(OLD.kid) == get_public_jwk(OLD)
    with pytest.raises(TokenError, match="does not have"):
        await issuer.get_key("x")


async def test_keys_are_fetched_from_jwks_uri(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer
) -> None:
    assert await trusted.get_key(external_issuer.key.kid) == get_public_jwk(external_issuer.key)
    await trusted.get_key(external_issuer.key.kid)

    assert external_issuer.fetches == 1


async def test_keys_are_fetched_without_openid_configuration(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer
) -> None:
    external_issuer.jwks_uri = None

    assert await trusted.get_key(external_issuer.key.kid) == get_public_jwk(external_issuer.key)


async def test_unknown_key_is_fetched_once_a_minute(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, clock: FixedClock
) -> None:
    old = external_issuer.key.kid
    await trusted.get_key(old)
    external_issuer.rotate_key()

    clock.now += 59
    for kid in (external_issuer.key.kid, "made-up"):
        with pytest.raises(TokenError, match="does not publish"):
            await trusted.get_key(kid)
    assert external_issuer.fetches == 1

    clock.now += 1
    assert await trusted.get_key(external_issuer.key.kid) == get_public_jwk(external_issuer.key)
    assert external_issuer.fetches == 2
    with pytest.raises(TokenError):
        await trusted.get_key(old)
    assert external_issuer.fetches == 2


async def test_concurrent_requests_share_one_fetch(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer
) -> None:
    external_issuer.delay = 0.05
    kid = external_issuer.key.kid

    results = await asyncio.gather(*(trusted.get_key(kid) for _ in range(20)))

    assert results == [get_public_jwk(external_issuer.key)] * 20
    assert external_issuer.fetches == 1


async def test_cancelled_request_does_not_prevent_fetch(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer
) -> None:
    external_issuer.delay = 0.2
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(trusted.get_key(external_issuer.key.kid), 0.05)
    external_issuer.delay = 0

    assert await trusted.get_key(external_issuer.key.kid)


async def test_failed_fetch_keeps_cached_keys(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, clock: FixedClock
) -> None:
    kid = external_issuer.key.kid
    await trusted.get_key(kid)
    external_issuer.down = True
    clock.now += 60

    with pytest.raises(TokenError, match="does not publish"):
        await trusted.get_key("made-up")
    assert external_issuer.fetches == 2
    assert await trusted.get_key(kid)


async def test_empty_key_set_is_a_failed_fetch(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, clock: FixedClock
) -> None:
    await trusted.get_key(external_issuer.key.kid)
    external_issuer.published = []
    clock.now += 60

    with pytest.raises(TokenError):
        await trusted.get_key("made-up")
    assert await trusted.get_key(external_issuer.key.kid)


async def test_issuer_without_keys_raises_service_unavailable(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, clock: FixedClock
) -> None:
    external_issuer.down = True
    with pytest.raises(ServiceUnavailable) as caught:
        await trusted.get_key(external_issuer.key.kid)
    assert caught.value.headers == {"Retry-After": "5"}

    external_issuer.down = False
    clock.now += 2.5
    with pytest.raises(ServiceUnavailable) as caught:
        await trusted.get_key(external_issuer.key.kid)
    assert caught.value.headers == {"Retry-After": "3"}

    clock.now += 2.5
    assert await trusted.get_key(external_issuer.key.kid)


async def test_unreachable_issuer_raises_service_unavailable(http: httpx.AsyncClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(ServiceUnavailable, match=url):
            await TrustedIssuer(url, http).get_key("x")


async def test_withdrawn_key_is_rejected_within_an_hour(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, clock: FixedClock
) -> None:
    withdrawn = external_issuer.key.kid
    await trusted.get_key(withdrawn)
    external_issuer.rotate_key()

    clock.now += 3599
    assert await trusted.get_key(withdrawn)
    clock.now += 1
    with pytest.raises(TokenError):
        await trusted.get_key(withdrawn)


async def test_cached_keys_are_used_while_issuer_is_down(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, clock: FixedClock
) -> None:
    await trusted.get_key(external_issuer.key.kid)
    external_issuer.down = True
    clock.now += 3600

    for _ in range(3):
        assert await trusted.get_key(external_issuer.key.kid)
    assert external_issuer.fetches == 2


async def test_changed_keys_call_on_key_change(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, clock: FixedClock
) -> None:
    start, announced = clock.now, list[float]()
    trusted.on_key_change = lambda: announced.append(clock.now)

    await trusted.get_key(external_issuer.key.kid)
    clock.now += 1000
    with pytest.raises(TokenError):
        await trusted.get_key("made-up")
    external_issuer.rotate_key()
    clock.now += 1000
    await trusted.get_key(external_issuer.key.kid)

    assert external_issuer.fetches == 3
    assert announced == [start, start + 2000]


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://localhost/", "http://[", "x"])
async def test_non_http_jwks_uri_is_not_fetched(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer, uri: str
) -> None:
    external_issuer.jwks_uri = uri

    with pytest.raises(ServiceUnavailable):
        await trusted.get_key(external_issuer.key.kid)


async def test_plain_http_jwks_uri_is_not_fetched(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer
) -> None:
    # This address reaches the issuer too, and does not look as if it were on this machine.
    external_issuer.jwks_uri = f"{external_issuer.url.replace('127.0.0.1', '0.0.0.0')}/keys"

    with pytest.raises(ServiceUnavailable):
        await trusted.get_key(external_issuer.key.kid)
    assert external_issuer.fetches == 0


async def test_jwks_uri_on_other_loopback_port_is_not_fetched(
    external_issuer: ExternalIssuer,
) -> None:
    external_issuer.jwks_uri = f"{external_issuer.url.replace('127.0.0.1', 'localhost')}/keys"

    async with create_public_only_client(
        allow_private=False, trusted_urls=[external_issuer.url]
    ) as http:
        with pytest.raises(ServiceUnavailable):
            await TrustedIssuer(external_issuer.url, http).get_key(external_issuer.key.kid)
    assert external_issuer.fetches == 0
    async with create_public_only_client(allow_private=True) as http:
        assert await TrustedIssuer(external_issuer.url, http).get_key(external_issuer.key.kid)


async def test_oversized_key_set_is_not_read(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer
) -> None:
    external_issuer.published += [{"kid": "x" * 600_000}]

    with pytest.raises(ServiceUnavailable):
        await trusted.get_key(external_issuer.key.kid)


async def test_redirect_is_not_followed(
    external_issuer: ExternalIssuer, trusted: TrustedIssuer
) -> None:
    external_issuer.moved = True

    with pytest.raises(ServiceUnavailable):
        await trusted.get_key(external_issuer.key.kid)


@pytest.mark.parametrize(
    "url", ["http://issuer.test", "http://10.0.0.1", "issuer.test", "", "http://[", "ftp://[::1]"]
)
async def test_insecure_issuer_url_is_rejected(url: str, http: httpx.AsyncClient) -> None:
    with pytest.raises(CommandError, match="https"):
        TrustedIssuer(url, http)


@pytest.mark.parametrize("url", ["https://issuer.test/", "http://localhost:9", "http://[::1]:9"])
async def test_secure_issuer_url_is_accepted(url: str, http: httpx.AsyncClient) -> None:
    assert TrustedIssuer(url, http).url == url.removesuffix("/")
