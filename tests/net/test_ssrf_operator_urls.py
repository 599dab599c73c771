"""The SSRF guard for URLs that the operator typed, against real servers and proxies."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Client
from support import factories
from support.live_server import run_command_in_process as run
from support.scripted_source import ScriptedResponse, ScriptedSource

from case_server.exceptions import CommandError
from case_server.net import download, ssrf
from case_server.net.download import Fetcher
from case_server.net.oauth import ClientCredentials
from case_server.net.ssrf import BlockedAddress, OperatorUrlTransport, is_literal_private_host


class PackageServer(ScriptedSource):
    """Answers every path with a package, and redirects to ``location`` unless it is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.location, self.body = "", json.dumps(factories.package()).encode()
        self.respond = self._package
        self.url += "/package.json"

    def _package(self, _: str) -> ScriptedResponse:
        if self.location:
            return ScriptedResponse(self.body, 302, {"Location": self.location})
        return ScriptedResponse(self.body)


Servers = tuple[PackageServer, PackageServer]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Two servers on this machine."""
    both = PackageServer(), PackageServer()
    yield both
    for server in both:
        server.stop()


def get_status(transport: OperatorUrlTransport, url: str) -> int:
    with Client(transport=transport) as http:
        return http.get(url).status_code


def test_typed_loopback_url_is_fetched(servers: Servers) -> None:
    entry, _ = servers
    for url in (entry.url, entry.url.replace("127.0.0.1", "localhost")):
        assert Fetcher().fetch(url) == entry.body


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::ffff:127.0.0.1]"])
def test_redirect_to_loopback_is_blocked(servers: Servers, host: str) -> None:
    entry, inside = servers
    entry.location = inside.url.replace("127.0.0.1", host)
    with pytest.raises(CommandError, match="CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it"):
        Fetcher().fetch(entry.url)
    with pytest.raises(CommandError, match="CASE_SERVER_ALLOW_PRIVATE_URLS"):
        Fetcher().fetch_if_modified(entry.url, '"x"', None)
    assert inside.requests == []


def test_redirect_to_unsupported_scheme_is_not_followed(servers: Servers) -> None:
    entry, _ = servers
    for url in ("file:///etc/passwd", "ftp://127.0.0.1/"):
        entry.location = url
        with pytest.raises(CommandError, match="cannot be read"):
            Fetcher().fetch(entry.url)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["169.254.169.254"], []]
)
def test_name_with_private_address_is_blocked(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    entry, _ = servers
    url = f"http://frameworks.example.edu:{entry.port}/"
    monkeypatch.setattr(ssrf, "resolve_host", lambda *_: addresses)
    transport = OperatorUrlTransport(url, allow_private=False)
    with pytest.raises(BlockedAddress, match="is not public"):
        get_status(transport, url)
    assert entry.requests == []


def test_connection_goes_to_the_checked_address(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, _ = servers
    lookups: list[str] = []

    def resolve(host: str, _: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["10.0.0.1"]

    url = f"http://frameworks.example.edu:{entry.port}/"
    monkeypatch.setattr(ssrf, "resolve_host", resolve)
    assert get_status(OperatorUrlTransport(url, allow_private=True), url) == 200
    assert lookups == ["frameworks.example.edu"]


def test_redirect_of_token_endpoint_is_not_followed(servers: Servers) -> None:
    entry, inside = servers
    entry.location = inside.url.replace("127.0.0.1", "localhost")
    fetcher = Fetcher(credentials=ClientCredentials(entry.url, "me", "hush"))
    with pytest.raises(CommandError, match="no token"):
        fetcher.fetch(inside.url)
    assert inside.requests == []


def test_proxy_resolves_names(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, _ = servers
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "localhost")
    assert Fetcher().fetch("http://frameworks.invalid/x") == proxy.body
    assert proxy.requests == ["http://frameworks.invalid/x"]
    proxy.location = "http://169.254.169.254/"
    with pytest.raises(CommandError, match="not public"):
        Fetcher().fetch("http://frameworks.invalid/x")


@pytest.mark.parametrize(
    ("host", "private"),
    [
        *((host, True) for host in ("localhost", "x.localhost", "10.0.0.1", "::1")),
        *((f"{name}.example.edu", False) for name in ("frameworks", "localhost")),
        ("93.184.216.34", False),
    ],
)
def test_is_literal_private_host_returns_whether_the_address_is_private(
    host: str, private: object
) -> None:
    assert is_literal_private_host(host) == private


@pytest.mark.parametrize("command", [("import",), ("check",), ("sync",)])
def test_command_refuses_redirect_to_private_address(
    servers: Servers, tmp_path: Path, command: tuple[str, ...]
) -> None:
    entry, inside = servers
    entry.location = inside.url.replace("127.0.0.1", "localhost")
    result = run(*command, entry.url, data_dir=tmp_path / "data")
    assert result.returncode
    assert "CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it" in result.stdout + result.stderr
    assert inside.requests == []
    run(*command, entry.url, data_dir=tmp_path / "data", CASE_SERVER_ALLOW_PRIVATE_URLS="true")
    assert inside.requests


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1"),
        *("169.254.169.254", "metadata.google.internal", "printer.local", "database"),
    ],
)
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_redirect_to_a_private_name_is_refused_behind_a_proxy(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, host: str, variable: str
) -> None:
    proxy, _ = servers
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    proxy.location = f"http://{host}/secret"
    with pytest.raises(CommandError) as raised:
        Fetcher().fetch("http://frameworks.example/x")
    assert "CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it" in str(raised.value)
    assert f"http://{host.lower()}/secret is not fetched" in str(raised.value)
    assert proxy.requests == ["http://frameworks.example/x"]


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_redirect_to_a_private_https_name_is_refused_behind_a_proxy(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    entry, proxy = servers
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    entry.location = "https://localhost/secret"
    with pytest.raises(CommandError, match="https://localhost/secret is not fetched"):
        Fetcher().fetch(entry.url)
    assert proxy.requests == []


def test_typed_private_name_and_allowed_redirect_go_through_the_proxy(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = servers
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    assert Fetcher().fetch("http://database/x") == proxy.body
    proxy.location = "http://localhost/x"
    with pytest.raises(CommandError, match="redirects more than"):
        Fetcher(allow_private=True).fetch("http://frameworks.example/x")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x", "http://127.0.0.1:9"])
def test_unusable_proxy_is_named_in_the_error(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setattr(download, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(CommandError, match="the proxy"):
        Fetcher().fetch("http://frameworks.example/x")
