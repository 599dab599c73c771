import asyncio
import socket
from typing import Any, NamedTuple

import pytest
from httpx import AsyncClient
from support.clock import FixedClock
from support.external_issuer import ExternalIssuer

from case_server.auth.tokens import TokenError, get_public_jwk
from case_server.auth.trusted_issuer import TrustedIssuer
from case_server.exceptions import CommandError, ServiceUnavailable
from case_server.net.ssrf import create_public_only_client


class Federation(NamedTuple):
    """An external issuer, and the part of the application that trusts it and caches its keys."""

    external: ExternalIssuer
    trusted: TrustedIssuer
    clock: FixedClock

    async def get_key(self, kid: str | None = None) -> Any:
        """Return the published key with an ID, which is by default the one that signs now."""
        return await self.trusted.get_key(kid or self.external.key.kid)


@pytest.fixture
def federation(external_issuer: ExternalIssuer, http: AsyncClient, clock: FixedClock) -> Federation:
    trusted = TrustedIssuer(external_issuer.url, http, clock=clock)
    return Federation(external_issuer, trusted, clock)


async def test_keys_are_fetched_from_jwks_uri(federation: Federation) -> None:
    assert await federation.get_key() == get_public_jwk(federation.external.key)
    await federation.get_key()

    assert federation.external.fetches == 1


async def test_keys_are_fetched_without_openid_configuration(federation: Federation) -> None:
    federation.external.jwks_uri = None

    assert await federation.get_key() == get_public_jwk(federation.external.key)


async def test_unknown_key_is_fetched_once_a_minute(federation: Federation) -> None:
    old = federation.external.key.kid
    await federation.get_key(old)
    federation.external.rotate_key()

    federation.clock.now += 59
    for kid in (federation.external.key.kid, "made-up"):
        with pytest.raises(TokenError, match="does not publish"):
            await federation.get_key(kid)
    assert federation.external.fetches == 1

    federation.clock.now += 1
    assert await federation.get_key() == get_public_jwk(federation.external.key)
    assert federation.external.fetches == 2
    with pytest.raises(TokenError):
        await federation.get_key(old)
    assert federation.external.fetches == 2


async def test_concurrent_requests_share_one_fetch(federation: Federation) -> None:
    federation.external.delay = 0.05
    kid = federation.external.key.kid

    results = await asyncio.gather(*(federation.get_key(kid) for _ in range(20)))

    assert results == [get_public_jwk(federation.external.key)] * 20
    assert federation.external.fetches == 1


async def test_cancelled_request_does_not_prevent_fetch(federation: Federation) -> None:
    federation.external.delay = 0.2
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(federation.get_key(), 0.05)
    federation.external.delay = 0

    assert await federation.get_key()


async def test_failed_fetch_keeps_cached_keys(federation: Federation) -> None:
    kid = federation.external.key.kid
    await federation.get_key(kid)
    federation.external.down = True
    federation.clock.now += 60

    with pytest.raises(TokenError, match="does not publish"):
        await federation.get_key("made-up")
    assert federation.external.fetches == 2
    assert await federation.get_key(kid)


async def test_empty_key_set_is_a_failed_fetch(federation: Federation) -> None:
    await federation.get_key()
    federation.external.published = []
    federation.clock.now += 60

    with pytest.raises(TokenError):
        await federation.get_key("made-up")
    assert await federation.get_key()


async def test_issuer_without_keys_raises_service_unavailable(federation: Federation) -> None:
    federation.external.down = True
    with pytest.raises(ServiceUnavailable) as exc_info:
        await federation.get_key()
    assert exc_info.value.headers == {"Retry-After": "5"}

    federation.external.down = False
    federation.clock.now += 2.5
    with pytest.raises(ServiceUnavailable) as exc_info:
        await federation.get_key()
    assert exc_info.value.headers == {"Retry-After": "3"}

    federation.clock.now += 2.5
    assert await federation.get_key()


async def test_unreachable_issuer_raises_service_unavailable(http: AsyncClient) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        with pytest.raises(ServiceUnavailable, match=url):
            await TrustedIssuer(url, http).get_key("x")


async def test_withdrawn_key_is_rejected_within_an_hour(federation: Federation) -> None:
    kid = federation.external.key.kid
    await federation.get_key(kid)
    federation.external.rotate_key()

    federation.clock.now += 3599
    assert await federation.get_key(kid)
    federation.clock.now += 1
    with pytest.raises(TokenError):
        await federation.get_key(kid)


async def test_cached_keys_are_used_while_issuer_is_down(federation: Federation) -> None:
    await federation.get_key()
    federation.external.down = True
    federation.clock.now += 3600

    for _ in range(3):
        assert await federation.get_key()
    assert federation.external.fetches == 2


async def test_changed_keys_call_on_key_change(federation: Federation) -> None:
    start, change_times = federation.clock.now, list[float]()
    federation.trusted.on_key_change = lambda: change_times.append(federation.clock.now)

    await federation.get_key()
    federation.clock.now += 1000
    with pytest.raises(TokenError):
        await federation.get_key("made-up")
    federation.external.rotate_key()
    federation.clock.now += 1000
    await federation.get_key()

    assert federation.external.fetches == 3
    assert change_times == [start, start + 2000]


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://localhost/", "http://[", "x"])
async def test_non_http_jwks_uri_is_not_fetched(federation: Federation, uri: str) -> None:
    federation.external.jwks_uri = uri

    with pytest.raises(ServiceUnavailable):
        await federation.get_key()


async def test_plain_http_jwks_uri_is_not_fetched(federation: Federation) -> None:
    # This address reaches the issuer too, and does not look as if it were on this machine.
    federation.external.jwks_uri = f"{federation.external.url.replace('127.0.0.1', '0.0.0.0')}/keys"

    with pytest.raises(ServiceUnavailable):
        await federation.get_key()
    assert federation.external.fetches == 0


async def test_jwks_on_other_loopback_port_is_not_fetched(external_issuer: ExternalIssuer) -> None:
    external_issuer.jwks_uri = f"{external_issuer.url.replace('127.0.0.1', 'localhost')}/keys"

    async with create_public_only_client(
        allow_private=False, trusted_urls=[external_issuer.url]
    ) as http:
        with pytest.raises(ServiceUnavailable):
            await TrustedIssuer(external_issuer.url, http).get_key(external_issuer.key.kid)
    assert external_issuer.fetches == 0
    async with create_public_only_client(allow_private=True) as http:
        assert await TrustedIssuer(external_issuer.url, http).get_key(external_issuer.key.kid)


async def test_oversized_key_set_is_not_read(federation: Federation) -> None:
    federation.external.published += [{"kid": "x" * 600_000}]

    with pytest.raises(ServiceUnavailable):
        await federation.get_key()


async def test_redirect_is_not_followed(federation: Federation) -> None:
    federation.external.moved = True

    with pytest.raises(ServiceUnavailable):
        await federation.get_key()


@pytest.mark.parametrize(
    "url", ["http://issuer.test", "http://10.0.0.1", "issuer.test", "", "http://[", "ftp://[::1]"]
)
async def test_insecure_issuer_url_is_rejected(url: str, http: AsyncClient) -> None:
    with pytest.raises(CommandError, match="https"):
        TrustedIssuer(url, http)


@pytest.mark.parametrize("url", ["https://issuer.test/", "http://localhost:9", "http://[::1]:9"])
async def test_secure_issuer_url_is_accepted(url: str, http: AsyncClient) -> None:
    assert TrustedIssuer(url, http).url == url.removesuffix("/")
