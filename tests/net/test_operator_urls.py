"""What the operator typed is fetched; where that leads without his knowing is guarded."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from support import factories
from support.live_server import run

from case_server.exceptions import StartupError
from case_server.net import download
from case_server.net.download import Credentials, Fetcher
from case_server.net.operator_urls import OperatorTransport
from case_server.net.ssrf import BlockedAddress, is_literal_private_host


class Place:
    """A server that answers a package, or leads elsewhere, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.leads_to = ""
        self.body = json.dumps(factories.package()).encode()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(302 if outer.leads_to else 200)
                if outer.leads_to:
                    self.send_header("Location", outer.leads_to)
                self.end_headers()
                self.wfile.write(outer.body)

            do_POST = do_GET  # noqa: N815  as http.server calls it

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/package.json"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    """Two servers on this machine."""
    found = Place(), Place()
    yield found
    for place in found:
        place.stop()


def ask(transport: OperatorTransport, url: str) -> int:
    with httpx.Client(transport=transport) as http:
        return http.get(url).status_code


def test_what_was_typed_may_be_on_this_machine(places: tuple[Place, Place]) -> None:
    one, _ = places
    for url in (one.url, one.url.replace("127.0.0.1", "localhost")):
        assert Fetcher().fetch(url) == one.body


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::ffff:127.0.0.1]"])
def test_a_redirect_does_not_lead_to_what_only_this_machine_reaches(
    places: tuple[Place, Place], host: str
) -> None:
    one, inside = places
    one.leads_to = inside.url.replace("127.0.0.1", host)
    with pytest.raises(StartupError, match="CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it"):
        Fetcher().fetch(one.url)
    with pytest.raises(StartupError, match="CASE_SERVER_ALLOW_PRIVATE_URLS"):
        Fetcher().fetch_if_modified(one.url, '"x"', None)
    assert inside.asked == []


def test_other_schemes_are_not_fetched(places: tuple[Place, Place]) -> None:
    one, _ = places
    for url in ("file:///etc/passwd", "ftp://127.0.0.1/"):
        one.leads_to = url
        with pytest.raises(StartupError, match="cannot be read"):
            Fetcher().fetch(one.url)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["169.254.169.254"], []]
)
def test_a_name_does_not_lead_there_either(
    places: tuple[Place, Place], addresses: list[str]
) -> None:
    one, _ = places
    url = f"http://frameworks.example.edu:{one.port}/"
    transport = OperatorTransport([url], allow_private=False, resolve=lambda *_: addresses)
    with pytest.raises(BlockedAddress, match="is not public"):
        ask(transport, url)
    assert one.asked == []


def test_the_connection_goes_to_the_address_that_was_checked(places: tuple[Place, Place]) -> None:
    one, _ = places
    looked: list[str] = []

    def resolve(host: str, _: int) -> list[str]:
        looked.append(host)
        return ["127.0.0.1"] if len(looked) == 1 else ["10.0.0.1"]

    url = f"http://frameworks.example.edu:{one.port}/"
    assert ask(OperatorTransport([url], allow_private=True, resolve=resolve), url) == 200
    assert looked == ["frameworks.example.edu"]


def test_a_token_endpoint_is_guarded_too(places: tuple[Place, Place]) -> None:
    one, inside = places
    one.leads_to = inside.url.replace("127.0.0.1", "localhost")
    fetcher = Fetcher(credentials=Credentials(one.url, "me", "hush"))
    with pytest.raises(StartupError, match="no token"):
        fetcher.fetch(inside.url)
    assert inside.asked == []


def test_a_proxy_looks_names_up_itself(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = places
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "localhost")
    assert Fetcher().fetch("http://frameworks.invalid/x") == proxy.body
    assert proxy.asked == ["http://frameworks.invalid/x"]
    proxy.leads_to = "http://169.254.169.254/"
    with pytest.raises(StartupError, match="not public"):
        Fetcher().fetch("http://frameworks.invalid/x")


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("localhost", True),
        ("x.localhost", True),
        ("10.0.0.1", True),
        ("::1", True),
        ("93.184.216.34", False),
        ("frameworks.example.edu", False),
        ("localhost.example.edu", False),
    ],
)
def test_which_names_say_it_themselves(host: str, private: object) -> None:
    assert is_literal_private_host(host) == private


@pytest.mark.parametrize("command", [("import",), ("check",), ("sync",)])
def test_commands_are_guarded_unless_told_otherwise(
    places: tuple[Place, Place], tmp_path: Path, command: tuple[str, ...]
) -> None:
    one, inside = places
    one.leads_to = inside.url.replace("127.0.0.1", "localhost")
    ran = run(*command, one.url, data_dir=tmp_path / "data")
    assert ran.returncode
    assert "CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it" in ran.stdout + ran.stderr
    assert inside.asked == []
    run(*command, one.url, data_dir=tmp_path / "data", CASE_SERVER_ALLOW_PRIVATE_URLS="true")
    assert inside.asked


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "0x7f.1",
        "169.254.169.254",
        "metadata.google.internal",
        "printer.local",
        "database",
    ],
)
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_redirect_to_a_private_name_is_refused_behind_a_proxy(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, host: str, variable: str
) -> None:
    proxy, _ = places
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    proxy.leads_to = f"http://{host}/secret"
    with pytest.raises(StartupError) as raised:
        Fetcher().fetch("http://frameworks.example/x")
    assert "CASE_SERVER_ALLOW_PRIVATE_URLS=true allows it" in str(raised.value)
    assert f"http://{host.lower()}/secret is not fetched" in str(raised.value)
    assert proxy.asked == ["http://frameworks.example/x"]


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_redirect_to_a_private_https_name_is_refused_behind_a_proxy(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    one, proxy = places
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    one.leads_to = "https://localhost/secret"
    with pytest.raises(StartupError, match="https://localhost/secret is not fetched"):
        Fetcher().fetch(one.url)
    assert proxy.asked == []


def test_typed_private_name_and_allowed_redirect_go_through_the_proxy(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = places
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    assert Fetcher().fetch("http://database/x") == proxy.body
    proxy.leads_to = "http://localhost/x"
    with pytest.raises(StartupError, match="redirects more than"):
        Fetcher(allow_private=True).fetch("http://frameworks.example/x")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x", "http://127.0.0.1:9"])
def test_proxy_that_cannot_be_used_is_blamed(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setattr(download, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(StartupError, match="the proxy"):
        Fetcher().fetch("http://frameworks.example/x")
