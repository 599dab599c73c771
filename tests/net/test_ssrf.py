"""The SSRF guard for URLs that others name, against a real server that records requests."""

import gzip
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from httpx import AsyncClient, ConnectError, HTTPError, ReadTimeout, UnsupportedProtocol
from support.certificates import write_certificate

from case_server.net import ssrf
from case_server.net.ssrf import (
    BlockedAddress,
    PublicOnlyTransport,
    ResponseTooLarge,
    fetch_limited,
    is_public,
)


class Server:
    """A server whose response depends on the path; it records the Host of each request."""

    def __init__(self, certificate: ssl.SSLContext | None = None) -> None:
        self.hosts: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.hosts.append(self.headers["Host"])
                _, kind, *rest = self.path.split("/", 2)
                headers, body = {"X": "x"}, b"here"
                if kind == "to":
                    headers["Location"] = rest[0]
                if kind == "big":
                    body = b"x" * 1_000_000
                if kind == "packed":
                    headers["Content-Encoding"], body = "gzip", gzip.compress(bytes(10_000_000))
                self.send_response(302 if kind == "to" else 200)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if kind == "slow":
                    for _ in range(50):
                        self.wfile.write(b"x")
                        time.sleep(0.05)
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that disconnects is no error
        if certificate:
            self._server.socket = certificate.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


PUBLIC = ("93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822")
PRIVATE = (
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "224.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1"),
    *("::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1"),
    *("64:ff9b:1::a01:203", "fec0::1", "::127.0.0.1"),
)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((address, True) for address in PUBLIC),
        *((address, False) for address in PRIVATE),
    ],
)
def test_is_public_returns_whether_the_address_is_public(address: str, public: object) -> None:
    assert is_public(address) == public


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost:{port}/", "http://127.0.0.1:{port}/"),
        *("http://2130706433:{port}/", "http://0x7f.1:{port}/", "http://[::1]:{port}/"),
        *("http://[::ffff:127.0.0.1]:{port}/", "http://0.0.0.0:{port}/"),
    ],
)
async def test_loopback_host_is_not_reached(server: Server, url: str) -> None:
    async with ssrf.create_public_only_client(allow_private=False) as http:
        with pytest.raises(HTTPError) as caught:
            await fetch_limited(http, url.format(port=server.port), max_bytes=100)
    assert "CASE_SERVER_ALLOW_PRIVATE_URLS" in str(caught.value) or isinstance(
        caught.value, ConnectError
    )
    assert server.hosts == []


async def test_unsupported_scheme_is_not_fetched() -> None:
    async with ssrf.create_public_only_client(allow_private=True) as http:
        for url in ("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/"):
            with pytest.raises((BlockedAddress, UnsupportedProtocol)):
                await fetch_limited(http, url, max_bytes=100)


async def test_setting_and_trusted_origin_allow_private_addresses(server: Server) -> None:
    async with ssrf.create_public_only_client(allow_private=True) as http:
        response = await fetch_limited(http, f"http://localhost:{server.port}/", max_bytes=100)
        assert response == (200, b"here")
    async with ssrf.create_public_only_client(
        allow_private=False, trusted_urls=[f"{server.url}/realm"]
    ) as http:
        assert await fetch_limited(http, f"{server.url}/", max_bytes=100) == (200, b"here")
        for url in (f"http://localhost:{server.port}/", "http://127.0.0.1:9/"):
            with pytest.raises(BlockedAddress):
                await fetch_limited(http, url, max_bytes=100)


async def test_redirect_to_private_address_is_blocked(server: Server) -> None:
    inside = f"{server.url}/to/http://localhost:{server.port}/"
    async with ssrf.create_public_only_client(
        allow_private=False, trusted_urls=[server.url]
    ) as http:
        with pytest.raises(BlockedAddress):
            await http.get(inside, follow_redirects=True)
        assert len(server.hosts) == 1
        own = f"{server.url}/to//x"
        response = await http.get(own, follow_redirects=True)
        assert (response.status_code, response.content) == (200, b"here")


async def test_connection_goes_to_the_checked_address(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[str] = []

    def resolve(host: str, _: int) -> list[str]:
        """Return another address to the second lookup, as in DNS rebinding."""
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["10.0.0.1"]

    monkeypatch.setattr(ssrf, "resolve_host", resolve)
    transport = PublicOnlyTransport(allow_private=True)
    async with AsyncClient(transport=transport) as http:
        url = f"http://keys.example.edu:{server.port}/"
        assert await fetch_limited(http, url, max_bytes=100) == (200, b"here")
    assert lookups == ["keys.example.edu"]
    assert server.hosts == [f"keys.example.edu:{server.port}"]


async def test_host_with_one_private_address_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssrf, "resolve_host", lambda *_: ["93.184.216.34", "127.0.0.1"])
    async with AsyncClient(transport=PublicOnlyTransport()) as http:
        with pytest.raises(BlockedAddress, match=r"127\.0\.0\.1"):
            await fetch_limited(http, "https://keys.example.edu/", max_bytes=100)


async def test_response_over_limit_raises(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ssrf.create_public_only_client(allow_private=True) as http:
        for path in ("big", "packed"):
            with pytest.raises(ResponseTooLarge):
                await fetch_limited(http, f"{server.url}/{path}", max_bytes=999_999)
        assert await fetch_limited(http, f"{server.url}/big", max_bytes=1_000_000)
        monkeypatch.setattr(ssrf, "FETCH_TIMEOUT_SECONDS", 0.3)
        with pytest.raises(ReadTimeout, match="took longer"):
            await fetch_limited(http, f"{server.url}/slow", max_bytes=100)


async def test_certificate_must_match_the_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = write_certificate(tmp_path, "root", None)
    write_certificate(tmp_path, "server", authority, "keys.example.edu")
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    server = Server(own)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "root.crt"))
    monkeypatch.setattr(ssrf, "resolve_host", lambda *_: ["127.0.0.1"])
    monkeypatch.setattr(ssrf, "_get_tls_context", lambda: trusting)
    transport = PublicOnlyTransport(allow_private=True)
    try:
        async with AsyncClient(transport=transport) as http:
            url = f"https://keys.example.edu:{server.port}/"
            assert await fetch_limited(http, url, max_bytes=100) == (200, b"here")
            with pytest.raises(ConnectError, match="certificate"):
                await fetch_limited(http, url.replace("keys", "other"), max_bytes=100)
    finally:
        server.stop()
